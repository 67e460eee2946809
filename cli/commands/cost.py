"""`tokencost cost`: the full bill of one model and workload, with or without a schedule."""

from __future__ import annotations

from typing import Annotated

import typer

from ...costmodel import InvalidInput, Report, kv_cache_bytes
from ...costmodel.billing import bill_payload, phase_bills
from ...costmodel.flops import Convention
from ...costmodel.memory import cache_bits
from ...costmodel.numeric import whole
from ..cost_rows import layer_rows, term_rows
from ..cost_tables import bill_tables, layer_table, parameter_table, step_table, term_tables
from ..decode_rows import (
    decode_notes,
    forward_bytes,
    memory_rows,
)
from ..decode_tables import decode_tables
from ..document import Document
from ..export import deliver
from ..options import COUNTING, OUTPUT, ConventionOption, Sink, Text, conventions, option, shares
from ..request import Request
from ..rows import Row, component_rows, null_row, priced
from ..summary import facts, notes, provenance
from ..working import token_steps

app = typer.Typer(add_completion=False)


@app.command()
@shares(Request, Sink)
def cost(
    request: Request,
    sink: Sink,
    convention: ConventionOption = None,
    per_layer: Annotated[
        bool, option(OUTPUT, "--per-layer", "Add the cost and parameters of every layer.")
    ] = False,
    explain: Annotated[
        bool, option(OUTPUT, "--explain", "Show formula, substitution and result of every term.")
    ] = False,
    decode_step: Annotated[
        Text,
        option(
            COUNTING,
            "--decode-step",
            "Decode forward to price; it reads the kept tokens and so many more (default: 1).",
            "INT",
        ),
    ] = None,
) -> None:
    """Print the full bill: components, layers, prefill, decode forward, generation.

    Example: tokencost cost --model qwen2.5-vl-7b --image-size 1092x1092 --new-tokens 128
    """
    chosen = conventions(convention)
    request.refuse_unused(chosen)
    if decode_step is not None and "exact" not in chosen:
        hint = "leave it out, or price exact too"
        raise InvalidInput("--decode-step", decode_step, "needs the exact convention", hint)
    step = whole(1 if decode_step is None else decode_step, "--decode-step", minimum=1)
    if per_layer and explain and sink.chosen()[0] == "csv":
        hint = "choose one of them, or --format json, which holds both"
        raise InvalidInput("--per-layer", None, "and --explain do not fit into one CSV table", hint)
    deliver(
        sink,
        lambda: document(request.report(), chosen, step, per_layer, explain),
        request.schedule,
        request.config,
    )


def document(
    report: Report, chosen: tuple[Convention, ...], step: int, per_layer: bool, explain: bool
) -> Document:
    """Return the answer in all its forms; CSV holds the layers or terms when they are asked for."""
    meaningless = [name for name in chosen if report.obstacle(name)]
    with_figures = priced(report, chosen)
    bills = [row for name in with_figures for row in phase_bills(report, name, step)]
    components = [null_row(name) for name in meaningless]
    components += [
        row for bill in bills for row in component_rows(bill.phase, bill.convention, bill.sides)
    ]
    tables = [parameter_table(report), *bill_tables(report, components, chosen)]
    payload = bill_payload(report, components, step)
    records, remarks = components, list(notes(report, chosen))
    if "exact" in chosen:
        tables += decode_tables(report)
        remarks += decode_notes(report)
        records = components + _memory(report, step)
    if per_layer:
        layers = [row for name in with_figures for row in layer_rows(report, name)]
        payload["layers"] = records = layers
        tables += [layer_table(report, layers, name) for name in with_figures]
    if explain:
        worked = [row for bill in bills for row in term_rows(report, bill)]
        payload["terms"] = records = worked
        payload["token_steps"] = dict(token_steps(report))
        tables += [step_table(report), *term_tables(report, worked)]
    return Document(
        title=f"{report.model.id}: cost of "
        + (f"{report.workload.batch} requests" if report.workload.batch > 1 else "one request"),
        facts=(*facts(report, chosen), ("KV cache", _kv_cache(report))),
        tables=tuple(tables),
        notes=tuple(remarks),
        sentence="",
        payload=payload,
        records=tuple({**provenance(report), **row} for row in records),
    )


def _memory(report: Report, step: int) -> list[Row]:
    """Return the rows of KV bytes, for the phases that the bill has."""
    phases = {f"decode forward {step}": forward_bytes(report, step, step)}
    if report.workload.new_tokens > 1:
        phases["generation"] = forward_bytes(report, 1, report.workload.new_tokens - 1)
    return memory_rows(report, phases)


def _kv_cache(report: Report) -> str:
    dense, scheduled = (
        kv_cache_bytes(report.model, plan, None, report.counting.execution)
        for plan in (report.dense, report.scheduled)
    )
    bits = cache_bits(report.scheduled)
    if bits != 16:
        kept = f"{scheduled:,} scheduled at {bits} bit"
        return f"{dense:,} bytes at 16 bit, {kept}, after the prefill"
    kept = f", {scheduled:,} scheduled" if report.schedule else ""
    return f"{dense:,} bytes{kept} after the prefill, at 16 bit"
