"""`tokencost cost`: the full bill of one model and workload, with or without a schedule."""

from __future__ import annotations

from typing import Annotated

import typer

from ...costmodel import Report
from ...costmodel.explain import token_steps
from ...costmodel.flops import Convention
from ...costmodel.numeric import whole
from ...costmodel.parameters import model_parameters
from ..cost_rows import Row, component_rows, layer_rows, phase_bills, term_rows
from ..cost_tables import bill_tables, layer_table, parameter_table, step_table, term_tables
from ..document import Document
from ..export import deliver
from ..options import COUNTING, OUTPUT, ConventionOption, Sink, conventions, option, shares
from ..request import Request
from ..summary import facts, heading, notes

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
        str,
        option(
            COUNTING,
            "--decode-step",
            "Decode forward to price: its layers read the kept tokens and I more.",
            "I",
        ),
    ] = "1",
) -> None:
    """Print the full bill: components, layers, prefill, decode forward, generation.

    Example: tokencost cost --model qwen2.5-vl-7b --image-size 1092x1092 --new-tokens 128
    """
    chosen = conventions(convention)
    step = whole(decode_step, "--decode-step", minimum=1)
    deliver(sink, lambda: document(request.report(), chosen, step, per_layer, explain))


def document(
    report: Report, chosen: tuple[Convention, ...], step: int, per_layer: bool, explain: bool
) -> Document:
    """Return the answer in all its forms; CSV holds its most detailed table."""
    bills = [row for name in chosen for row in phase_bills(report, name, step)]
    components = [row for label, name, sides in bills for row in component_rows(label, name, sides)]
    tables = [parameter_table(report), *bill_tables(report, components, chosen)]
    payload = {**heading(report), **_payload(report, components, step)}
    records = components
    lines = list(notes(report, chosen))
    if per_layer:
        layers = [row for name in chosen for row in layer_rows(report, name)]
        payload["layers"] = records = layers
        tables += [layer_table(report, layers, name) for name in chosen]
    if explain:
        worked = [
            row for label, name, sides in bills for row in term_rows(report, label, name, sides)
        ]
        payload["terms"] = records = worked
        payload["token_steps"] = dict(token_steps(report))
        tables += [step_table(report), *term_tables(worked)]
    return Document(
        title=f"{report.model.id}: cost of one request"
        + (f", batch {report.workload.batch}" if report.workload.batch > 1 else ""),
        facts=facts(report),
        tables=tuple(tables),
        notes=tuple(lines),
        sentence="",
        payload=payload,
        records=tuple({"model": report.model.id, **row} for row in records),
    )


def _payload(report: Report, components: list[Row], step: int) -> Row:
    parameters = model_parameters(report.model)
    priced: Row = {}
    for row in components:
        convention = priced.setdefault(row["convention"], {"unit": row["unit"]})
        phase = convention.setdefault(row["phase"].replace(" ", "_"), {})
        amounts = {key: row[key] for key in ("baseline", "scheduled", "ratio")}
        if row["component"] == "total":
            phase.update(amounts)
        else:
            phase.setdefault("components", {})[row["component"]] = amounts
    if "exact" in priced:
        priced["exact"]["decode_forward"]["step"] = step
        priced["exact"]["decode_forward"]["keys_per_layer"] = [
            kept + step for kept in report.scheduled.kv_read
        ]
        priced["exact"]["unused_encoder_layers"] = report.unused_encoder_flops()
        priced["exact"]["floor"] = report.floor()
    return {
        "parameters": {**parameters, "total": sum(parameters.values())},
        "conventions": priced,
    }
