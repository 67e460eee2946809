"""Output files, checked before any work."""

from __future__ import annotations

import os
from pathlib import Path

from ..costmodel import InvalidInput

#: What a config.json is read with.
_BESIDE_CONFIG = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)


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


def not_an_input(
    path: Path, name: str | None, schedule: str | None = None, config: str | None = None
) -> None:
    """Refuse to write over a file that is read: the schedule, or the files of a model.

    Raises:
        InvalidInput: Both are one file.
    """
    if not path.exists():
        return
    inputs = [(Path(schedule), "is the schedule file")] if schedule else []
    if config:
        given = Path(config)
        folder = given if given.is_dir() else given.parent
        read = [given, *(folder / file for file in _BESIDE_CONFIG)]
        inputs += [(file, "is read for --config") for file in read]
    for file, problem in inputs:
        if file.is_file() and path.samefile(file):
            raise InvalidInput("--output", name, problem, "name another file")


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
