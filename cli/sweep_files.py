"""Files of a sweep: text that grows, Parquet that is whole when it appears, and their records."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..costmodel import InvalidInput
from ..costmodel.errors import clip
from ..costmodel.version import __version__
from ..presets.files import replace
from .summary import SCHEMA_VERSION
from .sweep_block import Block
from .sweep_figures import Timed
from .sweep_grid import Grid
from .sweep_options import Form
from .sweep_text import header, lines

_ANEW = "remove it to begin anew, or name another file"
#: Bytes that are read at once to count lines.
_CHUNK = 2**20


class Record(NamedTuple):
    """What a file's rows are: kept beside text files, inside Parquet.

    Attributes:
        fingerprint: Of everything that decides what the rows are.
        content: The same in words, as JSON.
    """

    fingerprint: str
    content: dict[str, Any]

    def text(self) -> str:
        """Return the record as JSON."""
        return json.dumps(self.content, indent=2) + "\n"


def record_of(grid: Grid, timed: Timed) -> Record:
    """Return the record of a sweep."""
    columns = [column._asdict() for column in grid.columns()]
    inputs = [
        *(model.model_dump_json() for model in grid.models.values()),
        *timed.described(),
        *(_content(text) for axis in grid.axes for text in axis.values if axis.name == "schedule"),
    ]
    described = grid.described()
    whole = json.dumps([described, columns, inputs], sort_keys=True)
    fingerprint = hashlib.sha256(whole.encode()).hexdigest()
    content = {
        "schema_version": SCHEMA_VERSION,
        "tokencost_version": __version__,
        "command": "sweep",
        "rows": grid.rows,
        "columns": columns,
        "grid": described,
        "fingerprint": fingerprint,
    }
    return Record(fingerprint, content)


def _content(schedule: str) -> str:
    try:
        return Path(schedule).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return schedule  # a line, not a file


class Sink(Protocol):
    """Where blocks go."""

    def write(self, block: Block) -> None:
        """Add rows."""

    def close(self) -> None:
        """Leave a valid file."""


def check_unfinished(path: Path, form: Form, record: Record, rows: int) -> None:
    """Refuse to replace a part of the same sweep, which could be gone on with.

    Raises:
        InvalidInput: It is one.
    """
    try:
        known, present = _found(path, form)
    except (InvalidInput, OSError):
        return  # any other file is replaced, as everywhere
    if known == record.fingerprint and 0 < present < rows:
        problem = f"holds {present:,} of the {rows:,} rows of this sweep"
        way_out = "add --resume to go on, or remove it to begin anew"
        raise InvalidInput("--output", str(path), problem, way_out)


def present_rows(path: Path, form: Form, record: Record) -> int:
    """Return how many complete rows of this sweep a file has; 0 where there is no file.

    Raises:
        InvalidInput: The file is of another sweep, or of none.
    """
    if not path.exists():
        return 0
    known, present = _found(path, form)
    if known != record.fingerprint:
        problem = "was made by another grid, other options or another version"
        raise InvalidInput("--output", str(path), problem, _ANEW)
    return present


def _found(path: Path, form: Form) -> tuple[str, int]:
    """Return fingerprint and complete rows of a file.

    Raises:
        InvalidInput: A file that no sweep made, or that none finished.
    """
    if form == "parquet":
        from .sweep_parquet import found

        return found(path)
    beside = beside_of(path)
    try:
        fingerprint = json.loads(beside.read_text(encoding="utf-8"))["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        problem = f"has no record of a sweep beside it ({beside.name})"
        raise InvalidInput("--output", str(path), problem, _ANEW) from None
    return str(fingerprint), max(_lines(path)[0] - (form == "csv"), 0)


def beside_of(path: Path) -> Path:
    """Return the file that holds a text file's record."""
    return path.with_name(f"{path.name}.sweep.json")


def _lines(path: Path) -> tuple[int, int]:
    """Return the complete lines of a file, and where the last of them ends."""
    count = end = position = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            count += chunk.count(b"\n")
            last = chunk.rfind(b"\n")
            end = position + last + 1 if last >= 0 else end
            position += len(chunk)
    return count, end


def last_line(path: Path) -> str:
    """Return the last complete line of a file, without its end."""
    _, end = _lines(path)
    with path.open("rb") as file:
        file.seek(max(0, end - _CHUNK))
        return file.read(end - file.tell()).decode().splitlines()[-1]


class TextFile:
    """CSV or JSON lines: grows in place, so that even a killed run can be gone on with."""

    def __init__(self, path: Path, form: Form, grid: Grid, record: Record, present: int) -> None:
        """Begin a file, or cut one behind its last complete row."""
        self._columns, self._form = grid.columns(), form
        if present:
            os.truncate(path, _lines(path)[1])
        else:
            replace(beside_of(path), record.text().encode())
            replace(path, header(self._columns, form).encode())
        self._file = path.open("ab")

    def write(self, block: Block) -> None:
        """Add rows, and hand them to the system."""
        self._file.write(lines(self._columns, self._form, block).encode())
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Stream:
    """Standard output."""

    def __init__(self, form: Form, grid: Grid) -> None:
        """Write the header."""
        if sys.stdout is None:
            problem = "is needed: standard output is closed"
            raise InvalidInput("--output", None, problem, "name a file")
        self._columns, self._form = grid.columns(), form
        sys.stdout.write(header(self._columns, form))

    def write(self, block: Block) -> None:
        """Write rows."""
        sys.stdout.write(lines(self._columns, self._form, block))
        sys.stdout.flush()

    def close(self) -> None:
        """Leave standard output open."""


def sink_of(form: Form, path: Path | None, grid: Grid, record: Record, present: int) -> Sink:
    """Return where blocks go."""
    if path is None:
        return Stream(form, grid)
    if form == "parquet":
        from .sweep_parquet import ParquetFile

        return ParquetFile(path, grid.columns(), record.text(), present)
    return TextFile(path, form, grid, record, present)


def check_last_row(path: Path, form: Form, grid: Grid, blocks: Iterator[Block]) -> None:
    """Refuse to go on behind a row that this sweep would not have written.

    Raises:
        InvalidInput: The last row differs.
    """
    expected = "".join(lines(grid.columns(), form, block) for block in blocks)
    if last_line(path) != expected.rstrip("\n"):
        problem = "has a last row that this sweep would not have written"
        raise InvalidInput("--output", clip(path), problem, _ANEW)
