"""A file of measurements as a Markdown table."""

from __future__ import annotations

from typing import Any

_COLUMNS = (
    ("model", "---"),
    ("batch", "---:"),
    ("method", "---"),
    ("visual tokens", "---:"),
    ("prefill FLOPs / baseline", "---:"),
    ("attention", "---"),
    ("prefill, ms", "---:"),
    ("prefill time / baseline", "---:"),
    ("decode, ms", "---:"),
)


def markdown(document: dict[str, Any]) -> str:
    """Return a table with a row per case: medians of wall clock, with quartiles.

    FLOPs (exact) and time are relative to the baseline of the same model, batch and attention.
    """
    rows = document["rows"]
    baselines = {_group(row): row for row in rows if row["method"] is None}
    lines = [
        "| " + " | ".join(name for name, _ in _COLUMNS) + " |",
        "| " + " | ".join(align for _, align in _COLUMNS) + " |",
    ]
    for row in rows:
        cells = _cells(row, baselines.get(_group(row)))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def caption(document: dict[str, Any]) -> str:
    """Return the hardware, the versions and the extent of a file in two sentences."""
    hardware, suite = document["hardware"], document["suite"]
    missing = len(document["not_measured"])
    cuda = f", CUDA {hardware['cuda']}" if hardware["cuda"] else ""
    return (
        f"{document['date'][:10]}, {hardware['device']}, threads: {hardware['threads']}, "
        f"Python {hardware['python']}, torch {hardware['torch']}, "
        f"transformers {hardware['transformers']}{cuda}; {suite['scale']} scale, {suite['dtype']}. "
        f"Measured: {len(document['rows'])} cases; not measured: {missing}.\n"
    )


def _cells(row: dict[str, Any], baseline: dict[str, Any] | None) -> list[str]:
    wall = row["wall_seconds"]
    method = "baseline" if row["method"] is None else f"{row['method']} {row['budget']}"
    flops = time = "—"
    if baseline is not None:
        flops = f"{_flops(row) / _flops(baseline):.3f}"
        time = f"{_median(row) / _median(baseline):.3f}"
    return [
        row["model"],
        str(row["batch"]),
        method,
        f"{row['average_visual_tokens']:.1f}",
        flops,
        row["attention"],
        _milliseconds(wall["prefill"]),
        time,
        _milliseconds(wall["decode_forward"]),
    ]


def _group(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["model"], row["batch"], row["attention"]


def _flops(row: dict[str, Any]) -> int:
    return sum(row["flops"]["prefill"].values())


def _median(row: dict[str, Any]) -> float:
    return float(row["wall_seconds"]["prefill"]["median"])


def _milliseconds(found: dict[str, Any]) -> str:
    median, low, high = (
        f"{1e3 * found[part]:.1f}" for part in ("median", "lower_quartile", "upper_quartile")
    )
    return f"{median} ({low}–{high})"
