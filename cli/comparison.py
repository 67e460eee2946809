"""What `validate` prints: closed form, count and difference, and what a counter cannot see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..costmodel import Report
from .document import Column, Document, Table
from .summary import facts, heading, provenance

if TYPE_CHECKING:
    from ..validation.compare import Comparison, Row

COUNTERS = {
    "torch": "FlopCounterMode of torch",
    "fvcore": "FlopCountAnalysis of fvcore (MACs × 2)",
    "profiler": "torch.profiler with_flops (matrix products and convolutions)",
}


def document(report: Report, results: Sequence[Comparison]) -> Document:
    """Return the comparison of a report with counters in all its forms."""
    records = [_record(row) for result in results for row in result.rows]
    return Document(
        title=f"{report.model.id}: closed form against real forward passes",
        facts=facts(report, ("exact",)),
        tables=tuple(_table(result) for result in results),
        notes=(*(note for result in results for note in _notes(result)), _versions_text()),
        sentence=_sentence(report, results),
        payload={
            **heading(report),
            "versions": _versions(),
            "rows": records,
            "runs": [_run(result) for result in results],
        },
        records=tuple({**provenance(report), **_flat(record)} for record in records),
    )


def _record(row: Row) -> dict[str, Any]:
    return {
        "counter": row.setting.counter,
        "scale": row.setting.scale,
        "device": row.setting.device,
        "side": row.side,
        "phase": row.phase,
        "component": row.component,
        "operator": row.kind,
        "unit": "FLOP",
        "analytic": row.analytic,
        "counted": row.counted,
        "difference": row.difference,
        "unseen": list(row.unseen),
    }


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "unseen": " ".join(record["unseen"])}


def _run(result: Comparison) -> dict[str, Any]:
    seen = [row for row in result.rows if row.counted is not None]
    return {
        "counter": result.setting.counter,
        "scale": result.setting.scale,
        "device": result.setting.device,
        "side": result.side,
        "decode_forwards": result.decode_forwards,
        "tokens_per_layer": list(result.tokens_per_layer),
        "analytic": sum(row.analytic for row in seen),
        "counted": sum(row.counted or 0 for row in seen),
        "largest_difference": max((abs(row.difference or 0) for row in seen), default=0),
        "not_compared": sum(row.analytic for row in result.rows if row.counted is None),
        "unseen": result.unseen,
    }


def _table(result: Comparison) -> Table:
    setting = result.setting
    forwards = result.decode_forwards
    phases = {
        "prefill": "prefill",
        "decode": "decode forward" if forwards == 1 else f"{forwards} decode forwards",
    }
    rows = [
        (
            phases[row.phase],
            row.component,
            row.kind,
            f"{row.analytic:,}",
            "unseen" if row.counted is None else f"{row.counted:,}",
            "" if row.difference is None else f"{row.difference:+,}" if row.difference else "0",
        )
        for row in result.rows
    ]
    columns = (
        Column("phase", "left"),
        Column("component", "left"),
        Column("operator", "left"),
        Column("closed form\n[FLOP]"),
        Column("counted\n[FLOP]"),
        Column("difference\n[FLOP]"),
    )
    where = f"{result.side}: {COUNTERS[setting.counter]}, {setting.scale} model on {setting.device}"
    return Table(where, columns, tuple(rows))


def _notes(result: Comparison) -> list[str]:
    """Return what the counter cannot see, by name."""
    setting = result.setting
    lines = []
    blind = [row for row in result.rows if row.counted is None]
    for row in blind:
        lines.append(
            f"{setting.counter}, {result.side}: no formula for {', '.join(row.unseen)}, so "
            f"{row.analytic:,} FLOP of {row.component} ({row.kind}) stay uncompared"
        )
    if setting.counter == "fvcore":
        lines.append(
            f"fvcore, {result.side}: tracing drops layers whose output nothing uses; the closed "
            "form leaves them out too (contributing encoder layers)"
        )
    uncompared = {name for row in blind for name in row.unseen}
    named = ", ".join(
        f"{name} ×{times:,}" for name, times in result.unseen.items() if name not in uncompared
    )
    if named:
        lines.append(
            f"{setting.counter}, {result.side}: without formula, 0 FLOP in both figures: {named}"
        )
    return lines


def _sentence(report: Report, results: Sequence[Comparison]) -> str:
    rows = [row for result in results for row in result.rows if row.counted is not None]
    wrong = sum(bool(row.difference) for row in rows)
    counters = ", ".join(dict.fromkeys(COUNTERS[row.setting.counter] for row in rows))
    if wrong:
        return f"{wrong} of {len(rows)} comparisons differ ({counters})."
    return (
        f"For {report.model.id}, closed form and count agree to the last FLOP in all "
        f"{len(rows)} comparisons ({counters})."
    )


def _versions() -> dict[str, str | None]:
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {}
    for name in ("torch", "transformers", "fvcore"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _versions_text() -> str:
    return "counted with " + ", ".join(f"{name} {text}" for name, text in _versions().items())
