"""The rows of `tokencost cost` as tables for people."""

from __future__ import annotations

import re
from typing import Literal

from ..costmodel import Report
from ..costmodel.flops import UNITS, Convention
from ..costmodel.parameters import model_parameters
from .document import Column, Table
from .rows import Row
from .units import percent, prefix, scaled
from .working import token_steps

LEFT: Literal["left"] = "left"


def parameter_table(report: Report) -> Table:
    """Return the parameters by component."""
    parameters = model_parameters(report.model)
    total = sum(parameters.values())
    rows = [(name, f"{count:,}", percent(count, total)) for name, count in parameters.items()]
    decoder, tied = report.model.decoder, ""
    if decoder.tie_word_embeddings:
        stored = ", and stored all the same" if decoder.head_stored else ""
        tied = f" (head tied to the embedding{stored})"
    return Table(
        f"Parameters{tied}",
        (Column("component", LEFT), Column("parameters"), Column("share")),
        (*rows, ("total", f"{total:,}", percent(total, total))),
    )


def bill_tables(report: Report, rows: list[Row], chosen: tuple[Convention, ...]) -> list[Table]:
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
    columns += [Column(f"baseline\n[{letter}MAC]")] if exact else []
    columns += [Column(f"baseline\n[{letter}{unit}]")]
    columns += [Column("of\nbaseline")] if exact else []
    columns += [Column(f"scheduled\n[{letter}{unit}]"), Column("ratio")] if report.schedule else []
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


def layer_table(report: Report, rows: list[Row], name: Convention) -> Table:
    """Return the prefill of one convention, a row per layer."""
    own = [row for row in rows if row["convention"] == name]
    letter, power = prefix([row["baseline"] for row in own])
    unit = f"{letter}{UNITS[name]}"
    columns = [Column("component", LEFT), Column("layer"), Column("parameters"), Column("tokens")]
    columns += [Column(f"baseline\n[{unit}]")]
    if report.schedule:
        columns += [Column("tokens\nleft"), Column(f"scheduled\n[{unit}]"), Column("ratio")]
    lines = []
    for row in own:
        layer = row["layer"]
        cells = [_part(report, row["component"], layer), "—" if layer is None else str(layer)]
        cells += [f"{row['parameters']:,}", _or_dash(row["baseline_tokens"])]
        cells += [scaled(row["baseline"], power)]
        if report.schedule:
            cells += [_or_dash(row["scheduled_tokens"]), scaled(row["scheduled"], power)]
            cells += [percent(row["scheduled"], row["baseline"])]
        lines.append(tuple(cells))
    return Table(f"Prefill per layer, {name}", tuple(columns), tuple(lines))


def _part(report: Report, component: str, layer: int | None) -> str:
    """Return a component, the LLM's own encoder told from its decoder."""
    if component == "decoder" and layer is not None:
        return "LLM encoder" if layer < report.model.decoder.encoder_layers else component
    return component


def _or_dash(value: int | None) -> str:
    return "—" if value is None else str(value)


def step_table(report: Report) -> Table:
    """Return the arithmetic behind the token counts."""
    columns = (Column("count", LEFT), Column("arithmetic", LEFT))
    return Table("Tokens", columns, token_steps(report))


def term_tables(report: Report, rows: list[Row]) -> list[Table]:
    """Return one table of worked terms per convention, phase and side."""
    tables = []
    keys = dict.fromkeys((row["convention"], row["phase"], row["side"]) for row in rows)
    for key in keys:
        own = [row for row in rows if (row["convention"], row["phase"], row["side"]) == key]
        unit, total = own[0]["unit"], sum(row["total"] for row in own)
        lines = [
            (
                _layers(report, row),
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


def _layers(report: Report, row: Row) -> str:
    """Return a term's component and layers, which lie in one stack."""
    first = re.match(r"\d+", row["layers"])
    part = _part(report, row["component"], int(first.group()) if first else None)
    return f"{part} {row['layers']}".strip()
