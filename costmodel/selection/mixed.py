"""What choosing takes in an answer, whose schedule may be a mixture of several."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from ..workload import Counting
from .work import selection_work

if TYPE_CHECKING:
    from ..report import Report
    from ..schedule import Schedule


class SelectionCost(NamedTuple):
    """What choosing the tokens takes in a prefill, over the ways of a mixture.

    The rule of the whole runs always, on the dense model's tokens; a way's own rule in the share
    of requests that take the way.

    Attributes:
        flops: Expected FLOP, as the bill has them: Σ probability · FLOP of the way.
        moved_bytes: Expected bytes of operands and results.
        launches: Rounds that wait for one another: the whole's and the most of any way.
        attention_map_bytes: The most of any way, or the whole's: both do not exist at once.
        parameters: Weights of all rules that differ.
    """

    flops: int
    moved_bytes: int
    launches: int
    attention_map_bytes: int
    parameters: int


def rules(schedule: Schedule | None) -> list[Any]:
    """Return the rules that choose tokens, each once: of the whole, then of its ways."""
    if schedule is None:
        return []
    found = [schedule.selection]
    found += [branch.schedule.selection for branch in schedule.mixture if branch.schedule]
    distinct: list[Any] = []
    for rule in found:
        if rule is not None and rule not in distinct:
            distinct.append(rule)
    return distinct


def report_selection(report: Report, counting: Counting | None = None) -> SelectionCost:
    """Return what choosing takes on an answer's scheduled side; zeros without a rule.

    Raises:
        InvalidInput: A rule that does not fit the schedule, the model or the request.
    """
    schedule, counting = report.schedule, counting or report.counting
    if schedule is None:
        return SelectionCost(0, 0, 0, 0, 0)
    if not report.scheduled.branches:
        work = selection_work(report.model, report.scheduled, schedule, counting)
        return SelectionCost(
            work.flops,
            work.moved_bytes,
            work.launches,
            work.attention_map_bytes,
            work.parameters,
        )
    from ..flops import exact_bill
    from ..mixing import expected_bill, ways

    whole = selection_work(report.model, report.dense, schedule, counting)
    runs = [(Fraction(1), whole)]
    weights = {0: whole.parameters}
    listed = rules(schedule)
    for (share, side), (_, own) in zip(report.scheduled.branches, ways(schedule), strict=True):
        if side is None or own is None or own.selection is None:
            continue
        work = selection_work(report.model, side, own, counting)
        runs.append((share, work))
        rule = listed.index(own.selection) + 1
        weights[rule] = max(weights.get(rule, 0), work.parameters)
    bills = ((share, exact_bill(work.operators)) for share, work in runs)
    return SelectionCost(
        expected_bill(bills, "FLOP").total,
        round(sum(share * work.moved_bytes for share, work in runs)),
        whole.launches + max((work.launches for _, work in runs[1:]), default=0),
        max(work.attention_map_bytes for _, work in runs),
        sum(weights.values()),
    )
