"""Reads a schedule from a TOML file.

name = "pyramid"
rounding = "floor"             # floor | round | ceil | float-floor
selection = "pyramiddrop"      # optional: the rule that chooses the tokens, to price its cost

[encoder]                      # optional: merging in every encoder block
merged_per_layer = 16          # or a list with an amount per layer

[compress]                     # optional: between encoder and LLM
tokens = 288                   # or: ratio = 0.5
at = "after-connector"         # or "before-connector"

[[stages]]                     # in order of layers
first_layer = 8                # first layer that sees the reduced sequence, 0-based
ratio = 0.5                    # or: tokens = 144; or: withdraw = true
"""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from ..costmodel import InvalidInput, Model, Schedule, Workload
from ..costmodel.errors import clip

#: A schedule takes a few lines; anything larger is another kind of file, and TOML's dotted keys
#: can cost quadratic memory.
LARGEST_FILE = 1 << 15


class ScheduleFile(NamedTuple):
    """A schedule and the text that it was read from, so that later complaints can name a line."""

    path: str
    text: str
    schedule: Schedule

    def fitted(self, model: Model, workload: Workload, field: str = "schedule") -> Schedule:
        """Return the schedule, which is the same for every model."""
        return self.schedule

    def complaint(self, error: InvalidInput, field: str = "schedule") -> InvalidInput:
        """Return an error about a field of the schedule as one about its line."""
        return in_file(error, self.path, self.text, field)


def read_schedule(path: str | Path, field: str = "schedule") -> Schedule:
    """Return the schedule that the TOML file at `path` describes.

    Raises:
        InvalidInput: The file cannot be read or is malformed; the sentence names line and key.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "half.toml")
    ...     _ = path.write_text("compress = { ratio = 0.5 }")
    ...     read_schedule(path).compress.ratio
    Fraction(1, 2)
    """
    return open_schedule(path, field).schedule


def open_schedule(path: str | Path, field: str = "schedule") -> ScheduleFile:
    """Return the schedule that the TOML file at `path` describes, with its text.

    Raises:
        InvalidInput: The file cannot be read or is malformed; the sentence names line and key.
    """
    if not str(path):
        way_out = "name a schedule file, or write a line such as 'keep 0.5 @ 2'"
        raise InvalidInput(field, "", "is empty", way_out)
    import tomllib  # most schedules are options or a method

    text = file_text(Path(path), field)
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
        _refuse_quoted(content)
        schedule = Schedule(**content)
    except InvalidInput as error:
        raise in_file(error, str(path), text, field) from None
    if not set(schedule.primitives) - {"selection", "training"}:
        raise InvalidInput(
            field, path, "reduces nothing", "add [[stages]], [compress] or [encoder]"
        )
    return ScheduleFile(str(path), text, schedule)


#: Whole numbers of a schedule; options arrive as texts, a file says what it means.
_NUMBERS = ("first_layer", "tokens", "merged_per_layer")


def _refuse_quoted(content: dict[str, Any]) -> None:
    """Refuse numbers in quotes.

    Raises:
        InvalidInput: The first of them.
    """
    tables = [(f"{name}.", table) for name, table in content.items()]
    stages = content.get("stages")
    if isinstance(stages, list):
        tables += [(f"stages.{index}.", stage) for index, stage in enumerate(stages)]
    for place, table in tables:
        for key in _NUMBERS if isinstance(table, dict) else ():
            value = table.get(key)
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and text.strip().isdecimal():
                    way_out = "write the number without quotes"
                    raise InvalidInput(f"{place}{key}", text, "is a text", way_out)


def file_text(
    path: Path,
    field: str,
    way_out: str = "give a readable TOML file, or a line such as 'keep 0.5 @ 2'",
    most: int = LARGEST_FILE,
) -> str:
    """Return the text of a file of at most 32 KiB, or of `most` bytes.

    Raises:
        InvalidInput: It cannot be read, is larger, or is no UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)  # a device may have no end
    except OSError as error:
        raise InvalidInput(field, path, f"cannot be read ({error.strerror})", way_out) from None
    except ValueError as error:  # a null byte in the name
        raise InvalidInput(field, path, f"cannot be read ({error})", way_out) from None
    if len(data) > most:
        raise InvalidInput(field, path, f"is larger than {most >> 10:,} KiB", way_out)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(field, path, "is not UTF-8 text", way_out) from None


def in_file(error: InvalidInput, path: str, text: str, field: str) -> InvalidInput:
    """Return an error about a key of a TOML file as one about its line."""
    line = _line_of(text.split("\n"), error.field.split("."))
    without = "is incomplete: " if error.problem == "is missing" else "holds "
    place = f"at line {line}: " if line else without
    value = "" if error.value is None else f"{clip(error.value)} "
    hint = "write [[stages]] tables" if error.field == "stages" else error.way_out
    return InvalidInput(field, path, f"{place}{error.field} {value}{error.problem}", hint)


def _line_of(lines: list[str], path: list[str]) -> int | None:
    """Return the line (from 1) of a dotted key, or of the table that lacks it.

    A search in the text, because TOML readers keep no positions: tables under headers, inline
    tables and dotted keys are found as people write them; None otherwise.
    """
    key, index = path[-1], int(path[1]) if len(path) > 1 and path[1].isdigit() else 0
    name = rf"[\"']?{re.escape(path[0])}[\"']?"
    headers = _matches(lines, rf"\s*\[+\s*{name}\s*\]+")
    if not headers and len(path) > 2:  # [table.subtable]
        inner = rf"[\"']?{re.escape(path[1])}[\"']?"
        headers = _matches(lines, rf"\s*\[\s*{name}\s*\.\s*{inner}\s*\]")
    if index < len(headers):
        start = headers[index]
        ends = [n for n in _matches(lines, r"\s*\[") if n > start]
        end = ends[0] if ends else len(lines)
        found = [n for n in _matches(lines, _assigned(key)) if start < n < end]
        return (found or [start])[0] + 1
    dotted = _matches(lines, rf"\s*{name}\s*\.\s*[\"']?{re.escape(key)}[\"']?\s*=")
    plain = _matches(lines, rf"\s*{name}\s*[.=]")
    if dotted or not plain:
        return dotted[0] + 1 if dotted else None
    # Inline tables: the index-th opening brace behind the name.
    braces = [n for n in range(plain[0], len(lines)) for _ in range(lines[n].count("{"))]
    start = braces[index] if index < len(braces) else plain[0]
    end = braces[index + 1] if index + 1 < len(braces) else len(lines)
    found = [n for n in _matches(lines, r".*\b" + _assigned(key)) if start <= n <= end]
    return (found or [start])[0] + 1


def _assigned(key: str) -> str:
    return rf"\s*[\"']?{re.escape(key)}[\"']?\s*="


def _matches(lines: list[str], pattern: str) -> list[int]:
    return [number for number, line in enumerate(lines) if re.match(pattern, line)]
