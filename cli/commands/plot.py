"""`tokencost plot`: figures of costs, written as PNG, SVG or PDF."""

from __future__ import annotations

from typing import Any

import typer

from ..options import shares
from ..plots.device_commands import latency, memory, roofline
from ..plots.grid_commands import (
    ConventionName,
    chosen_convention,
    compare,
    length,
    ratio,
    refuse_generation,
    refuse_obstacle,
)
from ..plots.pareto_command import pareto
from ..plots.picture import Picture
from ..request import Request

app = typer.Typer(
    help="Draw tokens, costs, memory and time as PNG, SVG or PDF.", add_completion=False
)


@app.callback()
def group() -> None:
    """Draw tokens, costs, memory and time as PNG, SVG or PDF."""


@shares(Request, Picture)
def layers(request: Request, picture: Picture, convention: ConventionName = None) -> None:
    """Draw the cost of every layer, schedule and baseline overlaid, stacked by part.

    Example: tokencost plot layers --model llava-1.5-7b --prune-layer 2 --keep 0.5 --output a.svg
    """
    chosen = chosen_convention(request, convention)
    refuse_generation(request)
    place = picture.place(request)
    from ..plots.layers import plot

    picture.publish(place, lambda: plot(refuse_obstacle(request.report(), chosen), chosen))


@shares(Request, Picture)
def tokens(request: Request, picture: Picture) -> None:
    """Draw the tokens of every layer, dense and scheduled, and what the KV cache keeps.

    Example: tokencost plot tokens --model llava-1.5-7b --method pyramiddrop --output tokens.svg
    """
    reason, way_out = "changes no token count", "leave it out"
    counting = ("causal", "logits", "encoder_layers", "implementation", "batch")
    request.refuse(reason, way_out, *counting)
    refuse_generation(request)
    place = picture.place(request)
    from ..plots.tokens import plot

    picture.publish(place, lambda: plot(request.report()))


#: Kinds of figures in order of help; each takes options and writes files.
KINDS: dict[str, Any] = {
    "layers": layers,
    "tokens": tokens,
    "ratio": ratio,
    "memory": memory,
    "roofline": roofline,
    "latency": latency,
    "length": length,
    "compare": compare,
    "pareto": pareto,
}
for name, kind in KINDS.items():
    app.command(name)(kind)
