"""`tokencost methods`: which reduction methods are known, and what each one does."""

from __future__ import annotations

import fnmatch
from typing import Annotated

import typer

from ...costmodel import InvalidInput
from ...costmodel.errors import closest
from ...presets import list_methods, load_method
from ..document import Column, Document, Table
from ..export import deliver
from ..method_card import card, published, published_briefly, summary_row
from ..options import Sink, shares

app = typer.Typer(
    help="List the reduction methods that are known, and show their settings.",
    add_completion=False,
)


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
    deliver(sink, lambda: card(load_method(method)))


def _listing(pattern: str) -> Document:
    known = list_methods()
    glob = pattern.lower() if any(sign in pattern for sign in "*?[") else f"*{pattern.lower()}*"
    found = [method_id for method_id in known if fnmatch.fnmatchcase(method_id, glob)]
    if not found:
        close = closest(pattern, known)
        hint = f"did you mean {close}?" if close else "see `tokencost methods list` for all of them"
        raise InvalidInput("PATTERN", pattern, "matches no method", hint)
    methods = [load_method(method_id) for method_id in found]
    rows = [summary_row(method) for method in methods]
    columns = ("id", "title", "arXiv", "reduces", "schedule", "trained", "published budgets")
    return Document(
        title=f"{len(rows)} of {len(known)} methods",
        facts=(),
        tables=(
            Table(
                "",
                tuple(Column(name, "left") for name in columns),
                tuple(
                    (
                        *(str(row[key]) for key in ("id", "title", "paper", "reduces", "schedule")),
                        "yes" if method.trained else "no",
                        published_briefly(method),
                    )
                    for method, row in zip(methods, rows, strict=True)
                ),
            ),
        ),
        notes=(
            "schedule: whether the default was read in a source, derived from one, or assumed",
            "published budgets: visual tokens with published results, of so many dense ones; where "
            "they are many, how many",
            "settings, assumptions and sources: `tokencost methods show ID`",
        ),
        sentence="",
        payload=rows,
        records=tuple(
            {**row, "published_budgets": published(method)}
            for method, row in zip(methods, rows, strict=True)
        ),
    )
