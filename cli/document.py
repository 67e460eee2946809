"""What a command says, before it is a table, a file or JSON."""

from typing import Any, Literal, NamedTuple


class Column(NamedTuple):
    """One column; the unit, if all its cells share one, stands in the header."""

    header: str
    align: Literal["left", "right"] = "right"


class Table(NamedTuple):
    """Cells that are already text; `title` may be empty."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


class Document(NamedTuple):
    """A command's answer in all the forms it can take.

    Attributes:
        title: One line.
        facts: What was asked and assumed, as (label, text).
        tables: Figures for people.
        notes: What the reader must know about the figures.
        sentence: One sentence for a paper's methods section; empty if there is none.
        payload: The same as JSON: raw integers in base units, unrounded doubles.
        records: The same as rows of one flat table, for CSV.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    sentence: str
    payload: Any
    records: tuple[dict[str, Any], ...]
