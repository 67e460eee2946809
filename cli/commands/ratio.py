"""`tokencost ratio`: a schedule beside the dense model, per convention."""

import typer

from ...costmodel import Report
from ...costmodel.flops import UNITS, Convention
from ...costmodel.payload import ratio_payload, ratio_rows
from ...costmodel.rows import Row, priced
from ...costmodel.units import percent, prefix, scaled
from ..document import Column, Document, Table
from ..export import deliver
from ..options import ConventionOption, Sink, conventions, shares
from ..request import Request
from ..selection_words import selection_scope
from ..summary import counted, facts, notes, provenance, schedule_text

app = typer.Typer(add_completion=False)


@app.command()
@shares(Request, Sink)
def ratio(request: Request, sink: Sink, convention: ConventionOption = None) -> None:
    """Compare a reduction schedule with the dense model, per convention.

    Prices the prefill; with --new-tokens, exact adds the decode forwards.

    Example: tokencost ratio --model llava-1.5-7b --prune-layer 2 --keep 0.5
    """
    chosen = conventions(convention)
    request.refuse_unused(chosen)
    deliver(sink, lambda: document(request.report(), chosen), request.schedule, request.config)


def document(report: Report, chosen: tuple[Convention, ...]) -> Document:
    """Return the answer in all its forms."""
    rows = ratio_rows(report, chosen)
    records = [{**provenance(report), **row} for row in rows]
    with_figures = priced(report, chosen)
    generated = report.workload.new_tokens > 1 and "exact" in chosen
    tables = [_table(report, rows)]
    remarks = list(notes(report, chosen))
    if generated:
        from ..decode_rows import decode_notes, generation_rows
        from ..decode_tables import decode_tables  # most ratios are of prefills alone

        tables += decode_tables(report)
        records += [{**provenance(report), **row} for row in generation_rows(report)]
        remarks += decode_notes(report)
    return Document(
        title=f"{report.model.id}: {'prefill and generation' if generated else 'prefill'} cost, "
        "scheduled against dense",
        facts=facts(report, chosen),
        tables=tuple(tables),
        notes=tuple(remarks),
        sentence=_sentence(report, with_figures) if with_figures else "",
        payload=ratio_payload(report, rows),
        records=tuple(records),
    )


def _table(report: Report, records: list[Row]) -> Table:
    name, power = prefix([record["baseline"] for record in records])
    generated = report.workload.new_tokens > 1
    rows = [
        (
            record["convention"] if record["component"] == "total" else f"  {record['component']}",
            *([record["phase"]] if generated else []),
            name + record["unit"],
            scaled(record["baseline"], power),
            scaled(record["scheduled"], power),
            percent(record["scheduled"], record["baseline"]),
            percent(_saved(record), record["baseline"]),
        )
        for record in records
    ]
    words = ("convention", "phase", "unit") if generated else ("convention", "unit")
    columns = [Column(word, "left") for word in words]
    columns += [Column(word) for word in ("baseline", "scheduled", "ratio", "saved")]
    return Table("", tuple(columns), tuple(rows))


def _saved(record: Row) -> int | None:
    baseline, scheduled = record["baseline"], record["scheduled"]
    return None if baseline is None else baseline - scheduled


def _sentence(report: Report, chosen: tuple[Convention, ...]) -> str:
    """Return one sentence ready for a paper's methods section."""
    plan = report.dense
    given = ""
    if report.workload.visual_tokens is not None:
        given = f" (encoder and connector as for {plan.visual_input.visual_tokens} visual tokens)"
    request = (
        f"For {report.model.id} with {plan.dense_visual_tokens} visual, {plan.structural_tokens} "
        f"structural and {plan.text_tokens} text tokens at batch {plan.batch}{given}, "
    )
    costs = [_cost_clause(report, name) for name in chosen]
    if report.schedule is None:
        return f"{request}{'; '.join(costs)}."
    schedule = f"the schedule ({schedule_text(report)}) changes the cost of "
    return f"{request}{schedule}{'; of '.join(costs)}."


def _cost_clause(report: Report, name: Convention) -> str:
    """Return phase, amounts and scope of one convention."""
    dense, amount = report.total(name, scheduled=False), report.total(name)
    letter, power = prefix([dense])
    unit, new = letter + UNITS[name], report.workload.new_tokens
    decoded = (
        f" and {new - 1} decode forward{'s' * (new > 2)}" if new > 1 and name == "exact" else ""
    )
    selection = f"; {selection_scope(report)}" if report.schedule else ""
    scope = {
        "survey": "counting 4nd² + 2n²d + 2ndm MACs per LLM layer and nothing else",
        "gated": "counting 4nd² + 2n²d + 3ndm MACs per LLM layer and nothing else",
        "exact": "counting the exact FLOPs (1 MAC = 2 FLOP) of vision encoder, connector, LLM and "
        f"head ({counted(report)}{selection})",
    }[name]
    if report.schedule is None:
        return f"the prefill{decoded} costs {scaled(dense, power)} {unit}, {scope}"
    change = f"from {scaled(dense, power)} to {scaled(amount, power)} {unit}"
    return f"the prefill{decoded} {change}, {percent(amount, dense)} of dense, {scope}"
