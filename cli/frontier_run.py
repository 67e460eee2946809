"""Searches a frontier: what is checked first, what cost is, and what is shown of the answer."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..costmodel import InvalidInput, Report
from ..costmodel.frontier import Cache, Flops, Grid, Measure, Solved, Standing, frontier
from ..costmodel.frontier.together import Figures, figures, priced_together
from ..costmodel.latency import Side
from ..costmodel.numeric import whole
from .document import Document
from .free import refuse_meaningless
from .frontier_importance import importance
from .frontier_options import Budget, Limit, Question
from .frontier_words import amount_text, at_least_text
from .options import Format, Sink, flag
from .timing_options import Timing

if TYPE_CHECKING:
    from ..costmodel.frontier.first_token import FirstToken

#: Schedules that a table shows unless told.
SHOWN = 20
#: Forms that hold every schedule unless told.
_WHOLE_FORMS = ("json", "csv")
_MOST_POINTS = 10**6
#: Schedules that take seconds to price, one by one.
_FOLLOWED = 500
#: Schedules that take seconds to search.
_LONG = 10**6
Shown = tuple[Standing, Figures, Side | None]


class Choices(NamedTuple):
    """The command's options beside the request's, as typed."""

    budget: Budget
    timing: Timing
    importance: str | None
    convention: str | None
    points: str | None


class Answer(NamedTuple):
    """A frontier, and the schedules of it that are shown.

    Attributes:
        solved, limit: What was found, and for what.
        budget, floor, dense: In the cost's unit; the floor is the cost without visual tokens.
        shown: Each schedule with its figures, and its times if there is a device.
        timed: The device's times of the dense run; None without a device.
        kv_bits: Bits of the cache.
    """

    solved: Solved
    limit: Limit
    budget: Fraction | None
    floor: Fraction
    dense: Fraction
    shown: tuple[Shown, ...]
    timed: FirstToken | None
    kv_bits: int | None


def check(choices: Choices, request: Question, sink: Sink) -> None:
    """Refuse options that are wrong or do not go together, before any work.

    Raises:
        InvalidInput: One of these.
    """
    _, path = sink.chosen()
    timing, given = choices.timing, choices.importance
    choices.budget.limit(choices.convention, timing.device)
    _most_shown(choices.points, "table")
    if timing.device is not None:
        timing.check(sink)
        reason = "is of counting FLOPs: fused attention leaves out masked pairs in times anyway"
        request.refuse(reason, "leave it out, or leave --device out", "causal")
    else:
        for name in (field.name for field in fields(timing)):
            if getattr(timing, name) is not None:
                problem = "changes nothing without --device"
                raise InvalidInput(flag(name), getattr(timing, name), problem, "add --device ID")
    if given and path and path.exists() and Path(given).is_file() and path.samefile(given):
        problem = "is read for --importance"
        raise InvalidInput("--output", sink.output, problem, "name another file")


def document(request: Question, choices: Choices, form: Format) -> Document:
    """Return the answer in all its forms.

    Raises:
        InvalidInput: A request that is wrong, or a budget that no schedule meets.
    """
    from .frontier_tables import document as worded

    return worded(_answer(request, choices, form))


def _answer(request: Question, choices: Choices, form: Format) -> Answer:
    timing = choices.timing
    limit = choices.budget.limit(choices.convention, timing.device)
    asked = request.question()
    if limit.quantity == "flops":
        refuse_meaningless(asked, limit.convention)
    grid, report = request.grid(asked), asked.report()
    weights = importance(choices.importance, asked.dense.layout)
    timed, bits = None, None
    if timing.device is not None:
        from ..costmodel.frontier.first_token import FirstToken  # most frontiers are of no device

        running = timing.running()
        timed, bits = FirstToken(report, timing.target(), running), running.kv_bits
    measure: Measure = Flops(limit.convention)
    if limit.quantity == "kv-bytes":
        measure = Cache(bits)
    elif limit.quantity == "ttft":
        assert timed is not None
        measure = timed
    dense = measure.scalar(report)
    floor = measure.scalar(report._replace(scheduled=asked.dense.without_visual()))
    budget = limit.amount
    if budget is not None and limit.is_share:
        budget *= dense
    solved = _searched(report, grid, weights, measure, budget)
    if not solved.standing:
        raise _out_of_reach(limit, solved.least, floor, dense)
    shown = _priced(solved, chosen(solved.standing, _most_shown(choices.points, form)), timed, bits)
    return Answer(solved, limit, budget, floor, dense, tuple(shown), timed, bits)


def _priced(
    solved: Solved, standing: list[Standing], timed: FirstToken | None, bits: int | None
) -> list[Shown]:
    """Return schedules with their figures: many without times over arrays, others one by one."""
    if timed is None and len(standing) >= _FOLLOWED:
        first = 0 if standing[0].point.stages else 1
        last = len(standing) - (not standing[-1].point.stages)  # the dense run has no stages
        together = priced_together(solved, standing[first:last])
        if together is not None:
            ends = [*standing[:first], *standing[last:]]
            single = [(one, figures(solved.priced(one), bits), None) for one in ends]
            middle = [
                (one, own, None) for one, own in zip(standing[first:last], together, strict=True)
            ]
            return [*single[:first], *middle, *single[first:]]
    shown: list[Shown] = []
    for one in _followed(standing):
        report = solved.priced(one)
        shown.append((one, figures(report, bits), timed.side(report) if timed else None))
    return shown


def _searched(
    report: Report, grid: Grid, weights: object, measure: Measure, budget: Fraction | None
) -> Solved:
    try:
        with _searching(grid):
            return frontier(report, grid, weights, measure, budget)  # type: ignore[arg-type]
    except InvalidInput as error:
        if error.field == "layers and keep ratios":
            name = "--prune-layer and --keep"
            raise InvalidInput(name, error.value, error.problem, error.way_out) from None
        raise


@contextmanager
def _searching(grid: Grid) -> Iterator[None]:
    """Say on a terminal what is searched, where it takes a while."""
    if grid.space.size < _LONG or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"searching {grid.space.size:,} schedules"):
        yield


def _most_shown(points: str | None, form: Format) -> int:
    """Return how many schedules are shown at most."""
    if points is not None:
        return whole(points, "--points", minimum=2, maximum=_MOST_POINTS)
    return _MOST_POINTS if form in _WHOLE_FORMS else SHOWN


def chosen(standing: tuple[Standing, ...], most: int) -> list[Standing]:
    """Return at most so many schedules: the best within each of `most` costs, evenly apart.

    The cheapest and the best are among them.
    """
    if len(standing) <= most:
        return list(standing)
    costs = [one.cost for one in standing]
    first, last = costs[0], costs[-1]
    marks = (first + (last - first) * place / (most - 1) for place in range(most))
    places = {bisect_right(costs, mark) - 1 for mark in marks}
    return [standing[place] for place in sorted(places)]


def _followed(standing: list[Standing]) -> Iterable[Standing]:
    """Return schedules whose pricing is followed on a terminal, where there are many."""
    if len(standing) < _FOLLOWED or not sys.stderr.isatty():
        return standing
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(standing, "pricing each schedule", console=console, transient=True)


def _out_of_reach(limit: Limit, least: Fraction, floor: Fraction, dense: Fraction) -> InvalidInput:
    """Return the error that every schedule costs more than the budget."""
    whole_of = dense if limit.is_share else None
    least_text = at_least_text(limit, least, whole_of)
    floor_text = least_text if floor == least else amount_text(limit, floor, whole_of)
    problem = (
        f"is out of reach: the cheapest schedule of the grid takes {least_text}, and no pruning in "
        f"the LLM takes less than {floor_text}"
    )
    way_out = f"give at least {least_text}"
    if least > floor:
        way_out += ", or smaller shares and earlier layers"
    elif limit.quantity == "ttft":  # nothing but the host's launches is as long with any tokens
        way_out += ", or --runtime graph, whose launches take no time of the host"
    return InvalidInput(str(limit.option), limit.typed, problem, way_out)
