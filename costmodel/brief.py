"""Reports, schedules and models in a few lines: what `print` shows of them."""

from __future__ import annotations

from typing import NamedTuple

from .architecture.model import Model
from .flops import CONVENTIONS
from .parameters import model_parameters
from .payload import ratio_rows
from .report import Report
from .rows import Row
from .schedule import Schedule
from .schedule_words import primitive_texts, schedule_text
from .units import percent, prefix, scaled


class Line(NamedTuple):
    """One convention's cost on both sides, as text."""

    name: str
    unit: str
    baseline: str
    scheduled: str
    share: str


def cost_lines(report: Report, *, components: bool = False) -> list[Line]:
    """Return what a ratio compares, one line per convention; a dash where there is no figure."""
    rows = ratio_rows(report, CONVENTIONS)
    letter, power = prefix([row["baseline"] for row in rows])
    return [_line(row, letter, power) for row in rows if components or row["component"] == "total"]


def _line(row: Row, letter: str, power: int) -> Line:
    name = row["convention"] if row["component"] == "total" else f"  {row['component']}"
    return Line(
        name,
        letter + row["unit"],
        scaled(row["baseline"], power),
        scaled(row["scheduled"], power),
        percent(row["scheduled"], row["baseline"]),
    )


def priced_phases(report: Report) -> str:
    """Return what the figures are of."""
    new = report.workload.new_tokens
    more = f"; exact includes {new - 1} decode forward{'s' * (new > 2)}" if new > 1 else ""
    return f"prefill of {_tokens(report)} at batch {report.workload.batch}{more}"


def _tokens(report: Report) -> str:
    dense = report.dense
    counts = (dense.dense_visual_tokens, dense.structural_tokens, dense.text_tokens)
    return "{} visual, {} structural and {} text tokens".format(*counts)


def doubts(model: Model, schedule: Schedule | None = None) -> list[str]:
    """Return what a reader must be told of a model's figures and of a method's schedule."""
    told = [] if model.status == "verified" else [f"configuration {model.status}"]
    told += model.uncertainty
    method = getattr(schedule, "method", None)
    if method is not None:
        told += [f"assumed of {method.title}: {text}" for text in method.assumed]
    return told


def choices(report: Report) -> list[str]:
    """Return what is counted otherwise than by default."""
    changed = report.counting.model_dump(exclude_defaults=True)
    chosen = ", ".join(f"{name}={value}" for name, value in changed.items())
    return [f"exact counts with {chosen}"] if chosen else []


def report_text(report: Report) -> str:
    """Return question and answer in a few lines."""
    lines = [f"{report.model.id}: {schedule_text(report)}", f"  {priced_phases(report)}"]
    for line in cost_lines(report):
        if report.schedule is None:
            lines.append(f"  {line.name:<6}  {line.baseline} {line.unit}")
        else:
            sides = f"{line.baseline} → {line.scheduled} {line.unit}"
            lines.append(f"  {line.name:<6}  {sides} ({line.share})")
    told = [*choices(report), *doubts(report.model, report.schedule)]
    return "\n".join([*lines, *(f"  {text}" for text in told)])


def schedule_line(schedule: Schedule) -> str:
    """Return a schedule's primitives in words, for no model in particular."""
    texts = [f"{name}: {text}" for name, text in primitive_texts(schedule)]
    named = [schedule.name] if schedule.name else []
    return "; ".join([*named, *texts]) or "nothing is reduced"


def model_line(model: Model) -> str:
    """Return a model's name, size and how well its figures were checked."""
    total = sum(model_parameters(model).values())
    doubt = "".join(f"; {text}" for text in model.uncertainty)
    size = f"{total:,} parameters"
    return f"{model.id} ({model.family}), configuration {model.status}: {size}{doubt}"
