"""`tokencost methods`: which reduction methods are known, and what each one does."""

from __future__ import annotations

import fnmatch
from typing import Annotated, Any

import typer

from ...costmodel import InvalidInput, Report, Workload, evaluate
from ...costmodel.errors import closest
from ...costmodel.version import __version__
from ...presets import Method, list_methods, load_method, load_model
from ..document import Column, Document, Table
from ..export import deliver
from ..options import Sink, shares
from ..summary import SCHEMA_VERSION, schedule_text
from ..units import compact

app = typer.Typer(
    help="List the reduction methods that are known, and show their settings.",
    add_completion=False,
)
#: The model that settings are shown on.
EXAMPLE = "llava-1.5-7b"
#: Budgets that papers compare methods at, whether or not the method publishes results there.
COMPARED = (192, 128, 64)


@app.command("list")
@shares(Sink)
def list_command(
    sink: Sink,
    pattern: Annotated[
        str, typer.Argument(help="Part of an id, or a pattern such as '*drop'.")
    ] = "",
) -> None:
    """List the methods that are known: paper, where it reduces, published budgets.

    Example: tokencost methods list
    """
    deliver(sink, lambda: _listing(pattern))


@app.command("show")
@shares(Sink)
def show_command(
    sink: Sink, method: Annotated[str, typer.Argument(metavar="ID", help="Method id.")]
) -> None:
    """Show a method: settings, schedules on LLaVA-1.5-7B, assumptions, sources.

    Example: tokencost methods show pyramiddrop
    """
    deliver(sink, lambda: _card(load_method(method)))


def _listing(pattern: str) -> Document:
    known = list_methods()
    glob = pattern.lower() if any(sign in pattern for sign in "*?[") else f"*{pattern.lower()}*"
    found = [method_id for method_id in known if fnmatch.fnmatchcase(method_id, glob)]
    if not found:
        close = closest(pattern, known)
        hint = f"did you mean {close}?" if close else "see `tokencost methods list` for all of them"
        raise InvalidInput("PATTERN", pattern, "matches no method", hint)
    methods = [load_method(method_id) for method_id in found]
    rows = [_summary(method) for method in methods]
    columns = ("id", "title", "arXiv", "reduces", "published budgets")
    return Document(
        title=f"{len(rows)} of {len(known)} methods",
        facts=(),
        tables=(
            Table(
                "",
                tuple(Column(name, "left") for name in columns),
                tuple(
                    (
                        *(str(row[key]) for key in ("id", "title", "paper", "reduces")),
                        _published(method) or "—",
                    )
                    for method, row in zip(methods, rows, strict=True)
                ),
            ),
        ),
        notes=(
            "published budgets: visual tokens with published results, of so many dense ones",
            "settings, assumptions and sources: `tokencost methods show ID`",
        ),
        sentence="",
        payload=rows,
        records=tuple(
            {**row, "published_budgets": _published(method)}
            for method, row in zip(methods, rows, strict=True)
        ),
    )


def _summary(method: Method) -> dict[str, Any]:
    return {
        "id": method.id,
        "title": method.title,
        "paper": method.paper,
        "reduces": _primitive(method),
        "selection": method.selection,
        "published_budgets": {
            str(dense): list(budgets) for dense, budgets in method.published_budgets.items()
        },
    }


def _published(method: Method) -> str:
    return "; ".join(
        f"{', '.join(map(str, budgets))} of {dense}"
        for dense, budgets in method.published_budgets.items()
    )


def _primitive(method: Method) -> str:
    """Return where a method reduces, by the primitive of its schedules."""
    schedule = method.schedule(load_model(EXAMPLE))
    places = {
        "in the encoder": schedule.encoder,
        "before the LLM": schedule.compress,
        "in the LLM": schedule.stages,
    }
    return ", ".join(place for place, primitive in places.items() if primitive)


def _card(method: Method) -> Document:
    settings = _settings(method)
    rows = [_row(*setting) for setting in settings]
    assumed = [(", ".join(one.when), one.text) for one in method.assumed]
    notes = [f"assumed [{when}]: {text}" for when, text in assumed]
    notes += [f"sources differ: {text}" for text in method.disagreements]
    notes += [f"source: {source}" for source in method.source]
    return Document(
        title=f"{method.id}: {method.title} (arXiv {method.paper})",
        facts=(
            ("summary", method.summary),
            ("selection", method.selection),
            ("a budget is", method.budget.meaning),
            ("published", _published(method) or "no budgets"),
        ),
        tables=(
            Table(
                f"On {EXAMPLE}",
                (Column("budget"), Column("schedule", "left"), Column("average\nvisual tokens")),
                tuple(_cells(*setting) for setting in settings),
            ),
        ),
        notes=tuple(notes),
        sentence="",
        payload={
            "schema_version": SCHEMA_VERSION,
            "tokencost_version": __version__,
            **method.model_dump(mode="json"),
            "settings": {"model": EXAMPLE, "rows": rows},
        },
        records=tuple({"method": method.id, "model": EXAMPLE, **row} for row in rows),
    )


def _settings(method: Method) -> list[tuple[int | None, Report]]:
    """Return the method's default and its budgets on a model."""
    model = load_model(EXAMPLE)
    published = method.published_budgets.get(method.reference.visual_tokens, ())
    budgets = sorted({*published, *COMPARED}, reverse=True)
    return [
        (budget, evaluate(model, Workload(), method.schedule(model, budget=budget)))
        for budget in (None, *budgets)
    ]


def _row(budget: int | None, report: Report) -> dict[str, Any]:
    return {
        "budget": budget,
        "schedule": schedule_text(report),
        "average_visual_tokens": float(report.scheduled.average_visual_tokens),
    }


def _cells(budget: int | None, report: Report) -> tuple[str, ...]:
    schedule, plan = report.schedule, report.scheduled
    words = schedule_text(report).partition("; ")[2]  # the name comes first
    if schedule and schedule.stages:
        words = f"visual tokens in layers {compact(plan.visual)}"
    average = f"{float(plan.average_visual_tokens):.2f}"
    return "default" if budget is None else str(budget), words, average
