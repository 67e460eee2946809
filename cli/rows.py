"""A bill beside another as flat rows: what `ratio` and `cost` print and export."""

from __future__ import annotations

from typing import Any

from ..costmodel import Bill
from ..costmodel.flops import UNITS, Convention
from ..costmodel.operators import COMPONENTS

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
            if not phase.startswith("decode") or part in before
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
