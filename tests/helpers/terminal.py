"""Runs a command on a terminal of a chosen width."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from typing import NamedTuple


class Screen(NamedTuple):
    """What a run wrote on the terminal, and its exit code."""

    status: int
    text: str


def on_terminal(*words: str, columns: int = 60, **environment: str) -> Screen:
    """Run `tokencost` with standard output and error on a terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    hidden = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    run = subprocess.Popen(
        [sys.executable, "-m", "vlm_tokencost.cli", *words],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**kept, "TERM": "xterm-256color", "PYTHONUTF8": "1", **environment},
    )
    os.close(slave)
    written = b""
    while True:
        try:
            part = os.read(master, 1 << 16)
        except OSError:  # nobody writes any more
            break
        if not part:
            break
        written += part
    os.close(master)
    return Screen(run.wait(), written.decode().replace("\r\n", "\n"))


def piped(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `tokencost` with standard output and error in pipes."""
    hidden = {"NO_COLOR", "FORCE_COLOR"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        [sys.executable, "-m", "vlm_tokencost.cli", *words],
        capture_output=True,
        encoding="utf-8",
        env={**kept, "PYTHONUTF8": "1", **environment},
        check=False,
    )


def widest(text: str) -> int:
    """Return the cells that the longest line of a text takes."""
    from rich.cells import cell_len

    return max(map(cell_len, text.splitlines()))
