"""What `validate` prints: closed form, count and difference, and what a counter cannot see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..costmodel import Report
from .document import Column, Document, Table
from .method_notes import method_notes
from .schedule_words import schedule_text
from .selection_words import selection_text
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
        facts=(*facts(report, ("exact",)), ("counted", _counted(report, results))),
        tables=tuple(_table(result) for result in results),
        notes=(*_run_notes(report), *_counter_notes(results), _versions_text()),
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
        "way": result.way and {"number": result.way[0], "probability": str(result.way[1])},
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
    where = (
        f"{_side(result)}: {COUNTERS[setting.counter]}, {setting.scale} model on {setting.device}"
    )
    return Table(where, columns, tuple(rows))


def _side(result: Comparison) -> str:
    """Return which side of the report a run is, and which way of a mixture."""
    if result.way is None:
        return result.side
    number, probability = result.way
    return f"{result.side}, way {number} of probability {probability}"


def _notes(result: Comparison) -> list[str]:
    """Return what the counter cannot see, by name."""
    setting = result.setting
    lines = []
    blind = [row for row in result.rows if row.counted is None]
    for row in blind:
        lines.append(
            f"{setting.counter}, {_side(result)}: {_missing(row)}, so "
            f"{row.analytic:,} FLOP of {row.component} ({row.kind}) stay uncompared"
        )
    if setting.counter == "fvcore":
        lines.append(
            f"fvcore, {_side(result)}: tracing drops layers whose output nothing uses; the closed "
            "form leaves them out too (contributing encoder layers)"
        )
    uncompared = {name for row in blind for name in row.unseen}
    named = ", ".join(
        f"{name} ×{times:,}" for name, times in result.unseen.items() if name not in uncompared
    )
    if named:
        lines.append(
            f"{setting.counter}, {_side(result)}: without formula, 0 FLOP in both figures: {named}"
        )
    return lines


def _missing(row: Row) -> str:
    """Return why a row has no count."""
    if row.unrun:
        missing = ", ".join(row.unseen)
        spaced = ", and evenly spaced tokens stand for its choice"
        return f"{missing} did not run{spaced * missing.startswith('the reducer')}"
    return f"no formula for {', '.join(row.unseen)}"


def _run_notes(report: Report) -> list[str]:
    """Return where the schedule comes from and what chooses its tokens."""
    chooses = []
    if report.schedule is not None:
        chooses.append(f"selection: {selection_text(report, ('exact',))}")
    return [*chooses, *method_notes(report.schedule)]


def _counter_notes(results: Sequence[Comparison]) -> list[str]:
    """Return what counters see besides products, and what each of them cannot see."""
    lines = []
    counters = {result.setting.counter for result in results}
    if "fvcore" in counters:
        lines.append("fvcore has formulas for norms as well, of 1 to 5 a value: left out here")
    if "profiler" in counters:
        lines.append(
            "torch.profiler has formulas for elementwise mul and add as well: left out here"
        )
    return [*lines, *(note for result in results for note in _notes(result))]


def _counted(report: Report, results: Sequence[Comparison]) -> str:
    forwards = max((result.decode_forwards for result in results), default=1)
    return f"the prefill, and {forwards} decode forward{'s' * (forwards > 1)} behind it"


def _sentence(report: Report, results: Sequence[Comparison]) -> str:
    rows = [row for result in results for row in result.rows if row.counted is not None]
    blind = [row for result in results for row in result.rows if row.counted is None]
    wrong = sum(bool(row.difference) for row in rows)
    models = dict.fromkeys(
        report.model.id if one.setting.scale == "full" else f"{report.model.id} at small widths"
        for one in results
    )
    counters = ", ".join(dict.fromkeys(COUNTERS[row.setting.counter] for row in rows))
    scope = f"{' and '.join(models)}, batch {report.workload.batch}"
    if report.schedule is not None:
        scope += f", dense and scheduled ({schedule_text(report)})"
    if wrong:
        verdict = f"closed form and count differ in {wrong} of {len(rows)} comparisons"
    else:
        verdict = f"closed form and count agree to the last FLOP in all {len(rows)} comparisons"
    unseen = ", ".join(dict.fromkeys(name for row in blind for name in row.unseen))
    rest = f"; {len(blind)} could not be compared ({unseen})" if blind else ""
    return f"For {scope}, {verdict} ({counters}){rest}."


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
