"""Where a schedule that somebody wrote comes from: a file or a line, in one of several forms."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from ...costmodel import InvalidInput, Model, Schedule, Workload
from ...costmodel.errors import clip
from ..schedule_file import LARGEST_FILE, open_schedule
from .pairs import are_pairs, read_pairs
from .text import Parsed, parse
from .words import Misread

_YAML = (".yml", ".yaml")
#: What people write who mean a file.
_FILES = re.compile(r"(?i).*\.(toml|ya?ml|json|txt|tml)\s*|[^\s|@:;]*")


class Written(Protocol):
    """A schedule as it was written, which may depend on the model."""

    def fitted(self, model: Model, workload: Workload, field: str = "schedule") -> Schedule:
        """Return the schedule of a model and a request.

        Raises:
            InvalidInput: It does not fit; the sentence names the place.
        """

    def complaint(self, error: InvalidInput, field: str = "schedule") -> InvalidInput:
        """Return an error about a field of the schedule as one about the place in the writing."""


class Line:
    """A schedule in the one-line form."""

    def __init__(self, text: str, parsed: Parsed) -> None:
        """Keep the text, so that later complaints can name a column."""
        self.text, self.parsed = text, parsed

    def fitted(self, model: Model, workload: Workload, field: str = "schedule") -> Schedule:
        """Return the schedule of a model, of whose depth its layers may be shares."""
        try:
            return self.parsed.schedule(model.decoder.num_hidden_layers)
        except Misread as error:
            raise _at(error, self.text, field) from None

    def complaint(self, error: InvalidInput, field: str = "schedule") -> InvalidInput:
        """Return an error about a field of the schedule as one about its column."""
        return _at(self.parsed.misread(error), self.text, field)


def read_text(text: str, field: str = "schedule") -> Written:
    """Return the schedule that a line describes: statements, or layer:ratio pairs.

    Raises:
        InvalidInput: The text is wrong; the sentence names the column.
    """
    if len(text) > LARGEST_FILE:
        raise InvalidInput(field, text, "is longer than 32 KiB", "write less, or a file")
    if are_pairs(text):
        return read_pairs(text, field)
    try:
        parsed = parse(text)
        if not parsed.needs_depth:
            parsed.schedule()
    except Misread as error:
        raise _at(error, text, field) from None
    if not parsed.table.keys() - {"name", "rounding", "selection", "training"}:
        raise InvalidInput(field, text, "reduces nothing", "add a statement such as keep 0.5 @ 2")
    return Line(text, parsed)


def open_written(source: str, field: str = "schedule") -> Written:
    """Return the schedule in a file, or the one that a line describes.

    A file that ends in .yml or .yaml is a method of LightCompress, any other is TOML.

    Raises:
        InvalidInput: A file that cannot be read, or a text that is wrong.
    """
    if not _exists(source) and source:
        if _FILES.fullmatch(source) and not _statement(source):
            return open_schedule(source, field)  # which says that it cannot be read
        return read_text(source, field)
    if source.lower().endswith(_YAML):
        from .lightcompress import open_lightcompress  # few schedules are one

        return open_lightcompress(source, field)
    return open_schedule(source, field)


def _exists(source: str) -> bool:
    try:
        return Path(source).exists()
    except (OSError, ValueError):  # a name too long, or a null byte
        return False


def _statement(source: str) -> bool:
    """Tell whether a single word is a statement, or nearly one."""
    from .forms import keywords

    return source.strip() in keywords()


def _at(error: Misread, text: str, field: str) -> InvalidInput:
    problem = f"at column {error.column}: {clip(error.problem, 200)}"
    return InvalidInput(field, text, problem, error.way_out)
