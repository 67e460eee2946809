"""Rows of a sweep that follow each other in the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..costmodel.sweeping.combinations import Combinations


class Block(NamedTuple):
    """Rows that follow each other in the file.

    Attributes:
        rows: How many.
        values: By column: one value of all rows, or a list or an array with one each.
    """

    rows: int
    values: dict[str, Any]

    @property
    def unpriced(self) -> int:
        """Rows without figures."""
        reasons = self.values.get("reason")
        if reasons is None or isinstance(reasons, str):
            return self.rows * (reasons is not None)
        return sum(reason is not None for reason in reasons)


def parts(
    stages: tuple[Combinations, ...], inner: int, count: int
) -> Iterator[tuple[Combinations, int, int]]:
    """Yield the parts of a cell's rows by count of stages: (schedules, first, rows)."""
    for group in stages:
        if count and inner < group.rows:
            rows = min(count, group.rows - inner)
            yield group, inner, rows
            inner, count = 0, count - rows
        else:
            inner -= group.rows if inner else 0


def joined(rows: list[dict[str, Any]]) -> Block:
    """Return rows as a block, whose columns are those that any of them has."""
    columns = dict.fromkeys(name for row in rows for name in row)
    return Block(len(rows), {name: [row.get(name) for row in rows] for name in columns})
