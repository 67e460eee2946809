"""Every kernel of a prefill and of a decode forward, as rows and as a table."""

from __future__ import annotations

from typing import Literal

from ..costmodel.clock import StageTime
from ..costmodel.kernels import Kernel
from ..costmodel.latency import Latency, timed_kernels
from .document import Column, Table
from .latency_rows import BOUNDS
from .latency_tables import milliseconds
from .rows import Row
from .units import with_prefix

LEFT: Literal["left"] = "left"


def kernel_rows(found: Latency) -> list[Row]:
    """Return a row for each kernel of each run: seconds of all its launches, FLOPs and bytes."""
    sides = [("baseline", False)]
    if found.report.schedule is not None:
        sides.append(("scheduled", True))
    return [
        _row(side, kernel, took)
        for side, scheduled in sides
        for kernel, took in timed_kernels(found, scheduled=scheduled)
    ]


def _row(side: str, kernel: Kernel, took: StageTime) -> Row:
    row: Row = {
        "side": side,
        "stage": kernel.stage,
        "kernel": kernel.name,
        "kind": kernel.kind,
        "launches": kernel.times,
        "unit": "s",
        **dict(zip(BOUNDS, map(float, took.time), strict=True)),
        "flops": kernel.times * kernel.flops,
        "weight_bytes": kernel.times * kernel.weight_bytes,
        "kv_bytes": kernel.times * kernel.kv_bytes,
        "other_bytes": kernel.times * kernel.moved_bytes,
        "bound_by": None if kernel.kind == "launch" or not took.time.central else took.limit,
    }
    return row


def kernel_tables(rows: list[Row]) -> list[Table]:
    """Return a table for each run."""
    columns = [Column("stage", LEFT), Column("kernel", LEFT), Column("launches"), Column("FLOP")]
    columns += [Column("bytes"), Column("central\n[ms]"), Column("lower – upper\n[ms]")]
    columns.append(Column("bound by", LEFT))
    tables = []
    for side in dict.fromkeys(row["side"] for row in rows):
        lines = [_line(row) for row in rows if row["side"] == side]
        title = f"Kernels of the {side} run: prefill, and the first decode forward if any"
        tables.append(Table(title, tuple(columns), tuple(lines)))
    return tables


def _line(row: Row) -> tuple[str, ...]:
    moved = row["weight_bytes"] + row["kv_bytes"] + row["other_bytes"]
    lower, central, upper = (milliseconds(row[bound]) for bound in BOUNDS)
    return (
        row["stage"],
        row["kernel"],
        str(row["launches"]),
        with_prefix(row["flops"], "FLOP") if row["flops"] else "—",
        with_prefix(round(moved), "B") if moved else "—",
        central,
        f"{lower} – {upper}",
        {"cache": "KV cache", "memory": "bandwidth", None: "—"}.get(
            row["bound_by"], row["bound_by"] or "—"
        ),
    )
