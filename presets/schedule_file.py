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

#: A schedule takes a few lines; anything larger is another kind of file.
LARGEST_FILE = 1 << 20


def read_schedule(path: Path, field: str = "schedule") -> Schedule:
    """Return the schedule that the TOML file at `path` describes.

    Raises:
        InvalidInput: The file cannot be read or is malformed; the sentence names line and key.
    """
    way_out = "give a readable TOML file (README, section Schedules)"
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InvalidInput(field, path, "is larger than 1 MiB", way_out)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(field, path, f"cannot be read ({error.strerror})", way_out) from None
    except UnicodeDecodeError:
        raise InvalidInput(field, path, "is not UTF-8 text", way_out) from None
    try:
        # Decimals keep ratios as they were typed; binary floats would not.
        content = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidInput(field, path, f"is not TOML: {error}", "correct that line") from None
    try:
        return Schedule(**content)
    except InvalidInput as error:
        line = _line_of(text, error.field.split("."))
        where = (
            f"{path.name}, line {line}: {error.field}" if line else f"{path.name}: {error.field}"
        )
        raise InvalidInput(field, where, _problem(error), error.way_out) from None


def _problem(error: InvalidInput) -> str:
    return error.problem if error.value is None else f"{error.value} {error.problem}"


def _line_of(text: str, path: list[str]) -> int | None:
    """Return the line of a dotted key, or of the table that lacks it; None if it is not found."""
    lines = text.splitlines()
    start = 0
    if len(path) > 1:
        headers = [
            number
            for number, line in enumerate(lines)
            if re.match(rf"\s*\[+\s*{re.escape(path[0])}\s*\]+", line)
        ]
        index = int(path[1]) if path[1].isdigit() else 0
        if index >= len(headers):
            return None
        start = headers[index]
    for number in range(start, len(lines)):
        if re.match(rf"\s*\"?{re.escape(path[-1])}\"?\s*=", lines[number]):
            return number + 1
        if number > start and lines[number].lstrip().startswith("["):
            break
    return start + 1 if len(path) > 1 else None
