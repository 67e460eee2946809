"""The file of measurements: rewritten in one step after every case, and read to go on."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...costmodel import InvalidInput, __version__
from ...presets.files import replace

SCHEMA_VERSION = 1
_OPTION = "--output"


def opened(path: Path, suite: dict[str, Any], hardware: dict[str, Any]) -> dict[str, Any]:
    """Return the document in a file, or a new one if there is no file.

    Raises:
        InvalidInput: The file is no document of this suite, hardware and version.
    """
    fresh: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "tokencost_version": __version__,
        "suite": suite,
        "hardware": hardware,
        "date": now(),
        "commit": commit(),
        "rows": [],
        "not_measured": [],
    }
    if not path.exists():
        return fresh
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None
    if not isinstance(known, dict) or not fresh.keys() <= known.keys():
        raise InvalidInput(_OPTION, path, "holds no measurements", "name another file")
    for part in ("schema_version", "tokencost_version", "suite", "hardware"):
        if known[part] != fresh[part]:
            name, there, here = _difference(part, known[part], fresh[part])
            raise InvalidInput(
                _OPTION,
                path,
                f"was measured with {name} {there}, which is {here} now",
                "name another file, or delete this one",
            )
    return {**fresh, "rows": known["rows"]}


def write(path: Path, document: dict[str, Any]) -> None:
    """Replace a file in one step: whoever reads it sees all of the old or all of the new.

    Raises:
        InvalidInput: The file cannot be written.
    """
    try:
        replace(path, _text(document).encode())
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise InvalidInput(_OPTION, path, problem, "name another file") from None


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def commit(root: Path | None = None) -> str | None:
    """Return the commit of the checkout that runs, "-dirty" if code differs; None without one."""
    root = root or Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # installed, perhaps below somebody else's checkout
        return None
    code = ("costmodel", "presets", "validation", "cli", ":!validation/measurements")
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", *code)
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}-dirty" if changed else head


def _git(root: Path, *words: str) -> str:
    run = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def _text(document: dict[str, Any]) -> str:
    """Return JSON with a line per key, and in lists a line per entry."""

    def shown(value: Any) -> str:
        if isinstance(value, list) and value:
            return "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in value) + "\n ]"
        return json.dumps(value)

    lines = [f" {json.dumps(key)}: {shown(value)}" for key, value in document.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _difference(part: str, known: Any, fresh: Any) -> tuple[str, Any, Any]:
    """Return the name of the first thing that differs, and both values."""
    if isinstance(known, dict) and isinstance(fresh, dict):
        for key in [*fresh, *known]:
            if known.get(key) != fresh.get(key):
                return _difference(key, known.get(key), fresh.get(key))
    return part.replace("_", " "), known, fresh
