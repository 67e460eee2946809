"""Figures of many schedules of a frontier at once, each of which agrees with the search."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from ..errors import InvalidInput
from ..memory import kv_cache_bytes
from ..report import Report
from ..schedule import Schedule
from .measures import Cache, Flops, disagreement
from .solved import Solved, Standing

#: Schedules that the scalar path prices too, evenly over those that arrays price.
_SAMPLE = 16
#: Whole numbers below it are exact in float64.
_EXACT = 2**53


class Figures(NamedTuple):
    """What a schedule of a frontier costs, besides times.

    Attributes:
        average_visual_tokens: Mean over the decoder layers that have a place for them.
        exact_flops: Of everything that a ratio compares.
        kv_cache_bytes: Keys and values after the prefill.
    """

    average_visual_tokens: Fraction
    exact_flops: int
    kv_cache_bytes: int


def figures(report: Report, kv_bits: int | None) -> Figures:
    """Return the figures of a report's scheduled side, by the scalar path."""
    plan, execution = report.scheduled, report.counting.execution
    return Figures(
        plan.average_visual_tokens,
        report.total("exact"),
        kv_cache_bytes(report.model, plan, kv_bits, execution),
    )


def priced_together(solved: Solved, standing: Sequence[Standing]) -> list[Figures] | None:
    """Return the figures of schedules of stages, priced over arrays; None where arrays cannot.

    Each agrees with the search in cost and retention, and with the scalar path in a sample. The
    cache has 16 bits.

    Raises:
        TokencostError: One does not agree.
    """
    measure = solved.measure
    if not isinstance(measure, Flops | Cache) or not all(one.point.stages for one in standing):
        return None
    if isinstance(measure, Cache) and measure.bits not in (None, 16):
        return None
    name = measure.convention if isinstance(measure, Flops) else "kv_cache_bytes"
    try:
        rows = _over_arrays(solved, standing)
    except InvalidInput:
        return None  # windows that bind, and what else is priced one by one
    found = []
    for one, row in zip(standing, rows, strict=True):
        if max(row.values()) >= _EXACT:
            return None
        text = solved.grid.text(one.point.stages)
        if row[name] != one.point.cost:
            raise disagreement(text, one.cost, row[name])
        retained = solved.importance.retained(_visual(solved, one), solved.grid.entering)
        if retained != one.retention:
            raise disagreement(text, one.retention, retained)
        average = Fraction(row["visual_tokens"], row["placed"])
        found.append(Figures(average, row["exact"], row["kv_cache_bytes"]))
    for place in range(0, len(standing), max(1, len(standing) // _SAMPLE)):
        scalar = figures(solved.priced(standing[place]), None)
        if scalar != found[place]:
            text = solved.grid.text(standing[place].point.stages)
            raise disagreement(text, found[place], scalar)
    return found


def _over_arrays(solved: Solved, standing: Sequence[Standing]) -> list[dict[str, int]]:
    """Return every total of each schedule, rounded to whole numbers.

    Raises:
        InvalidInput: The request is not priced over arrays.
    """
    import numpy as np

    from ..sweeping import StagePricer
    from ..sweeping.shares import common_denominator

    request, grid = solved.report, solved.grid
    only_rounding = Schedule(rounding=grid.rounding)
    pricer = StagePricer(request.model, request.workload, request.counting, only_rounding)
    denominator = common_denominator(level.ratio for level in grid.levels)
    numerators = [int(level.ratio * denominator) for level in grid.levels]
    by_count: dict[int, list[int]] = {}
    for place, one in enumerate(standing):
        by_count.setdefault(len(one.point.stages), []).append(place)
    rows: list[dict[str, int]] = [{} for _ in standing]
    for count, places in by_count.items():
        chosen = [standing[place].point.stages for place in places]
        layers = [np.array([stages[i][0] for stages in chosen]) for i in range(count)]
        shares = [np.array([numerators[stages[i][1]] for stages in chosen]) for i in range(count)]
        totals = pricer.price(layers, shares, denominator)._asdict()
        for name, values in totals.items():
            if values is not None:
                for place, value in zip(places, values.tolist(), strict=True):
                    rows[place][name] = int(value)
    for row in rows:
        row["placed"] = pricer.placed_layers
    return rows


def _visual(solved: Solved, one: Standing) -> list[int]:
    """Return the visual tokens of each layer."""
    grid = solved.grid
    visual = [grid.entering] * len(solved.report.dense.layout)
    for first, level in one.point.stages:
        visual[first:] = [grid.levels[level].tokens] * (len(visual) - first)
    return visual
