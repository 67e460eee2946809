"""Reads measured times from CSV files.

Operators, a row each; elementwise passes leave both features empty:

    tokens,operator,in_features,out_features,median_us
    512,mlp_up_proj,4096,22016,421.5
    512,mlp_act,,,36.5

or whole prefills:

    tokens,ms
    640,43.1
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from ..costmodel.errors import InvalidInput, clip
from ..costmodel.measured import Measurements, PassRow, PrefillRow, ProductRow
from ..costmodel.numeric import whole

OPERATORS = ("tokens", "operator", "in_features", "out_features", "median_us")
PREFILLS = ("tokens", "ms")
#: A hundred thousand rows; what is larger is another kind of file.
LARGEST_FILE = 1 << 22
#: No kernel or prefill takes longer: times beyond are in another unit.
LONGEST_S = 10_000
#: Rows of one shape may differ by so much, in share and in seconds: profilers count microseconds.
SPREAD, RESOLUTION_S = 1.25, 2e-6

Row = ProductRow | PassRow | PrefillRow
_FORMS = f"write {','.join(OPERATORS)} or {','.join(PREFILLS)} there"


def read_measurements(path: str, field: str = "FILE") -> Measurements:
    """Return the rows of a CSV file.

    Raises:
        InvalidInput: It cannot be read, is too large, or a line of it is wrong; the sentence names
            the line.
    """
    lines = _lines(path, field)
    header = next(lines, None)
    if header is None:
        raise InvalidInput(field, path, "is empty", "give measured rows under a header")
    columns = tuple(cell.strip() for cell in header[1])
    known = {frozenset(form): form for form in (OPERATORS, PREFILLS)}
    if frozenset(columns) not in known or len(set(columns)) < len(columns):
        shown = clip(",".join(columns), 60)
        raise InvalidInput(field, path, f"at line {header[0]}: {shown} is no known header", _FORMS)
    products: list[ProductRow] = []
    passes: list[PassRow] = []
    prefills: list[PrefillRow] = []
    for line, cells in lines:
        if len(cells) != len(columns):
            problem = f"at line {line}: has {len(cells)} cells under {len(columns)} columns"
            raise InvalidInput(field, path, problem, "correct that line")
        row = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
        try:
            if "ms" in row:
                prefills.append(_prefill(line, row))
            elif row["in_features"] or row["out_features"]:
                products.append(_product(line, row))
            else:
                passes.append(_pass(line, row))
        except InvalidInput as error:
            value = "" if error.value is None else f"{clip(error.value) or repr('')} "
            problem = f"at line {line}: {error.field} {value}{error.problem}"
            raise InvalidInput(field, path, problem, error.way_out) from None
    found = Measurements(tuple(products), tuple(passes), tuple(prefills))
    if not found.rows:
        raise InvalidInput(field, path, "has no rows under its header", "add measured rows")
    _refuse_contradictions(found, path, field)
    return found


def _lines(path: str, field: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that are not blank as (number, cells)."""
    way_out = "give a CSV file of measured times"

    def fail(problem: str) -> NoReturn:
        raise InvalidInput(field, path, problem, way_out) from None

    if not path:
        fail("is empty")
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST_FILE + 1)  # a device may have no end
    except OSError as error:
        fail(f"cannot be read ({error.strerror})")
    except ValueError as error:  # a null byte in the name
        fail(f"cannot be read ({error})")
    if len(data) > LARGEST_FILE:
        fail(f"is larger than {LARGEST_FILE >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        fail("is not UTF-8 text")
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        fail(f"at line {reader.line_num}: is not CSV ({error})")


def _product(line: int, row: dict[str, str]) -> ProductRow:
    for name in ("in_features", "out_features"):
        if not row[name]:
            way_out = "give both features, or neither for an elementwise pass"
            raise InvalidInput(name, None, "is missing", way_out)
    sizes = [whole(row[name], name, minimum=1) for name in ("in_features", "out_features")]
    seconds = _time(row["median_us"], "median_us", 10**6)
    return ProductRow(line, _tokens(row), _operator(row), sizes[0], sizes[1], seconds)


def _pass(line: int, row: dict[str, str]) -> PassRow:
    return PassRow(line, _tokens(row), _operator(row), _time(row["median_us"], "median_us", 10**6))


def _prefill(line: int, row: dict[str, str]) -> PrefillRow:
    return PrefillRow(line, _tokens(row), _time(row["ms"], "ms", 10**3))


def _tokens(row: dict[str, str]) -> int:
    return whole(row["tokens"], "tokens", minimum=1)


def _operator(row: dict[str, str]) -> str:
    name = row["operator"]
    if not name:
        raise InvalidInput("operator", None, "is missing", "name the operator")
    if not re.fullmatch(r"[!-~]{1,60}", name):  # it becomes a key and a cell of tables
        problem = "is no name of up to 60 letters, digits and signs"
        raise InvalidInput("operator", name, problem, "shorten it, without spaces")
    return name


def _time(text: str, name: str, per_second: int) -> float:
    plain = re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?", text)
    seconds = float(text) / per_second if plain and len(text) <= 40 else math.nan
    if math.isnan(seconds):
        raise InvalidInput(name, text, "is not a number", "give a time above 0")
    if seconds <= 0:
        raise InvalidInput(name, text, "is not above 0", "give a time above 0")
    if seconds > LONGEST_S:
        raise InvalidInput(name, text, f"is above {LONGEST_S:,} s", "check the unit")
    return seconds


def _refuse_contradictions(found: Measurements, path: str, field: str) -> None:
    """Refuse two rows of one shape that differ by more than measurements do."""
    least: dict[tuple[object, ...], Row] = {}
    most: dict[tuple[object, ...], Row] = {}
    rows: tuple[Row, ...] = (*found.products, *found.passes, *found.prefills)
    for row in rows:
        key = row[1:-1]  # all but line and time
        low = min(least.get(key, row), row, key=lambda one: one.seconds)
        high = max(most.get(key, row), row, key=lambda one: one.seconds)
        least[key], most[key] = low, high
        if high.seconds > max(SPREAD * low.seconds, low.seconds + RESOLUTION_S):
            first, second = sorted((low, high), key=lambda one: one.line)
            problem = (
                f"contradicts itself: lines {first.line} and {second.line} measure the same and say"
                f" {first.seconds * 1e3:.6g} and {second.seconds * 1e3:.6g} ms"
            )
            raise InvalidInput(field, path, problem, "keep the right one")
