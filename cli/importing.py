"""`tokencost models import`: a config.json becomes a preset file."""

from __future__ import annotations

import sys

import typer

from .files import not_an_input, writable


def import_preset(file: str, model_id: str | None, output: str | None) -> None:
    """Write the preset to `output`, or to standard output.

    Raises:
        InvalidInput: A file that is no config.json of a known family, an id that is no name, or a
            file that cannot be written.
    """
    path = None if output in (None, "-") else writable(str(output))
    if path is not None:
        not_an_input(path, output, config=file)
    from ..presets.huggingface import read_file, to_toml

    model = read_file(file, model_id=model_id)
    text = to_toml(model)
    if path is None:
        sys.stdout.write(text)
    else:
        from ..presets.files import replace

        replace(path, text.encode())
        typer.echo(f"wrote {path}", err=True)
    for told in model.uncertainty:
        typer.echo(f"{model.id}: {told}", err=True)
