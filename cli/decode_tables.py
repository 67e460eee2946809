"""The KV cache by layers and the decode forwards as tables for people."""

from __future__ import annotations

from typing import Literal

from ..costmodel import Report
from .decode_rows import SIDES, cache_groups, decode_forwards
from .document import Column, Table
from .rows import Row
from .units import percent, prefix, ranges, scaled

LEFT: Literal["left"] = "left"


def decode_tables(report: Report) -> list[Table]:
    """Return the KV cache, and the decode forwards where there are any."""
    return [cache_table(report), *forward_table(report)]


def cache_table(report: Report) -> Table:
    """Return what each group of layers stores after the prefill, and a decode forward reads."""
    groups = cache_groups(report)
    sides = SIDES if report.schedule else SIDES[:1]
    crosses = any(group["baseline"]["cross_tokens"] for group in groups)
    total = [sum(group["baseline"]["stored_bytes"] for group in groups)]
    letter, power = prefix(total)
    columns = [Column("layers", LEFT)]
    for side in sides:
        columns += [Column(f"{side}\ntokens")]
        columns += [Column("tokens\nread")] if side == "scheduled" else []
        columns += [Column(f"{side}\ncross keys")] if crosses else []
        columns += [Column(f"{side}\n[{letter}B]")]
        columns += [Column(f"read\n[{letter}B]")] if side == "scheduled" else []
    lines = [(_layers(group), *_cells(group, sides, crosses, power)) for group in groups]
    if len(groups) > 1:
        lines.append(("total", *_cells(_summed(groups), sides, crosses, power)))
    return Table("KV cache after the prefill", tuple(columns), tuple(lines))


def _layers(group: Row) -> str:
    """Return the layers of a group, and the window that bounds their cache."""
    window = group["window"]
    return ranges(group["layers"]) + ("" if window is None else f" (window {window:,})")


def _summed(groups: list[Row]) -> Row:
    """Return the bytes of all groups; layers' tokens do not add up."""
    total: Row = {}
    for side in SIDES:
        names = ("stored_tokens", "read_tokens", "cross_tokens")
        total[side] = dict.fromkeys(names)
        for name in ("stored_bytes", "read_bytes"):
            total[side][name] = sum(group[side][name] for group in groups)
    return total


def _cells(group: Row, sides: tuple[str, ...], crosses: bool, power: int) -> list[str]:
    cells = []
    for side in sides:
        own = group[side]
        cells.append(_count(own["stored_tokens"]))
        cells += [_count(own["read_tokens"])] if side == "scheduled" else []
        cells += [_count(own["cross_tokens"])] if crosses else []
        cells.append(scaled(own["stored_bytes"], power))
        cells += [scaled(own["read_bytes"], power)] if side == "scheduled" else []
    return cells


def _count(tokens: int | None) -> str:
    return "" if tokens is None else f"{tokens:,}"


def forward_table(report: Report) -> list[Table]:
    """Return the decode forwards' FLOPs and KV bytes as a table; nothing without forwards."""
    forwards = decode_forwards(report)
    if not forwards:
        return []
    last = report.workload.new_tokens - 1
    columns, lines = [Column("forward", LEFT)], []
    scales = [prefix(forwards[0].flops), prefix(forwards[0].kv_read_bytes)]
    for (letter, _), unit, what in zip(scales, ("FLOP", "B"), ("", "\nKV read"), strict=True):
        columns.append(Column(f"baseline{what}\n[{letter}{unit}]"))
        if report.schedule:
            columns += [Column(f"scheduled{what}\n[{letter}{unit}]"), Column("ratio")]
    for one in forwards:
        cells = [one.name]
        for (_, power), amounts in zip(scales, (one.flops, one.kv_read_bytes), strict=True):
            dense, scheduled = (_mean(amount, one.share) for amount in amounts)
            cells.append(scaled(dense, power))
            if report.schedule:
                cells += [scaled(scheduled, power), percent(amounts[1], amounts[0])]
        lines.append(tuple(cells))
    title = f"Decode forwards 1–{last}, exact" if last > 1 else "Decode forward, exact"
    return [Table(title, tuple(columns), tuple(lines))]


def _mean(amount: int, share: int) -> int:
    """Return a mean to the nearest whole unit; a float would lose digits of large sums."""
    return (2 * amount + share) // (2 * share)
