"""Blocks of rows as text: CSV and JSON lines, raw integers in base units, unrounded doubles."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from ..costmodel.version import __version__
from .summary import SCHEMA_VERSION
from .sweep_block import Block
from .sweep_grid import Column
from .sweep_options import Form

#: What every JSON object of ours says first.
_VERSIONS = (("schema_version", SCHEMA_VERSION), ("tokencost_version", __version__))
#: Whole numbers below it are exact in floating point of 64 bits.
EXACT = 2**53


def header(columns: Sequence[Column], form: Form) -> str:
    """Return what a file begins with."""
    if form == "jsonl":
        return ""
    return ",".join(column.name for column in columns) + "\n"


def lines(columns: Sequence[Column], form: Form, block: Block) -> str:
    """Return the rows of a block, a line each.

    What all rows share is written once, into a template that the other values fill.
    """
    word = _csv_word if form == "csv" else json.dumps
    pieces = (
        [] if form == "csv" else [f"{json.dumps(key)}: {word(text)}" for key, text in _VERSIONS]
    )
    varying: list[list[Any]] = []
    for column in columns:
        value = _values(block, column, word)
        text = "%s"
        if isinstance(value, list):
            varying.append(value)
        else:
            text = value.replace("%", "%%")
        pieces.append(text if form == "csv" else f"{json.dumps(column.name)}: {text}")
    joined = ",".join(pieces) if form == "csv" else "{" + ", ".join(pieces) + "}"
    template = joined + "\n"
    if not varying:
        return template % () * block.rows
    return "".join([template % row for row in zip(*varying, strict=True)])


def _values(block: Block, column: Column, word: Callable[[Any], str]) -> list[Any] | str:
    """Return what fills the template: a value of each row, or the text of all."""
    value: Any = block.values.get(column.name)
    if hasattr(value, "dtype"):
        value = value.tolist()
        if column.kind == "total":
            value = [_whole(one) for one in value]
    if not isinstance(value, list):
        return word(value)
    plain = column.kind != "text" and None not in value
    return value if plain else [word(one) for one in value]


def _csv_word(value: Any) -> str:
    """Return a value as CSV has it; nothing is an empty cell."""
    if value is None:
        return ""
    text = str(value)
    if any(mark in text for mark in ',"\n\r'):
        text = text.replace('"', '""')
        return f'"{text}"'
    return text


def _whole(value: float | None) -> float | int | None:
    """Return a total as the integer that it is; a rounded one stays a float, as it is not exact."""
    return int(value) if value is not None and value < EXACT else value
