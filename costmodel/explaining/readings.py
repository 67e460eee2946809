"""The ways in which papers read a cost: convention, unit, scope, mask and head.

A reading is what a printed "FLOPs" leaves unsaid. Each prices a report, so that a figure can be
compared with all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Literal, NamedTuple

from ..flops import CONVENTIONS, Bill, Convention
from ..formulas import FLOPS_PER_MAC
from ..operators import Component
from ..report import Report

Counts = Literal["MAC", "FLOP"]
ReadingScope = Literal[
    "one layer",
    "LLM layers",
    "LLM",
    "LLM and connector",
    "LLM and encoder",
    "everything",
    "encoder",
    "encoder and connector",
]
#: What each scope sums; "one layer" is the mean over the decoder's layers.
COMPONENTS_OF: dict[ReadingScope, tuple[Component, ...]] = {
    "one layer": ("decoder",),
    "LLM layers": ("decoder",),
    "LLM": ("decoder", "head"),
    "LLM and connector": ("decoder", "head", "connector"),
    "LLM and encoder": ("decoder", "head", "connector", "vision"),
    "everything": ("decoder", "head", "connector", "vision", "selection"),
    "encoder": ("vision",),
    "encoder and connector": ("vision", "connector"),
}
#: How unnatural a part of a reading is; a reading's rank is the sum. The published formulas are
#: printed as MACs over the LLM's layers; counters give everything, as FLOPs or as MACs.
_UNIT_RANKS: dict[tuple[Convention, Counts], int] = {
    ("survey", "MAC"): 0,
    ("gated", "MAC"): 0,
    ("exact", "FLOP"): 0,
    ("exact", "MAC"): 1,
    ("gated", "FLOP"): 2,
    ("survey", "FLOP"): 3,
}
_SCOPE_RANKS: dict[ReadingScope, tuple[int, int]] = {  # of published formulas, of exact
    "LLM layers": (0, 1),
    "one layer": (1, 2),
    "LLM": (2, 1),
    "LLM and encoder": (3, 0),
    "everything": (4, 1),
    "encoder": (1, 1),
    "LLM and connector": (4, 3),
    "encoder and connector": (2, 2),
}


class Reading(NamedTuple):
    """One way to read a cost.

    Attributes:
        convention: Formula of the decoder's layers; encoder, connector and head are exact in any.
        counts: What one multiply-accumulate counts as: 1 MAC, or 2 FLOP.
        scope: What is summed, of a prefill; see `COMPONENTS_OF`.
        causal: Whether the decoder counts only pairs whose key is not later (`exact` alone).
        logits: Positions that the head prices, where the scope has one.
        first_layer: Decoder layers from this one on.
        rank: How unnatural the reading is; 0 is the most natural.
    """

    convention: Convention
    counts: Counts
    scope: ReadingScope
    causal: bool = False
    logits: Literal["last", "all"] = "last"
    first_layer: int = 0
    rank: int = 0

    def value(self, report: Report, scheduled: bool = True) -> int | Fraction:
        """Price the prefill of one side of a report.

        Raises:
            InvalidInput: A published convention for a model for which it has no meaning.
        """
        return _Bills(report, scheduled).value(self)


def reading(
    convention: Convention,
    counts: Counts,
    scope: ReadingScope,
    *,
    causal: bool = False,
    logits: Literal["last", "all"] = "last",
    first_layer: int = 0,
) -> Reading:
    """Return a reading with its rank."""
    rank = _UNIT_RANKS[convention, counts] + _SCOPE_RANKS[scope][convention == "exact"]
    if scope.startswith("encoder"):  # no published formula takes part
        rank = _SCOPE_RANKS[scope][1] + (counts == "MAC")
    rank += 2 * causal + (logits == "all") + 2 * (first_layer > 0)
    return Reading(convention, counts, scope, causal, logits, first_layer, rank)


def readings(report: Report | None = None, first_layer: int = 0) -> tuple[Reading, ...]:
    """Return all readings, the most natural first.

    Args:
        report: Leaves out conventions that have no meaning for its model, and scopes that equal
            another because nothing is selected.
        first_layer: Adds the readings of the decoder's layers from this one on, unless it is 0.
    """
    found = []
    for convention in CONVENTIONS:
        if report is not None and report.obstacle(convention):
            continue
        for scope in COMPONENTS_OF:
            if scope.startswith("encoder") and convention != "exact":
                continue
            if scope == "everything" and report is not None and not _selects(report):
                continue
            layers = {0, first_layer} if COMPONENTS_OF[scope] == ("decoder",) else {0}
            found += [
                reading(convention, counts, scope, causal=causal, logits=logits, first_layer=first)
                for counts in ("MAC", "FLOP")
                for causal in _masks(convention, scope, report)
                for logits in _heads(convention, scope)
                for first in sorted(layers)
            ]
    return tuple(sorted(found, key=lambda one: one.rank))


def price(
    report: Report, wanted: Iterable[Reading], scheduled: bool = True
) -> list[tuple[Reading, int | Fraction]]:
    """Price many readings of one side of a report, each bill once."""
    bills = _Bills(report, scheduled)
    return [(one, bills.value(one)) for one in wanted]


def _selects(report: Report) -> bool:
    return report.schedule is not None and report.schedule.selection is not None


def _masks(convention: Convention, scope: ReadingScope, report: Report | None) -> tuple[bool, ...]:
    schedule = report.schedule if report is not None else None
    streams = schedule is not None and schedule.stream is not None  # no causal count of a stream
    causal = convention == "exact" and "decoder" in COMPONENTS_OF[scope] and not streams
    return (False, True) if causal else (False,)


def _heads(convention: Convention, scope: ReadingScope) -> tuple[Literal["last", "all"], ...]:
    return ("last", "all") if "head" in COMPONENTS_OF[scope] else ("last",)


class _Bills:
    """The bills of one side, made when a reading asks for them."""

    def __init__(self, report: Report, scheduled: bool) -> None:
        self.report, self.scheduled = report, scheduled
        self.sums: dict[tuple[Convention, bool, str], dict[Component, int]] = {}
        self.layers: dict[tuple[Convention, bool, int], int] = {}

    def value(self, one: Reading) -> int | Fraction:
        """Price a reading in its unit."""
        parts = COMPONENTS_OF[one.scope]
        own = "MAC" if one.convention != "exact" else "FLOP"
        decoder: int | Fraction = 0
        if "decoder" in parts:
            decoder = self._decoder(one.convention, one.causal, one.first_layer)
            decoder *= _factor(own, one.counts)
        around = self._sums("exact", one.causal, one.logits) if set(parts) != {"decoder"} else {}
        rest = sum(around.get(part, 0) for part in parts if part != "decoder")
        total = decoder + rest * _factor("FLOP", one.counts)
        if one.scope == "one layer":
            total = Fraction(total) / (self._depth - one.first_layer)
        return int(total) if total == int(total) else total

    @property
    def _depth(self) -> int:
        return self.report.model.decoder.num_hidden_layers

    def _decoder(self, convention: Convention, causal: bool, first_layer: int) -> int:
        if not first_layer:
            return self._sums(convention, causal, "last").get("decoder", 0)
        key = convention, causal, first_layer
        if key not in self.layers:
            by_layer = self._bill(convention, causal, "last").by_layer()
            self.layers[key] = sum(
                amount
                for (component, layer), amount in by_layer.items()
                if component == "decoder" and (layer is None or layer >= first_layer)
            )
        return self.layers[key]

    def _sums(self, convention: Convention, causal: bool, logits: str) -> dict[Component, int]:
        key = convention, causal, logits
        if key not in self.sums:
            self.sums[key] = self._bill(*key).by_component()
        return self.sums[key]

    def _bill(self, convention: Convention, causal: bool, logits: str) -> Bill:
        report = self.report
        counting = report.counting
        if (counting.causal, counting.logits) != (causal, logits):
            changed = counting.model_copy(update={"causal": causal, "logits": logits})
            report = report._replace(counting=changed)
        return report.bill(convention, scheduled=self.scheduled)


def _factor(own: str, wanted: str) -> int | Fraction:
    if own == wanted:
        return 1
    return FLOPS_PER_MAC if wanted == "FLOP" else Fraction(1, FLOPS_PER_MAC)
