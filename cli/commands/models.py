"""`tokencost models`: which models are known, everything that is known of one, side by side."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ...costmodel import InvalidInput
from ...presets import load_model
from ..document import Document
from ..export import deliver
from ..options import OUTPUT, Sink, Text, option, shares

app = typer.Typer(
    help="List the models that are known, show and compare their figures, import others.",
    add_completion=False,
)


@app.command("list")
@shares(Sink)
def list_command(
    sink: Sink,
    pattern: Annotated[
        str, typer.Argument(help="Part of an id, or a pattern such as 'llava*7b'.")
    ] = "",
) -> None:
    """List the models that are known, with status and default cost drivers.

    Example: tokencost models list 'llava*'
    """
    deliver(sink, lambda: _listing(pattern))


@app.command("show")
@shares(Sink)
def show_command(
    sink: Sink, model: Annotated[str, typer.Argument(metavar="ID", help="Model id.")]
) -> None:
    """Show a model: architecture, token rule, parameters, sources, verification.

    Example: tokencost models show qwen2.5-vl-7b
    """
    deliver(sink, lambda: _card(model))


@app.command("compare")
@shares(Sink)
def compare_command(
    sink: Sink, models: Annotated[list[str], typer.Argument(metavar="ID…", help="Model ids.")]
) -> None:
    """Put models side by side: architecture and the cost of a default request.

    Example: tokencost models compare llava-1.5-7b qwen2.5-vl-7b
    """
    deliver(sink, lambda: _comparison(models))


@app.command("import")
def import_command(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="config.json of a transformers model.")
    ],
    model_id: Annotated[
        Text, option(OUTPUT, "--id", "Id of the preset (default: from the file).", "ID")
    ] = None,
    output: Annotated[
        Text,
        option(OUTPUT, "--output", "Preset file to write, instead of standard output.", "TOML"),
    ] = None,
) -> None:
    """Turn a transformers config.json into a preset, in TOML.

    Example: tokencost models import config.json --id my-model --output my-model.toml
    """
    from ..importing import import_preset

    import_preset(file, model_id, output)


def _listing(pattern: str) -> Document:
    from ..model_list import listing

    return listing(pattern)


def _card(model_id: str) -> Document:
    from ..model_card import card

    return card(load_model(model_id))


def _comparison(models: Any) -> Document:
    if len(models) < 2:
        raise InvalidInput("ID", models[0], "stands alone", "give two ids or more")
    from ..model_comparison import comparison

    return comparison([load_model(model_id) for model_id in models])
