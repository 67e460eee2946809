"""`tokencost ratio`: a schedule beside the dense model, per convention."""

from __future__ import annotations

from typing import Any

import typer

from ...costmodel import Report
from ...costmodel.flops import UNITS, Convention
from ...costmodel.operators import COMPONENTS
from ..document import Column, Document, Table
from ..export import deliver
from ..options import ConventionOption, Sink, conventions, shares
from ..request import Request
from ..summary import counted, facts, heading, notes, schedule_text
from ..units import percent, prefix, scaled

app = typer.Typer(add_completion=False)


@app.command()
@shares(Request, Sink)
def ratio(request: Request, sink: Sink, convention: ConventionOption = None) -> None:
    """Compare a reduction schedule with the dense model, per convention.

    Prices the prefill; with --new-tokens, exact adds the decode forwards.

    Example: tokencost ratio --model llava-1.5-7b --prune-layer 2 --keep 0.5
    """
    chosen = conventions(convention)
    deliver(sink, lambda: document(request.report(), chosen))


def document(report: Report, chosen: tuple[Convention, ...]) -> Document:
    """Return the answer in all its forms."""
    records = [record for name in chosen for record in _records(report, name)]
    generated = report.workload.new_tokens > 1
    return Document(
        title=f"{report.model.id}: {'generation' if generated else 'prefill'} cost, "
        "scheduled against dense",
        facts=facts(report),
        tables=(_table(report, records),),
        notes=notes(report, chosen),
        sentence=_sentence(report, chosen),
        payload={**heading(report), **_payload(report, records)},
        records=tuple(records),
    )


def _records(report: Report, name: Convention) -> list[dict[str, Any]]:
    """Return one row for the total and, under exact, one per component."""
    phase = report.priced_phase(name)
    dense = report.bill(name, scheduled=False, phase=phase)
    scheduled = report.bill(name, scheduled=True, phase=phase)
    rows = [("total", dense.total, scheduled.total)]
    if name == "exact":
        before, after = dense.by_component(), scheduled.by_component()
        rows += [(part, before.get(part, 0), after.get(part, 0)) for part in COMPONENTS]
    return [
        {
            "model": report.model.id,
            "convention": name,
            "component": component,
            "unit": UNITS[name],
            "baseline": baseline,
            "scheduled": amount,
            "ratio": amount / baseline if baseline else None,
        }
        for component, baseline, amount in rows
    ]


def _table(report: Report, records: list[dict[str, Any]]) -> Table:
    name, power = prefix([record["baseline"] for record in records])
    rows = [
        (
            record["convention"] if record["component"] == "total" else f"  {record['component']}",
            name + record["unit"],
            scaled(record["baseline"], power),
            scaled(record["scheduled"], power),
            percent(record["scheduled"], record["baseline"]),
            percent(record["baseline"] - record["scheduled"], record["baseline"]),
        )
        for record in records
    ]
    left, right = Column("convention", "left"), Column("unit", "left")
    figures = (Column("baseline"), Column("scheduled"), Column("ratio"), Column("saved"))
    return Table("", (left, right, *figures), tuple(rows))


def _payload(report: Report, records: list[dict[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {"conventions": {}}
    for record in records:
        figures = {"baseline": record["baseline"], "scheduled": record["scheduled"]}
        if record["component"] == "total":
            total = {"unit": record["unit"], **figures, "ratio": report.ratio(record["convention"])}
            result["conventions"][record["convention"]] = total
        else:
            exact = result["conventions"]["exact"]
            exact.setdefault("components", {})[record["component"]] = figures
    if "exact" in result["conventions"]:
        result["conventions"]["exact"]["unused_encoder_layers"] = report.unused_encoder_flops()
        floor, dense = report.floor(), report.total("exact", scheduled=False)
        result["floor"] = {
            "convention": "exact",
            "unit": "FLOP",
            "amount": floor,
            "ratio": floor / dense,
            "meaning": "encoder, connector, head and LLM over text and structural tokens alone",
        }
    return result


def _sentence(report: Report, chosen: tuple[Convention, ...]) -> str:
    """Return one sentence ready for a paper's methods section."""
    plan = report.dense
    parts = []
    for name in chosen:
        dense, amount = report.total(name, scheduled=False), report.total(name)
        letter, power = prefix([dense])
        scope = {
            "survey": "MACs by 4nd² + 2n²d + 2ndm over the LLM's layers alone",
            "gated": "MACs by 4nd² + 2n²d + 3ndm over the LLM's layers alone",
            "exact": f"exact FLOPs (1 MAC = 2 FLOPs) including vision encoder, connector, LLM and "
            f"head ({counted(report)}; token selection {'not ' if report.schedule else ''}counted)",
        }[name]
        parts.append(
            f"{scaled(amount, power)} {letter}{UNITS[name]} instead of {scaled(dense, power)} "
            f"{letter}{UNITS[name]} ({percent(amount, dense)}), counted as {scope}"
        )
    task = "prefill" if report.workload.new_tokens == 1 else (
        f"prefill and {report.workload.new_tokens - 1} decode forwards under the exact count"
    )  # fmt: skip
    return (
        f"For {report.model.id} with {plan.dense_visual_tokens} visual, {plan.structural_tokens} "
        f"structural and {plan.text_tokens} text tokens at batch {plan.batch} (schedule: "
        f"{schedule_text(report)}), the {task} costs {'; '.join(parts)}."
    )
