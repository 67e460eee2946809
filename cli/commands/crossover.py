"""`tokencost crossover`: from which sequence or batch on a schedule is faster on a device."""

from __future__ import annotations

from typing import Annotated

import typer

from ...costmodel import InvalidInput
from ..document import Document
from ..export import deliver
from ..options import Sink, Text, one_of, option, shares
from ..request import Request
from ..timing_options import Timing

SEARCH = "Search"
app = typer.Typer(add_completion=False)


@app.command()
@shares(Request, Timing, Sink)
def crossover(
    request: Request,
    timing: Timing,
    sink: Sink,
    over: Annotated[
        Text,
        option(
            SEARCH,
            "--over",
            "visual-tokens, text-tokens, frames, batch or new-tokens (default: visual-tokens).",
            "NAME",
        ),
    ] = None,
    up_to: Annotated[
        Text,
        option(SEARCH, "--up-to", "Largest number to try (default: by what is searched).", "INT"),
    ] = None,
    gain: Annotated[
        Text,
        option(
            SEARCH, "--gain", "Speed-up that must be exceeded (default: 1: any gain).", "FACTOR"
        ),
    ] = None,
    until: Annotated[
        Text,
        option(
            SEARCH,
            "--until",
            "Time that counts: first-token or last-token (default: first-token; last-token with "
            "--new-tokens).",
            "NAME",
        ),
    ] = None,
) -> None:
    """Find the shortest sequence or smallest batch from which on a schedule is faster.

    Example: tokencost crossover --model llava-1.5-7b --method fastv --device a100-80gb --over batch
    """
    from ..crossover_search import LARGEST, Search

    timing.check(sink)
    reason = "is of counting FLOPs: fused attention leaves out masked pairs here anyway"
    request.refuse(reason, "leave it out", "causal")
    free = one_of(over or "visual-tokens", "--over", tuple(LARGEST))
    search = Search.typed(free, up_to, gain, until, request)
    field = free.replace("-", "_")
    if getattr(request, field) is not None:
        problem = "is what is searched for"
        raise InvalidInput(f"--{free}", getattr(request, field), problem, "leave it out")
    if free in ("visual-tokens", "frames") and request.frames is not None:
        problem = f"does not go with a search over {free}"
        raise InvalidInput("--frames", request.frames, problem, "choose another --over")

    def build() -> Document:
        from ..crossover_tables import document

        return document(search.run(request, timing.target(), timing.running()))

    deliver(sink, build, request.schedule, request.config)
