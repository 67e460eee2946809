"""What a schedule of a frontier costs: FLOPs or MACs, or bytes of the KV cache, layer by layer."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple, Protocol

from ..errors import TokencostError
from ..flops import Convention
from ..memory import kv_cache_bytes
from ..report import Report
from .grid import Grid
from .search import Table


class Measure(Protocol):
    """A cost that is a sum over layers, and what it comes to in its unit."""

    def layers(self, report: Report) -> int:
        """Return the sum of a report's scheduled side."""

    def passes(self, amount: int) -> Fraction:
        """Return what a sum comes to, in the unit; it grows with the sum, or stays."""

    def most(self, budget: Fraction) -> int | None:
        """Return the largest sum that does not come to more than a budget; None if none does."""

    def scalar(self, report: Report) -> Fraction:
        """Return what a report's scheduled side comes to, priced as every other command does."""

    def agrees(self, amount: int, scalar: Fraction) -> bool:
        """Tell whether a sum of the search comes to what `scalar` found."""


class _Whole:
    """A cost in whole numbers, which is its sum."""

    def passes(self, amount: int) -> Fraction:
        """Return the sum itself."""
        return Fraction(amount)

    def most(self, budget: Fraction) -> int | None:
        """Return the largest whole number within a budget."""
        return budget.numerator // budget.denominator

    def scalar(self, report: Report) -> Fraction:
        """Return the sum itself."""
        return Fraction(self.layers(report))

    def agrees(self, amount: int, scalar: Fraction) -> bool:
        """Tell whether both are equal."""
        return amount == scalar

    def layers(self, report: Report) -> int:
        """Return the sum."""
        raise NotImplementedError


class Flops(_Whole):
    """The cost that a ratio compares: FLOPs of the generation, or MACs of the prefill."""

    def __init__(self, convention: Convention = "exact") -> None:
        """Count by a convention."""
        self.convention = convention

    def layers(self, report: Report) -> int:
        """Return the total of the scheduled side."""
        return report.total(self.convention)


class Cache(_Whole):
    """Bytes of the KV cache after the prefill."""

    def __init__(self, bits: int | None = None) -> None:
        """Store keys and values in so many bits, by default 16."""
        self.bits = bits

    def layers(self, report: Report) -> int:
        """Return the bytes of the scheduled side."""
        execution = report.counting.execution
        return kv_cache_bytes(report.model, report.scheduled, self.bits, execution)


class _Kind(NamedTuple):
    """What layers with equal costs share."""

    block: int
    layout: object
    last: bool


def cost_table(report: Report, grid: Grid, measure: Measure) -> Table:
    """Return what each layer costs at each level: what changes if that layer alone has it.

    Layers of one kind cost alike, so that one of them is priced: those that are built alike, see
    visual tokens alike, and are all the last one, whose positions reach the head, or all not.
    Whether costs add up so is checked on every schedule that is given out (`frontier`).
    """
    dense = report.scheduled
    blocks, depth = report.model.decoder.blocks, len(dense.layout)
    known: dict[_Kind, tuple[int, ...]] = {}
    total, rows = measure.layers(report), []
    for layer, layout in enumerate(dense.layout):
        kind = _Kind(id(blocks[layer]), layout, layer == depth - 1)
        if kind not in known:
            known[kind] = tuple(
                _alone(report, measure, layer, level.tokens) - total for level in grid.levels
            )
        rows.append(known[kind])
    return Table(total, tuple(rows))


def _alone(report: Report, measure: Measure, layer: int, tokens: int) -> int:
    """Return the cost where one layer has fewer visual tokens and all others have theirs."""
    plan = report.scheduled
    visual = (*plan.visual[:layer], tokens, *plan.visual[layer + 1 :])
    return measure.layers(report._replace(scheduled=plan.with_visual(visual)))


def disagreement(text: str, summed: object, priced: object) -> TokencostError:
    """Return the error that a schedule of the search has another price than the scalar path's."""
    return TokencostError(
        f"the search prices '{text}' at {summed}, the schedule itself costs {priced}"
    )
