"""Decode in rows and notes: what its bytes are, and the rows of CSV for them."""

from __future__ import annotations

from ..costmodel import Report
from ..costmodel.decoding import SIDES as SIDES
from ..costmodel.decoding import cache_groups as cache_groups
from ..costmodel.decoding import decode_forwards as decode_forwards
from ..costmodel.decoding import decode_payload as decode_payload
from ..costmodel.decoding import forward_bytes as forward_bytes
from ..costmodel.decoding import sides_of
from ..costmodel.memory import cache_bits, kv_cache_bytes
from .rows import Row


def decode_notes(report: Report) -> list[str]:
    """Return what a reader must know about the bytes of decode forwards."""
    lines = [
        "KV read: keys and values that attention is handed in decode forwards, each forward's own "
        "included; cache and reads at "
        f"{' and '.join(map(str, dict.fromkeys(map(cache_bits, sides_of(report)))))} bit"
    ]
    cache = report.scheduled.cache
    if cache is not None and cache.rescan:
        lines.append(
            "forwards that choose the visual tokens anew, the first among them, read the keys of "
            "all stored ones"
        )
    return lines


def memory_rows(report: Report, phases: dict[str, tuple[int, int]]) -> list[Row]:
    """Return rows of CSV for KV bytes read in each of the phases, and stored by the prefill."""
    dense, scheduled = (
        kv_cache_bytes(report.model, plan, None, report.counting.execution)
        for plan in sides_of(report)
    )
    amounts = [("prefill", "KV stored", (dense, scheduled))]
    amounts += [(phase, "KV read", read) for phase, read in phases.items()]
    return [
        {
            "convention": "memory",
            "phase": phase,
            "component": component,
            "unit": "byte",
            "baseline": baseline,
            "scheduled": amount,
            "ratio": amount / baseline if baseline else None,
        }
        for phase, component, (baseline, amount) in amounts
    ]


def generation_rows(report: Report) -> list[Row]:
    """Return rows of CSV for the KV bytes of a generation."""
    last = report.workload.new_tokens - 1
    return memory_rows(report, {"generation": forward_bytes(report, 1, last)})
