"""`tokencost cost`: the full bill of one model and workload, with or without a schedule."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from ...costmodel import Bill, Report
from ...costmodel.explain import token_steps
from ...costmodel.flops import UNITS, Convention
from ...costmodel.numeric import whole
from ...costmodel.operators import COMPONENTS
from ...costmodel.parameters import layer_parameters, model_parameters
from ..document import Column, Document, Table
from ..export import deliver
from ..options import ConventionOption, Request, Sink, conventions, option, shares
from ..summary import facts, heading, notes
from ..units import percent, prefix, ranges, scaled

app = typer.Typer(add_completion=False)

Row = dict[str, Any]
LEFT: Literal["left"] = "left"


@app.command()
@shares(Request, Sink)
def cost(
    request: Request,
    sink: Sink,
    convention: ConventionOption = None,
    per_layer: Annotated[
        bool, option("Output", "--per-layer", "Add the cost and parameters of every layer.")
    ] = False,
    explain: Annotated[
        bool, option("Output", "--explain", "Show formula, substitution and result of every term.")
    ] = False,
    decode_step: Annotated[
        str,
        option(
            "Counting",
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
    bills = [row for name in chosen for row in _phases(report, name, step)]
    components = [row for label, name, sides in bills for row in _components(label, name, sides)]
    tables = [_parameter_table(report), *_bill_tables(report, components, chosen)]
    payload = {**heading(report), **_payload(report, components, step)}
    records = components
    lines = list(notes(report, chosen))
    if per_layer:
        layers = [row for name in chosen for row in _layers(report, name)]
        payload["layers"] = records = layers
        tables += [_layer_table(report, layers, name) for name in chosen]
    if explain:
        worked = [row for label, name, sides in bills for row in _terms(report, label, name, sides)]
        payload["terms"] = records = worked
        payload["token_steps"] = dict(token_steps(report))
        tables += [_step_table(report), *_term_tables(worked)]
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


def _phases(
    report: Report, name: Convention, step: int
) -> list[tuple[str, Convention, tuple[Bill, Bill]]]:
    """Return (phase, convention, (baseline, scheduled)) of every phase that is priced."""

    def sides(phase: Any) -> tuple[Bill, Bill]:
        dense = report.bill(name, scheduled=False, phase=phase)
        return dense, report.bill(name, scheduled=True, phase=phase)

    phases = [("prefill", name, sides("prefill"))]
    if name == "exact":
        forward = report.decode_forward(step, scheduled=False), report.decode_forward(step)
        phases.append(("decode forward", name, forward))
        if report.workload.new_tokens > 1:
            phases.append(("generation", name, sides("generation")))
    return phases


def _components(phase: str, name: Convention, sides: tuple[Bill, Bill]) -> list[Row]:
    """Return the rows of one phase: total, and components under exact."""
    dense, scheduled = sides
    amounts: list[tuple[str, int, int]] = [("total", dense.total, scheduled.total)]
    if name == "exact":
        before, after = dense.by_component(), scheduled.by_component()
        amounts += [
            (part, before.get(part, 0), after.get(part, 0))
            for part in COMPONENTS
            if phase != "decode forward" or part in before
        ]
    return [
        {
            "convention": name,
            "phase": phase,
            "component": component,
            "unit": UNITS[name],
            "baseline": baseline,
            "scheduled": amount,
            "ratio": amount / baseline if baseline else None,
        }
        for component, baseline, amount in amounts
    ]


def _layers(report: Report, name: Convention) -> list[Row]:
    """Return one row per layer of the prefill, and one for what lies outside the layers."""
    dense = report.bill(name, scheduled=False).by_layer()
    scheduled = report.bill(name).by_layer()
    parameters = layer_parameters(report.model)
    places: list[Any] = list(dense)
    if name == "exact":  # embedding and final norm: parameters, but no FLOPs
        places += [place for place in parameters if place not in dense]
    rows = []
    for component, layer in places:
        baseline, amount = dense.get((component, layer), 0), scheduled.get((component, layer), 0)
        rows.append(
            {
                "convention": name,
                "phase": "prefill",
                "component": component,
                "layer": layer,
                "baseline_tokens": _tokens(report, component, layer, scheduled=False),
                "scheduled_tokens": _tokens(report, component, layer, scheduled=True),
                "parameters": parameters[component, layer],
                "unit": UNITS[name],
                "baseline": baseline,
                "scheduled": amount,
                "ratio": amount / baseline if baseline else None,
            }
        )
    return rows


def _tokens(report: Report, component: str, layer: int | None, *, scheduled: bool) -> int | None:
    plan = report.scheduled if scheduled else report.dense
    if component == "connector":
        return plan.connector_tokens
    if component == "vision":
        return plan.encoder_positions if layer is None else plan.encoder_tokens
    return None if layer is None else plan.query[layer]


def _terms(report: Report, phase: str, name: Convention, sides: tuple[Bill, Bill]) -> list[Row]:
    """Return one row per term; without a schedule only the baseline's."""
    labelled = zip(("baseline", "scheduled"), sides, strict=True)
    return [
        {
            "convention": name,
            "phase": phase,
            "side": side,
            "component": entry.component,
            "layers": ranges(entry.layers),
            "term": entry.name,
            "formula": entry.formula,
            "substitution": entry.substitution,
            "result": entry.each,
            "times": len(entry.layers) or 1,
            "total": entry.amount,
            "unit": UNITS[name],
        }
        for side, bill in labelled
        if side == "baseline" or report.schedule is not None
        for entry in bill.entries
    ]


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


def _parameter_table(report: Report) -> Table:
    parameters = model_parameters(report.model)
    total = sum(parameters.values())
    rows = [(name, f"{count:,}", percent(count, total)) for name, count in parameters.items()]
    tied = " (head tied to the embedding)" if report.model.decoder.tied_embeddings else ""
    return Table(
        f"Parameters{tied}",
        (Column("component", LEFT), Column("parameters"), Column("share")),
        (*rows, ("total", f"{total:,}", percent(total, total))),
    )


def _bill_tables(report: Report, rows: list[Row], chosen: tuple[Convention, ...]) -> list[Table]:
    """Return one table for the published conventions and one for each phase of exact."""
    published = [row for row in rows if row["convention"] != "exact"]
    tables = [_bill_table(report, "Prefill, published formulas", published)] if published else []
    if "exact" in chosen:
        phases = dict.fromkeys(row["phase"] for row in rows if row["convention"] == "exact")
        for phase in phases:
            own = [row for row in rows if row["convention"] == "exact" and row["phase"] == phase]
            tables.append(_bill_table(report, f"{phase.capitalize()}, exact", own))
    return tables


def _bill_table(report: Report, title: str, rows: list[Row]) -> Table:
    letter, power = prefix([row["baseline"] for row in rows])
    whole_bill = rows[0]["baseline"]
    exact = rows[0]["convention"] == "exact"
    unit = rows[0]["unit"]
    columns = [Column("component" if exact else "convention", LEFT)]
    columns += [Column(f"baseline [{letter}MAC]")] if exact else []
    columns += [Column(f"baseline [{letter}{unit}]")]
    columns += [Column("share")] if exact else []
    columns += [Column(f"scheduled [{letter}{unit}]"), Column("ratio")] if report.schedule else []
    lines = []
    for row in [*rows[1:], rows[0]] if exact else rows:
        cells = [row["component"] if exact else row["convention"]]
        cells += [scaled(row["baseline"] // 2, power)] if exact else []
        cells += [scaled(row["baseline"], power)]
        cells += [percent(row["baseline"], whole_bill)] if exact else []
        if report.schedule:
            cells += [scaled(row["scheduled"], power), percent(row["scheduled"], row["baseline"])]
        lines.append(tuple(cells))
    return Table(title, tuple(columns), tuple(lines))


def _layer_table(report: Report, rows: list[Row], name: Convention) -> Table:
    own = [row for row in rows if row["convention"] == name]
    letter, power = prefix([row["baseline"] for row in own])
    unit = f"{letter}{UNITS[name]}"
    columns = [Column("component", LEFT), Column("layer"), Column("parameters"), Column("tokens")]
    columns += [Column(f"baseline [{unit}]")]
    if report.schedule:
        columns += [Column("tokens left"), Column(f"scheduled [{unit}]"), Column("ratio")]
    lines = []
    for row in own:
        cells = [row["component"], "—" if row["layer"] is None else str(row["layer"])]
        cells += [f"{row['parameters']:,}", _or_dash(row["baseline_tokens"])]
        cells += [scaled(row["baseline"], power)]
        if report.schedule:
            cells += [_or_dash(row["scheduled_tokens"]), scaled(row["scheduled"], power)]
            cells += [percent(row["scheduled"], row["baseline"])]
        lines.append(tuple(cells))
    return Table(f"Prefill per layer, {name}", tuple(columns), tuple(lines))


def _or_dash(value: int | None) -> str:
    return "—" if value is None else str(value)


def _step_table(report: Report) -> Table:
    columns = (Column("count", LEFT), Column("arithmetic", LEFT))
    return Table("Tokens", columns, token_steps(report))


def _term_tables(rows: list[Row]) -> list[Table]:
    tables = []
    keys = dict.fromkeys((row["convention"], row["phase"], row["side"]) for row in rows)
    for key in keys:
        own = [row for row in rows if (row["convention"], row["phase"], row["side"]) == key]
        unit, total = own[0]["unit"], sum(row["total"] for row in own)
        lines = [
            (
                f"{row['component']} {row['layers']}".strip(),
                row["term"],
                f"{row['formula']} = {row['substitution']}",
                f"{row['result']:,}",
                f"× {row['times']}",
                f"{row['total']:,}",
            )
            for row in own
        ]
        lines.append(("total", "", "", "", "", f"{total:,}"))
        columns = (
            Column("layers", LEFT),
            Column("term", LEFT),
            Column("formula = substitution", LEFT),
            Column(f"one layer [{unit}]"),
            Column("layers"),
            Column(f"sum [{unit}]"),
        )
        tables.append(Table(f"{key[1].capitalize()}, {key[0]}, {key[2]}", columns, tuple(lines)))
    return tables
