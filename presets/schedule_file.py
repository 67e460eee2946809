"""Reads a schedule from a TOML file.

name = "pyramid"
rounding = "floor"             # floor | round | ceil | float-floor

[compress]                     # optional: between encoder and LLM
tokens = 288                   # or: ratio = 0.5
at = "after-connector"         # or "before-connector"

[[stages]]                     # in order of layers
first_layer = 8                # first layer that sees the reduced sequence, 0-based
ratio = 0.5                    # or: tokens = 144; or: withdraw = true
"""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from pathlib import Path

from ..costmodel import InvalidInput, Schedule
from ..costmodel.errors import clip

#: A schedule takes a few lines; anything larger is another kind of file, and TOML's dotted keys
#: can cost quadratic memory.
LARGEST_FILE = 1 << 15


def read_schedule(path: str | Path, field: str = "schedule") -> Schedule:
    """Return the schedule that the TOML file at `path` describes.

    Raises:
        InvalidInput: The file cannot be read or is malformed; the sentence names line and key.
    """
    if not str(path):
        raise InvalidInput(field, "", "is empty", "name a schedule file")
    path = Path(path)
    text = _text(path, field)
    try:
        # Decimals keep ratios as they were typed; binary floats would not.
        content = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        last = text.count("\n") + 1
        problem = str(error).replace("at end of document", f"at line {last}, the end")
        raise InvalidInput(field, path, f"is not TOML: {problem}", "correct that line") from None
    except (ValueError, ArithmeticError, RecursionError):
        problem = "holds a number or a nesting beyond what Python reads"
        raise InvalidInput(field, path, problem, "write plain numbers") from None
    try:
        schedule = Schedule(**content)
    except InvalidInput as error:
        raise in_file(error, path, field, text) from None
    if not schedule.stages and schedule.compress is None:
        raise InvalidInput(field, path, "reduces nothing", "add [[stages]] or [compress]")
    return schedule


def _text(path: Path, field: str) -> str:
    way_out = "give a readable TOML file (README, section Schedules)"
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)  # a device may have no end
    except OSError as error:
        raise InvalidInput(field, path, f"cannot be read ({error.strerror})", way_out) from None
    except ValueError as error:  # a null byte in the name
        raise InvalidInput(field, path, f"cannot be read ({error})", way_out) from None
    if len(data) > LARGEST_FILE:
        raise InvalidInput(field, path, "is larger than 32 KiB", way_out)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(field, path, "is not UTF-8 text", way_out) from None


def in_file(error: InvalidInput, path: Path, field: str, text: str | None = None) -> InvalidInput:
    """Return an error about a schedule's field as one about the line of the file it stands in."""
    text = path.read_text(encoding="utf-8") if text is None else text
    line = _line_of(text, error.field.split("."))
    place = f"{path.name}, line {line}:" if line else f"{path.name}:"
    value = "" if error.value is None else f"{clip(error.value)} "
    hint = "write [[stages]] tables" if error.field == "stages" else error.way_out
    return InvalidInput(field, place, f"{error.field} {value}{error.problem}", hint)


def _line_of(text: str, path: list[str]) -> int | None:
    """Return the line of a dotted key, or of the table that lacks it; None if it is not found."""
    lines = text.split("\n")
    table = re.compile(rf"\s*\[+\s*{re.escape(path[0])}\s*\]+")
    headers = [number for number, line in enumerate(lines) if table.match(line)]
    index = int(path[1]) if len(path) > 1 and path[1].isdigit() else 0
    if index >= len(headers):  # a plain key, or tables written inline behind it
        return _first_line(lines, 0, path[0])
    start = headers[index]
    end = next(
        (n for n in range(start + 1, len(lines)) if lines[n].lstrip().startswith("[")), len(lines)
    )
    return _first_line(lines[:end], start, path[-1]) or start + 1


def _first_line(lines: list[str], start: int, key: str) -> int | None:
    assignment = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]")
    found = (n + 1 for n in range(start, len(lines)) if assignment.match(lines[n]))
    return next(found, None)
