"""Decode in figures: the ragged KV cache by layers, and what decode forwards compute and read."""

from __future__ import annotations

from typing import Any, NamedTuple

from .memory import (
    cache_bits,
    decode_read_bytes,
    read_bytes_per_layer,
    stored_bytes_per_layer,
)
from .report import Report
from .rows import Row
from .tokenplan import TokenPlan, alike

SIDES = ("baseline", "scheduled")


class Forwards(NamedTuple):
    """What some decode forwards compute and read, on both sides.

    Attributes:
        name: Which, for people.
        key: Which, in JSON.
        flops, kv_read_bytes: Baseline and scheduled, over the batch.
        share: How many forwards they are averaged over; 1 for sums.
    """

    name: str
    key: str
    flops: tuple[int, int]
    kv_read_bytes: tuple[int, int]
    share: int = 1

    def payload(self) -> Row:
        """Return them as JSON gives them; means are not rounded."""
        figures: Row = {}
        for name in ("flops", "kv_read_bytes"):
            amounts = getattr(self, name)
            shown = amounts if self.share == 1 else [amount / self.share for amount in amounts]
            figures[name] = dict(zip(SIDES, shown, strict=True))
            figures[name]["ratio"] = amounts[1] / amounts[0] if amounts[0] else None
        return figures


def forward_bytes(report: Report, first: int, last: int) -> tuple[int, int]:
    """Return the KV bytes that decode forwards read, baseline and scheduled."""
    execution = report.counting.execution
    dense, scheduled = (
        decode_read_bytes(report.model, plan, first, last, None, execution)
        for plan in (report.dense, report.scheduled)
    )
    return dense, scheduled


def decode_forwards(report: Report) -> list[Forwards]:
    """Return first, last, mean and all decode forwards; none where the prefill gives the token."""
    last = report.workload.new_tokens - 1
    if not last:
        return []

    def flops(step: int) -> tuple[int, int]:
        dense = report.decode_forward(step, scheduled=False)
        return dense.total, report.decode_forward(step).total

    whole = (
        report.bill(scheduled=False, phase="decode").total,
        report.bill(phase="decode").total,
    )
    read = forward_bytes(report, 1, last)
    return [
        Forwards("first", "first", flops(1), forward_bytes(report, 1, 1)),
        Forwards(f"last ({last})", "last", flops(last), forward_bytes(report, last, last)),
        Forwards("mean", "mean", whole, read, last),
        Forwards(f"all {last}", "generation", whole, read),
    ]


def decode_payload(report: Report) -> Row | None:
    """Return the decode forwards as JSON gives them; None where there are none."""
    forwards = decode_forwards(report)
    if not forwards:
        return None
    return {
        "forwards": report.workload.new_tokens - 1,
        "unit": "FLOP",
        "kv_bits": dict(zip(SIDES, map(cache_bits, sides_of(report)), strict=True)),
        **{one.key: one.payload() for one in forwards},
    }


def cache_groups(report: Report) -> list[Row]:
    """Return the caching layers in groups of equal ones; bytes are sums over group and batch."""
    execution = report.counting.execution
    measures: list[list[Any]] = []
    for plan in sides_of(report):
        stored = stored_bytes_per_layer(report.model, plan, None, execution)
        read = read_bytes_per_layer(report.model, plan, None, execution)
        vectors = (
            plan.kv_stored,
            plan.visual_stored,
            plan.kv_read,
            plan.cross_stored,
            stored,
            read,
        )
        measures.append(list(zip(*vectors, strict=True)))
    groups = []
    windows = [layer.window for layer in report.dense.layout]
    for layers, (window, *sides) in alike(zip(windows, *measures, strict=True)):
        if any(side[0] or side[3] for side in sides):
            own = [_group(side, len(layers)) for side in sides]
            group = {"layers": list(layers), "window": window}
            groups.append({**group, **dict(zip(SIDES, own, strict=True))})
    return groups


def _group(side: tuple[Any, ...], layers: int) -> Row:
    stored, visual, read, cross, stored_bytes, read_bytes = side
    return {
        "stored_tokens": stored,
        "visual_stored_tokens": min(visual, stored),
        "read_tokens": read,
        "cross_tokens": cross,
        "stored_bytes": round(layers * stored_bytes),
        "read_bytes": round(layers * read_bytes),
    }


def sides_of(report: Report) -> tuple[TokenPlan, TokenPlan]:
    """Return the plans of both sides, in the order of `SIDES`."""
    return report.dense, report.scheduled
