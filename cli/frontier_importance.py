"""Reads a profile of layers from CSV: how much each counts in the retention proxy.

layer,weight
0,0.31
1,0.24
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from ..costmodel import InvalidInput
from ..costmodel.errors import clip
from ..costmodel.frontier import Importance
from ..costmodel.frontier.retention import has_visual
from ..costmodel.numeric import whole
from ..costmodel.tokenplan import Layout

COLUMNS = ("layer", "weight")
_FIELD = "--importance"
#: A model has no more than some hundreds of layers: what is larger is another kind of file.
_LARGEST_FILE = 1 << 20
_NUMBER = r"[0-9]{0,20}\.?[0-9]{1,40}(?:[eE][+-]?[0-9]{1,2})?"


def importance(given: str | None, layout: Sequence[Layout]) -> Importance:
    """Return the profile that --importance names; uniform by default.

    Raises:
        InvalidInput: A file that cannot be read, or a line of it that is wrong.
    """
    if given in (None, "uniform"):
        return Importance.uniform(layout)
    path = str(given)
    weights: dict[int, Fraction] = {}
    for line, cells in _rows(path):
        layer, weight = _row(path, line, cells, len(layout))
        if layer in weights:
            raise _wrong(path, line, f"layer {layer} is given twice", "give each layer once")
        if weight and not has_visual(layout[layer]):
            problem = f"layer {layer} has a weight, and the model has no visual tokens there"
            raise _wrong(path, line, problem, "give that layer 0")
        weights[layer] = weight
    missing = [layer for layer in range(len(layout)) if layer not in weights]
    if missing:
        problem = f"gives no weight of layer {missing[0]}"
        problem += f" and {len(missing) - 1} more" if missing[1:] else ""
        way_out = f"give each of the {len(layout)} layers of the model once, 0 to {len(layout) - 1}"
        raise InvalidInput(_FIELD, path, problem, way_out)
    try:
        return Importance.of(path, [weights[layer] for layer in range(len(layout))])
    except InvalidInput as error:
        raise InvalidInput(_FIELD, path, error.problem, error.way_out) from None


def _row(path: str, line: int, cells: Sequence[str], depth: int) -> tuple[int, Fraction]:
    """Return the layer and the weight of a line."""
    try:
        layer = whole(cells[0], "layer")
    except InvalidInput as error:
        problem = f"layer {clip(error.value) or repr('')} {error.problem}"
        raise _wrong(path, line, problem, error.way_out) from None
    if layer >= depth:
        problem = f"layer {layer} is not one of this model's {depth}"
        raise _wrong(path, line, problem, f"give 0 to {depth - 1}")
    if not re.fullmatch(_NUMBER, cells[1]):
        problem = f"weight {clip(cells[1]) or repr('')} is not a number of at least 0"
        raise _wrong(path, line, problem, "give one such as 0.31")
    return layer, Fraction(Decimal(cells[1]))


def _rows(path: str) -> list[tuple[int, list[str]]]:
    """Return the lines below the header that are not blank, with their numbers."""
    import csv  # few questions bring a file
    import io

    text = _text(path)
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        lines = [
            (reader.line_num, [cell.strip() for cell in cells])
            for cells in reader
            if any(cell.strip() for cell in cells)
        ]
    except csv.Error as error:
        raise _wrong(path, reader.line_num, f"is not CSV ({error})", "correct that line") from None
    header = f"write {','.join(COLUMNS)} there"
    if not lines:
        raise InvalidInput(_FIELD, path, "is empty", "give a weight for each layer")
    line, first = lines[0]
    if tuple(first) != COLUMNS:
        shown = clip(",".join(first), 60)
        raise _wrong(path, line, f"{shown} is not the header", header)
    for line, cells in lines:
        if len(cells) != len(COLUMNS):
            problem = f"has {len(cells)} cells under {len(COLUMNS)} columns"
            raise _wrong(path, line, problem, "correct that line")
    return lines[1:]


def _text(path: str) -> str:
    """Return a file's text."""
    way_out = "give uniform, or a CSV file with the columns layer and weight"
    if not path:
        raise InvalidInput(_FIELD, "", "is empty", way_out)
    try:
        with Path(path).open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)  # a device may have no end
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(_FIELD, path, f"cannot be read ({reason})", way_out) from None
    if len(data) > _LARGEST_FILE:
        raise InvalidInput(_FIELD, path, f"is larger than {_LARGEST_FILE >> 20} MiB", way_out)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(_FIELD, path, "is not UTF-8 text", way_out) from None


def _wrong(path: str, line: int, problem: str, way_out: str) -> InvalidInput:
    return InvalidInput(_FIELD, path, f"at line {line}: {problem}", way_out)
