"""Tables that are wider than the terminal: figures are neither folded nor cut.

A table is split by columns into tables that fit, each with the columns that name its rows. Where
not even these and one figure fit, each row becomes a block of lines "column: value".
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from .document import Column, Table

#: What rich adds to a column: a blank on either side, and one between columns.
PADDING = 3
#: The columns that name rows may take so much of the width.
MOST_OF_WIDTH = 0.6


def cells(text: str) -> int:
    """Return the cells of a terminal that a text takes."""
    from rich.cells import cell_len

    return cell_len(text)


def column_widths(table: Table) -> list[int]:
    """Return the terminal cells that each column takes, with its padding."""
    return [
        PADDING
        + max(
            cells(line)
            for text in (column.header, *(row[place] for row in table.rows))
            for line in text.split("\n")
        )
        for place, column in enumerate(table.columns)
    ]


def table_width(table: Table) -> int:
    """Return the terminal cells that a table takes, with a blank on its left."""
    return sum(column_widths(table)) + 1


def parts(table: Table, width: int) -> list[Table] | None:
    """Return tables that fit into `width` and hold all columns; None if rows must be blocks.

    Each begins with the columns that name the rows: the leading ones that hold words or, where
    these take too much, as few as tell the rows apart.
    """
    words, few = _leading_words(table.columns), _telling_apart(table)
    split = _split(table, width, words)
    left_out = {column.header for column in table.columns[few:words]}
    if split or not left_out or "unit" in left_out:  # a figure stands beside its unit
        return split
    return _split(table, width, few)


def _split(table: Table, width: int, named: int) -> list[Table] | None:
    """Return tables that all begin with the first `named` columns; None where one is too wide."""
    widths = column_widths(table)
    room = width - 1 - sum(widths[:named])
    others = range(named, len(widths))
    if sum(widths[:named]) > MOST_OF_WIDTH * width or any(widths[one] > room for one in others):
        return None
    groups: list[list[int]] = []
    for place in others:
        if groups and sum(widths[one] for one in [*groups[-1], place]) <= room:
            groups[-1].append(place)
        else:
            groups.append([place])
    return [
        _only(table, [*range(named), *group], table.title if not at else "")
        for at, group in enumerate(groups)
    ]


def _leading_words(columns: Sequence[Column]) -> int:
    """Return how many leading columns hold words; the first one always names the rows."""
    words = 0
    while words < len(columns) - 1 and columns[words].align == "left":
        words += 1
    return max(words, 1)


def _telling_apart(table: Table) -> int:
    """Return how many leading columns make every row's name its own."""
    for named in range(1, len(table.columns)):
        if len({row[:named] for row in table.rows}) == len(table.rows):
            return named
    return len(table.columns)


def _only(table: Table, places: list[int], title: str) -> Table:
    columns = tuple(table.columns[place] for place in places)
    rows = tuple(tuple(row[place] for place in places) for row in table.rows)
    return Table(title, columns, rows)


def blocks(table: Table, width: int) -> str:
    """Return the rows as blocks: what names a row, and below it each other column's value."""
    headers = [column.header.replace("\n", " ") for column in table.columns]
    margin = min(max(map(cells, headers), default=0), width // 2)
    named = min(_telling_apart(table), max(len(headers) - 1, 1))
    lines = []
    for row in table.rows:
        name = ", ".join(cell.strip() for cell in row[:named] if cell.strip())
        indent = " " * (2 + len(row[0]) - len(row[0].lstrip()))  # which marks sub-rows
        lines += _wrapped(name, width, indent, f"{indent}  ")
        for header, cell in zip(headers[named:], row[named:], strict=True):
            if cell.strip():
                lines += _labelled(f"    {header.ljust(margin)}  ", cell, width)
    return "\n".join(lines)


def _labelled(label: str, cell: str, width: int) -> list[str]:
    """Return a label and its text beside it or, where a word would have to be broken, below it."""
    text = " ".join(cell.split())
    if cells(label) + max(map(cells, text.split())) > width:
        return [label.rstrip(), *_wrapped(text, width, " " * 6, " " * 6)]
    return _wrapped(text, width, label, " " * cells(label))


def _wrapped(text: str, width: int, first: str, others: str) -> list[str]:
    """Return text wrapped at blanks alone: no figure is broken."""
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [first.rstrip()]
