"""`tokencost plot`: figures of costs, written as PNG, SVG or PDF."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ...costmodel.flops import CONVENTIONS
from ..files import not_an_input
from ..options import COUNTING, OUTPUT, Text, one_of, option, shares
from ..plots.figure import figure_file, save
from ..request import Request

app = typer.Typer(help="Draw cost-vs-layer curves as PNG, SVG or PDF.", add_completion=False)


@app.callback()
def group() -> None:
    """Draw cost-vs-layer curves as PNG, SVG or PDF."""


@app.command("layers")
@shares(Request)
def layers_command(
    request: Request,
    output: Annotated[
        Text, option(OUTPUT, "--output", "Figure to write; the ending names the form.", "FILE")
    ] = None,
    convention: Annotated[
        str,
        option(COUNTING, "--convention", "survey, gated or exact.", "NAME"),
    ] = "exact",
) -> None:
    """Draw the cost of every layer, schedule and baseline overlaid, stacked by part.

    Example: tokencost plot layers --model llava-1.5-7b --prune-layer 2 --keep 0.5 --output a.svg
    """
    chosen: Any = one_of(convention, "--convention", CONVENTIONS)
    request.refuse_unused((chosen,))
    if request.new_tokens != "1":
        request.refuse("has no effect on a figure of the prefill", "leave it out", "new_tokens")
    path = figure_file(output)
    not_an_input(path, output, request.schedule, request.config)
    report = request.report()
    from ..plots.layers import draw

    save(draw(report, chosen), path)
    typer.echo(f"wrote {path}", err=True)
