"""A reduction method for people and programs: settings, provenance, cost of choosing, figures."""

from __future__ import annotations

from typing import Any

from ..costmodel import InvalidInput, Report, evaluate
from ..costmodel.version import __version__
from ..presets import Method, load_model
from ..presets.figures import recompute
from .document import Column, Document, Table
from .schedule_words import schedule_text
from .selection_words import selection_payload, selection_text
from .summary import SCHEMA_VERSION
from .units import compact

#: Budgets that papers compare methods at, whether or not the method publishes results there.
COMPARED = (192, 128, 64)
#: Primitives in words.
PLACES = {
    "input": "before the encoder",
    "encoder": "in the encoder",
    "compress": "before the LLM",
    "stages": "in the LLM",
    "layers": "in the LLM",
    "cache": "in the KV cache",
    "channels": "channels",
    "bits": "bits",
    "stream": "in a stream",
    "mixture": "by a router",
}


def places(method: Method) -> str:
    """Return where a method reduces, by the primitives of its default schedule."""
    model = load_model(method.reference.model)
    schedule = method.schedule(model, method.reference.workload)
    found = dict.fromkeys(PLACES[name] for name in schedule.primitives if name in PLACES)
    return ", ".join(found) or "nowhere by default"


def published(method: Method) -> str:
    """Return the budgets with published results."""
    return "; ".join(
        f"{', '.join(map(str, budgets))} of {dense}"
        for dense, budgets in method.published_budgets.items()
    )


def published_briefly(method: Method, width: int = 24) -> str:
    """Return the budgets with published results, or how many there are if they are long."""
    text = published(method)
    if len(text) <= width:
        return text or "—"
    budgets = method.published_budgets
    count = sum(len(found) for found in budgets.values())
    return f"{count} of {next(iter(budgets))}" if len(budgets) == 1 else f"{count} settings"


def summary_row(method: Method) -> dict[str, Any]:
    """Return a method's row of the list."""
    return {
        "id": method.id,
        "title": method.title,
        "paper": method.paper,
        "reduces": places(method),
        "schedule": method.provenance["default"].status,
        "trained": method.trained,
        "selection": selection_name(method),
        "published_budgets": {
            str(dense): list(budgets) for dense, budgets in method.published_budgets.items()
        },
    }


def selection_name(method: Method) -> str | None:
    """Return the name of the rule that chooses the tokens."""
    rule = method.selection
    return rule if rule is None or isinstance(rule, str) else str(rule.name)


def card(method: Method) -> Document:
    """Return all that is known about a method."""
    settings = _settings(method)
    rows = [_row(*setting) for setting in settings]
    figures = [_figure(method, place) for place in range(len(method.figures))]
    notes = [f"{field} [{told.status}]: {told.text}" for field, told in method.provenance.items()]
    notes += [f"assumed [{', '.join(one.when)}]: {one.text}" for one in method.assumed]
    notes += [f"sources differ: {text}" for text in method.disagreements]
    notes += [
        f"{one['quantity']} printed as {one['printed']} {one['unit']} "
        f"{'is from' if one['agrees'] else 'does not agree'}"
        f"{'' if one['agrees'] else ': ' + one.get('note', '')}"
        f"{' ' if one['agrees'] else ' Source: '}{one['source']}"
        for one in figures
    ]
    notes += [f"source: {source}" for source in method.source]
    report = settings[0][1]
    shown = method.reference
    where = f"On {shown.model}" + (
        f" with {shown.frames} frames" if shown.frames else _images(len(shown.images))
    )
    return Document(
        title=f"{method.id}: {method.title} (arXiv {method.paper})",
        facts=(
            ("summary", method.summary),
            ("reduces", places(method)),
            ("training", "needed" if method.trained else "not needed"),
            ("selection", selection_text(report, ("exact",))),
            ("a budget is", method.budget.meaning if method.budget else "not defined"),
            ("published", published(method) or "no budgets"),
            ("code", method.repository or "none found"),
        ),
        tables=(
            Table(
                where,
                (Column("budget"), Column("schedule", "left"), Column("average\nvisual tokens")),
                tuple(_cells(*setting) for setting in settings),
            ),
            *_figure_tables(figures),
        ),
        notes=tuple(notes),
        sentence="",
        payload={
            "schema_version": SCHEMA_VERSION,
            "tokencost_version": __version__,
            **method.model_dump(mode="json", exclude={"figures", "selects", "input"}),
            "budget_meaning": method.budget.meaning if method.budget else None,
            "selection_work": selection_payload(report),
            "settings": {"model": shown.model, "frames": shown.frames, "rows": rows},
            "figures": figures,
        },
        records=tuple({"method": method.id, "model": shown.model, **row} for row in rows),
    )


def _settings(method: Method) -> list[tuple[int | None, Report]]:
    """Return the method's default and its budgets on the model that it is shown on."""
    model, workload = load_model(method.reference.model), method.reference.workload
    found: list[tuple[int | None, Report]] = []
    budgets: list[int] = []
    if method.budget is not None:
        own = method.published_budgets.get(method.reference.visual_tokens, ())
        budgets = sorted({*own, *COMPARED}, reverse=True)
    for budget in (None, *budgets):
        try:
            schedule = method.schedule(model, workload, budget)
            found.append((budget, evaluate(model, workload, schedule)))
        except InvalidInput:
            if budget is None:
                raise
    return found


def _images(count: int) -> str:
    return f" with {count} images" if count > 1 else ""


def _row(budget: int | None, report: Report) -> dict[str, Any]:
    return {
        "budget": budget,
        "schedule": schedule_text(report),
        "average_visual_tokens": float(report.scheduled.average_visual_tokens),
    }


def _cells(budget: int | None, report: Report) -> tuple[str, ...]:
    schedule, plan = report.schedule, report.scheduled
    words = schedule_text(report).partition("; ")[2]  # the name comes first
    if schedule and set(schedule.primitives) <= {"stages", "selection", "training"}:
        words = f"visual tokens in layers {compact(plan.visual)}"
    average = f"{float(plan.average_visual_tokens):.2f}"
    return "default" if budget is None else str(budget), words, average


def _figure(method: Method, place: int) -> dict[str, Any]:
    """Return a printed figure beside its recomputation."""
    figure = method.figures[place]
    found = recompute(method, figure)
    return {
        **figure.model_dump(mode="json", exclude_defaults=True),
        "printed": str(figure.printed),
        "convention": figure.convention,
        "recomputed": float(found.value),
        "agrees": found.agrees,
    }


def _convention(figure: dict[str, Any]) -> str:
    """Return the convention of a figure; numbers of tokens and bytes of the cache have none."""
    counted = ("token", "KV", "kv")
    return "—" if any(word in figure["quantity"] for word in counted) else figure["convention"]


def _figure_tables(figures: list[dict[str, Any]]) -> tuple[Table, ...]:
    if not figures:
        return ()
    columns = ("published figure", "convention", "printed", "recomputed", "agrees")
    aligned = tuple(
        Column(name, "right" if name in ("printed", "recomputed") else "left") for name in columns
    )
    rows = tuple(
        (
            one["quantity"],
            _convention(one),
            f"{one['printed']} {one['unit']}",
            f"{one['recomputed']:.6g} {one['unit']}",
            "yes" if one["agrees"] else "no",
        )
        for one in figures
    )
    return (Table("Published figures, recomputed", aligned, rows),)
