"""A bill beside another as flat rows: what `ratio` and `cost` print and export."""

from __future__ import annotations

from typing import Any

from .flops import UNITS, Bill, Convention
from .operators import COMPONENTS
from .report import Report

Row = dict[str, Any]


def component_rows(phase: str, name: Convention, sides: tuple[Bill, Bill]) -> list[Row]:
    """Return the rows of one phase: total, and components under exact."""
    dense, scheduled = sides
    amounts: list[tuple[str, int, int]] = [("total", dense.total, scheduled.total)]
    if name == "exact":
        before, after = dense.by_component(), scheduled.by_component()
        amounts += [
            (part, before.get(part, 0), after.get(part, 0))
            for part in COMPONENTS
            if not phase.startswith("decode") or part in before or part in after
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


def priced(report: Report, chosen: tuple[Convention, ...]) -> tuple[Convention, ...]:
    """Return the conventions that have a figure for the model."""
    return tuple(name for name in chosen if report.obstacle(name) is None)


def null_row(name: Convention) -> Row:
    """Return the row of a convention that has no meaning for the model."""
    return {
        "convention": name,
        "phase": "prefill",
        "component": "total",
        "unit": UNITS[name],
        "baseline": None,
        "scheduled": None,
        "ratio": None,
    }
