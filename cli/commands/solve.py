"""`tokencost solve`: the one free option of a schedule that meets a target."""

from typing import Annotated

import typer

from ...costmodel import InvalidInput
from ..asked import Question
from ..document import Document
from ..export import deliver
from ..options import COUNTING, Sink, Text, option, shares
from ..targets import Targets

app = typer.Typer(add_completion=False)


@app.command()
@shares(Question, Targets, Sink)
def solve(
    request: Question,
    targets: Targets,
    sink: Sink,
    convention: Annotated[
        Text,
        option(
            COUNTING,
            "--convention",
            "What a ratio or FLOPs are counted by: survey, gated or exact (default: exact).",
            "NAME",
        ),
    ] = None,
) -> None:
    """Find the one free option of a schedule that meets a target, exactly.

    One of --keep, --prune-layer, --tokens and --budget is "?" (in quotes, or the shell may expand
    it) or free. The answer is the largest value whose cost does not exceed the target, and the next
    one above.

    Example: tokencost solve --model llava-1.5-7b --prune-layer 2 --keep free --target-ratio 0.45
    """
    deliver(sink, lambda: _document(request, targets, convention), request.schedule, request.config)


def _document(request: Question, targets: Targets, convention: str | None) -> Document:
    chosen = targets.chosen(convention)
    if chosen is None:
        way_out = "or --target-flops, --target-average-tokens or --target-kv-bytes"
        raise InvalidInput("--target-ratio", None, "is missing", f"give it, {way_out}")
    from ..free import solved
    from ..solution import document

    return document(solved(request, *chosen))
