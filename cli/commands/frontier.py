"""`tokencost frontier`: the schedules of a grid that no other one beats, within a budget."""

from __future__ import annotations

from typing import Annotated

import typer

from ..export import deliver
from ..frontier_options import BUDGET, Budget, Question
from ..options import COUNTING, OUTPUT, Sink, Text, option, shares
from ..timing_options import Timing

app = typer.Typer(add_completion=False)


@app.command()
@shares(Question, Budget, Timing, Sink)
def frontier(
    request: Question,
    budget: Budget,
    timing: Timing,
    sink: Sink,
    importance: Annotated[
        Text,
        option(
            BUDGET,
            "--importance",
            "Weight of each layer in the retention proxy: uniform, or a CSV file with the columns "
            "layer and weight (default: uniform).",
            "uniform|FILE",
        ),
    ] = None,
    convention: Annotated[
        Text,
        option(
            COUNTING,
            "--convention",
            "What a ratio or FLOPs are counted by: survey, gated or exact (default: exact).",
            "NAME",
        ),
    ] = None,
    points: Annotated[
        Text,
        option(
            OUTPUT,
            "--points",
            "Schedules shown, evenly over the costs (default: 20; all in JSON and CSV).",
            "INT",
        ),
    ] = None,
) -> None:
    """Find the schedules of a grid that nothing beats in cost and retention, within a budget.

    Retention is a proxy, not accuracy: the share of visual tokens that is left, weighted by layer.

    Example: tokencost frontier --model llava-1.5-7b --prune-layer 1:31 --keep .5,.2 --max-flops 4T
    """
    from ..frontier_run import Choices, check, document

    choices = Choices(budget, timing, importance, convention, points)
    check(choices, request, sink)
    form, _ = sink.chosen()
    deliver(sink, lambda: document(request, choices, form), None, request.config)
