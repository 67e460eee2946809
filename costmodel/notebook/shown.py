"""Reports, schedules and models as tables of HTML."""

from __future__ import annotations

from ..architecture.model import Model
from ..brief import choices, cost_lines, doubts, priced_phases
from ..choosing import SELECTION, rule_name
from ..flops import CONVENTIONS, MEANINGS, UNITS
from ..parameters import model_parameters
from ..report import Report
from ..schedule import Schedule
from ..schedule_words import primitive_texts, schedule_text
from .html import table


def report_html(report: Report) -> str:
    """Return conventions and components on both sides, and what the figures mean."""
    header = ["convention", "unit", "baseline", "scheduled", "ratio"]
    rows = [list(line) for line in cost_lines(report, components=True)]
    notes = [schedule_text(report), priced_phases(report)]
    for name in CONVENTIONS:
        obstacle = report.obstacle(name)
        meaning = f"no figure for this model: {obstacle}" if obstacle else MEANINGS[name]
        notes.append(f"{name} [{UNITS[name]}]: {meaning}")
    if report.schedule is not None:
        rule = rule_name(report)
        notes.append(f"selection: {f'{rule}, counted by exact' if rule else SELECTION}")
    notes += [*choices(report), *doubts(report.model, report.schedule)]
    return table(f"{report.model.id}: cost, scheduled against dense", header, rows, notes, words=2)


def schedule_html(schedule: Schedule) -> str:
    """Return a schedule's primitives in words."""
    title = f"Schedule {schedule.name}".rstrip()
    rows = primitive_texts(schedule) or [("—", "nothing is reduced")]
    return table(title, ["primitive", "what it does"], rows, words=2)


def model_html(model: Model) -> str:
    """Return a model's parts, their sizes and parameters, and how well they were checked."""
    counts = model_parameters(model)
    towers = {"vision": model.vision}
    if model.second_vision is not None:
        towers["second vision"] = model.second_vision
    rows = [
        (
            name,
            f"{tower.name}: {tower.num_hidden_layers} layers of width {tower.hidden_size:,}",
            f"{counts['vision']:,}" if name == "vision" else "(with vision)",
        )
        for name, tower in towers.items()
    ]
    decoder = model.decoder
    size = f"{decoder.num_hidden_layers} layers of width {decoder.hidden_size:,}"
    rows += [
        ("connector", model.connector.name, f"{counts['connector']:,}"),
        ("decoder", f"{size}, vocabulary {decoder.vocab_size:,}", f"{counts['decoder']:,}"),
        ("head", "tied to the embedding" if not counts["head"] else "", f"{counts['head']:,}"),
    ]
    if "other" in counts:
        rows.append(("other", "stored, run by no visual prompt", f"{counts['other']:,}"))
    rows.append(("total", "", f"{sum(counts.values()):,}"))
    title = f"{model.id} ({model.family}), configuration {model.status}"
    return table(title, ["part", "figures", "parameters"], rows, model.uncertainty, words=2)
