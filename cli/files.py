"""Output files, checked before any work."""

from __future__ import annotations

import os
from pathlib import Path

from ..costmodel import InvalidInput


def writable(name: str) -> Path:
    """Return the path of an output file that can be created or replaced.

    Raises:
        InvalidInput: It is a directory, or its directory is missing or cannot be written to.
    """
    if not name:
        raise InvalidInput("--output", "", "is empty", "name a file")
    path = Path(name)
    try:
        problem = _problem(path)
    except (OSError, ValueError) as error:  # a name too long, a null byte
        problem = f"is not a usable name ({getattr(error, 'strerror', None) or error})"
    if problem:
        raise InvalidInput("--output", name, problem, "give a file in a directory you can write to")
    return path


def not_the_schedule(path: Path, name: str | None, schedule: str | None) -> None:
    """Refuse to write over the schedule that is read.

    Raises:
        InvalidInput: Both are one file.
    """
    if schedule and path.exists() and Path(schedule).exists() and path.samefile(schedule):
        raise InvalidInput("--output", name, "is the schedule file", "name another file")


def _problem(path: Path) -> str:
    """Return why a file cannot be created or replaced, or an empty string."""
    import tempfile

    if path.exists() and not path.is_file():
        return "is a directory" if path.is_dir() else "is not a regular file"
    if not path.parent.is_dir():
        return "is in a directory that does not exist"
    if path.exists() and not os.access(path, os.W_OK):
        return "exists and cannot be written to"
    try:
        # What permissions promise, some file systems refuse: try what `replace` will do.
        with tempfile.TemporaryFile(dir=path.resolve().parent):
            return ""
    except OSError as error:
        return f"is in a directory that cannot be written to ({error.strerror})"
