"""The answer of `tokencost train` in all its forms."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from ..costmodel import Report
from ..costmodel.flops import MEANINGS, UNITS, Convention
from ..costmodel.primitives.training import Training
from ..costmodel.schedule import ratio_text
from ..costmodel.training import PASSES, TrainingStep
from .document import Column, Document, Table
from .method_notes import method_notes
from .model_notes import model_notes
from .rows import Row, null_row, priced
from .schedule_words import schedule_text
from .selection_words import selection_text
from .summary import facts, heading, provenance
from .training_rows import Hours, Priced, hour_figures, hour_rows, priced_step, step_rows, steps_of
from .units import percent, prefix, scaled

LEFT: Literal["left"] = "left"


def document(
    report: Report, training: Training, hours: Hours, chosen: tuple[Convention, ...]
) -> Document:
    """Return the answer."""
    steps = steps_of(report, training)
    figures = [priced_step(report, name, training, steps) for name in priced(report, chosen)]
    rows = step_rows(figures, steps)
    meaningless = [
        {**null_row(name), "phase": "training step"} for name in chosen if report.obstacle(name)
    ]
    hourly = hour_rows(figures, training, hours)
    tables = [_step_table(report, rows + meaningless)]
    if "exact" in chosen:
        tables.append(_pass_table(report, steps))
    if report.schedule is not None:
        tables.append(_hour_table(figures, training, hours))
    return Document(
        title=f"{report.model.id}: one training step"
        + (", scheduled against dense" if report.schedule else ""),
        facts=_facts(report, training, chosen),
        tables=tuple(tables),
        notes=_notes(report, steps, training, chosen),
        sentence=_sentence(report, figures, training),
        payload={
            **heading(report),
            "training": _stated(training, hours),
            "conventions": _payload(report, chosen, figures, steps, training, hours),
        },
        records=tuple({**provenance(report), **row} for row in rows + meaningless + hourly),
    )


def _facts(
    report: Report, training: Training, chosen: tuple[Convention, ...]
) -> tuple[tuple[str, str], ...]:
    batch = report.workload.batch
    replaced = {"request": f"batch {batch}: one forward and backward pass over it"}
    lines = [(label, replaced.get(label, text)) for label, text in facts(report, chosen)]
    return (*lines, ("training", _training_text(training)))


def _training_text(training: Training) -> str:
    frozen = "encoder frozen" if training.frozen_encoder else "encoder"
    joined = "; " if training.frozen_encoder else ", "
    again = "the LLM's layers are recomputed" if training.recompute else "nothing is recomputed"
    share = ""
    if training.fixed_share is not None:
        share = f"; {ratio_text(training.fixed_share)} of the dense time is fixed"
    return f"{frozen}{joined}connector, LLM and head trained; {again}{share}"


def _step_table(report: Report, rows: list[Row]) -> Table:
    own = [row for row in rows if row["phase"] == "training step"]
    letter, power = prefix([row["baseline"] for row in own])
    columns = [Column("convention", LEFT), Column("unit", LEFT), Column("baseline")]
    if report.schedule:
        columns += [Column("scheduled"), Column("ratio"), Column("saved")]
    lines = []
    for row in own:
        whole = row["component"] == "total"
        cells = [row["convention"] if whole else f"  {row['component']}", letter + row["unit"]]
        cells.append(scaled(row["baseline"], power))
        if report.schedule:
            cells += [scaled(row["scheduled"], power), percent(row["scheduled"], row["baseline"])]
            known = row["baseline"] is not None
            cells.append(
                percent(row["baseline"] - row["scheduled"], row["baseline"]) if known else "—"
            )
        lines.append(tuple(cells))
    return Table("Training step", tuple(columns), tuple(lines))


def _pass_table(report: Report, steps: tuple[TrainingStep, TrainingStep]) -> Table:
    before, after = (step.passes for step in steps)
    letter, power = prefix([bill.total for bill in before.values()])
    columns = [Column("computed for", LEFT), Column(f"baseline\n[{letter}FLOP]")]
    columns += [Column("of\nstep")]
    if report.schedule:
        columns += [Column(f"scheduled\n[{letter}FLOP]"), Column("ratio")]
    lines = []
    for name in PASSES:
        dense, scheduled = before[name].total, after[name].total
        cells = [name.replace("_", " "), scaled(dense, power), percent(dense, steps[0].total)]
        if report.schedule:
            cells += [scaled(scheduled, power), percent(scheduled, dense)]
        lines.append(tuple(cells))
    return Table("Training step by purpose, exact", tuple(columns), tuple(lines))


def _hour_table(figures: list[Priced], training: Training, hours: Hours) -> Table:
    columns = [Column("convention", LEFT), Column("step\nratio"), Column("GPU-hour\nratio")]
    if hours.dense is not None:
        columns += [Column("dense\n[hours]"), Column("scheduled\n[hours]")]
    if hours.scheduled is not None:
        columns.append(Column("fixed share that\nexplains them"))
    lines = []
    for one in figures:
        own = hour_figures(one, training, hours)
        cells = [one.convention, _decimal(own["step_ratio"]), _decimal(own["gpu_hour_ratio"])]
        if hours.dense is not None:
            cells += [f"{float(hours.dense):,.1f}", _decimal(own["gpu_hours"], 1)]
        if hours.scheduled is not None:
            cells.append(_decimal(own["explaining_fixed_share"]))
        lines.append(tuple(cells))
    published = "" if hours.scheduled is None else f", {float(hours.scheduled):,.1f} published"
    return Table(f"GPU hours{published}", tuple(columns), tuple(lines))


def _decimal(value: float | None, digits: int = 4) -> str:
    return "—" if value is None else f"{value:,.{digits}f}"


def _notes(
    report: Report,
    steps: tuple[TrainingStep, TrainingStep],
    training: Training,
    chosen: tuple[Convention, ...],
) -> tuple[str, ...]:
    lines = []
    passes = "four" if training.recompute else "three"
    for name in chosen:
        obstacle = report.obstacle(name)
        if obstacle:
            lines.append(f"{name} [{UNITS[name]}]: no figure for this model: {obstacle}")
        elif name == "exact":
            lines.append(
                "exact [FLOP]: every matrix product, convolution and attention product of the "
                "forward and backward pass, 2 FLOP per MAC; optimizer and norms count 0"
            )
        else:
            lines.append(f"{name} [{UNITS[name]}]: {passes} times {MEANINGS[name]}")
    if "exact" in chosen:
        lines += model_notes(report)
    lines += [f"upper bound: {bound}" for bound in dict.fromkeys(steps[0].bounds + steps[1].bounds)]
    if report.schedule is not None:
        lines.append(f"selection: {selection_text(report, chosen)}")
        if training.fixed_share is None:
            lines.append("GPU hours need a fixed share s of the dense time: s + (1 − s) · ratio")
        else:
            share = ratio_text(training.fixed_share)
            lines.append(f"GPU-hour ratio: s + (1 − s) · ratio with the stated s = {share}")
    lines += method_notes(report.schedule)
    lines += report.model.uncertainty
    return tuple(lines)


def _sentence(report: Report, figures: list[Priced], training: Training) -> str:
    """Return one sentence ready for a paper."""
    exact = [one for one in figures if one.convention == "exact"]
    if not exact:
        return ""
    (dense, scheduled), plan = exact[0].amounts, report.dense
    letter, power = prefix([dense])
    request = (
        f"For {report.model.id} with {plan.dense_visual_tokens} visual, {plan.structural_tokens} "
        f"structural and {plan.text_tokens} text tokens at batch {plan.batch}, "
    )
    scope = f"({_training_text(training)}; 1 MAC = 2 FLOP)"
    if report.schedule is None:
        return f"{request}a training step costs {scaled(dense, power)} {letter}FLOP {scope}."
    return (
        f"{request}the schedule ({schedule_text(report)}) changes the cost of a training step from "
        f"{scaled(dense, power)} to {scaled(scheduled, power)} {letter}FLOP, "
        f"{percent(scheduled, dense)} of dense {scope}."
    )


def _stated(training: Training, hours: Hours) -> Row:
    def number(value: Fraction | None) -> float | None:
        return None if value is None else float(value)

    return {
        "recompute": training.recompute,
        "frozen_encoder": training.frozen_encoder,
        "fixed_share": number(training.fixed_share),
        "dense_hours": number(hours.dense),
        "scheduled_hours": number(hours.scheduled),
    }


def _payload(
    report: Report,
    chosen: tuple[Convention, ...],
    figures: list[Priced],
    steps: tuple[TrainingStep, TrainingStep],
    training: Training,
    hours: Hours,
) -> Row:
    known = {one.convention: one for one in figures}
    answer: Row = {}
    for name in chosen:
        unit = {"unit": UNITS[name]}
        if name not in known:
            nothing = dict.fromkeys(("baseline", "scheduled", "ratio", "hours"))
            answer[name] = {**unit, **nothing, "reason": report.obstacle(name)}
            continue
        one = known[name]
        answer[name] = {
            **unit,
            "baseline": one.amounts[0],
            "scheduled": one.amounts[1],
            "ratio": float(one.ratio),
            "hours": hour_figures(one, training, hours),
        }
        if name == "exact":
            components = [step.by_component() for step in steps]
            answer[name]["components"] = {
                part: {"baseline": components[0][part], "scheduled": components[1][part]}
                for part in components[0]
            }
            passes = [step.passes for step in steps]
            answer[name]["passes"] = {
                part: {"baseline": passes[0][part].total, "scheduled": passes[1][part].total}
                for part in PASSES
            }
            answer[name]["upper_bounds"] = list(dict.fromkeys(steps[0].bounds + steps[1].bounds))
    return answer
