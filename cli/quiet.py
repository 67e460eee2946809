"""`--quiet`: what commands say on standard error beside their answer is left unsaid."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

#: How lines begin that are said anyway: what went wrong, and what is left to be done.
NEEDED = ("error:", "interrupted")


class Hushed(io.TextIOBase):
    """A stream that passes lines on only if they are needed; it is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        """Pass needed lines on to `stream`."""
        self._stream, self._begun = stream, ""

    def write(self, text: str) -> int:
        """Keep what is no whole line yet, and pass on or drop the lines that are whole."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if line.startswith(NEEDED):
                self._stream.write(f"{line}\n")
        return len(text)

    def flush(self) -> None:
        """Pass on what was let through."""
        self._stream.flush()


@contextmanager
def hushed() -> Iterator[None]:
    """Leave talk unsaid; errors are still told.

    >>> with hushed():
    ...     sys.stderr.write("wrote figure.png")
    16
    """
    before = sys.stderr
    if before is None:  # it is closed: there is nothing to hush
        yield
        return
    sys.stderr = Hushed(before)
    try:
        yield
    finally:
        sys.stderr = before
