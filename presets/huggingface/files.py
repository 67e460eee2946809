"""JSON files from anywhere: read whole or refused, never half understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from ...costmodel import InvalidInput

#: A config.json has a few kilobytes.
LARGEST_FILE = 2**20
#: One of a nested model has about six levels.
DEEPEST = 32
#: Most characters of a value that an error shows.
_SHOWN = 80
#: Longest integer that is kept; a reader refuses it by name.
_DIGITS = 40

_WAY_OUT = "give a config.json of transformers, or the folder that holds one"
_OF_PROCESSORS = "mend it, or remove it for the defaults, which the output names"


def read_json(path: Path, *, processor: bool = False) -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path: The file.
        processor: Whether it is a processor's, which a reading can do without.

    Raises:
        InvalidInput: No such file, one that is too large, or one that is no JSON object with
            each key once; the field is "config".
    """
    try:
        return parse_json(_bytes(path), str(path))
    except InvalidInput as error:
        if not processor:
            raise
        raise InvalidInput(error.field, error.value, error.problem, _OF_PROCESSORS) from None


def parse_json(content: bytes, name: str) -> dict[str, Any]:
    """Return the object in the content of a JSON file called `name`.

    Raises:
        InvalidInput: It is no JSON object with each key once.
    """

    def refuse(problem: str) -> NoReturn:
        raise InvalidInput("config", _ended(name), problem, _WAY_OUT) from None

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            refuse(f"has the key {json.dumps(twice)[:60]} twice")
        return table

    def integer(digits: str) -> int:
        if len(digits) > _DIGITS:
            refuse(f"has a number of {len(digits):,} digits")
        return int(digits)

    def constant(name: str) -> NoReturn:
        refuse(f"holds {name}, which is not JSON")

    if len(content) > LARGEST_FILE:
        refuse(f"is larger than {LARGEST_FILE:,} bytes")
    if not content.strip():
        refuse("is empty, which is not JSON")
    try:
        found = json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=once,
            parse_int=integer,
            parse_constant=constant,
        )
    except InvalidInput:
        raise
    except RecursionError:
        refuse(f"is nested deeper than {DEEPEST} levels")
    except UnicodeDecodeError:
        refuse("is not UTF-8 text")
    except ValueError as error:
        refuse(f"is not JSON: {error}")
    if not isinstance(found, dict):
        refuse("holds no object of fields")
    check_depth(found, name)
    return found


def _ended(name: str) -> str:
    """Return a path as an error shows it: what it ends in tells files apart."""
    return name if len(name) <= _SHOWN else f"…{name[1 - _SHOWN :]}"


def check_depth(table: object, name: str) -> None:
    """Refuse tables that are nested deeper than any config is, or whose keys are no texts.

    Raises:
        InvalidInput: They are.
    """
    level, depth = [table], 0
    while level:
        if depth >= DEEPEST:
            problem = f"is nested deeper than {DEEPEST} levels"
            raise InvalidInput("config", name, problem, _WAY_OUT)
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                if not all(isinstance(key, str) for key in item):
                    raise InvalidInput("config", name, "has a key that is no text", _WAY_OUT)
                below += item.values()
            elif isinstance(item, list | tuple):
                below += item
        level, depth = [item for item in below if isinstance(item, dict | list | tuple)], depth + 1


def _bytes(path: Path) -> bytes:
    shown = _ended(str(path))
    try:
        if path.is_dir():
            raise InvalidInput("config", shown, "is a folder without a config.json", _WAY_OUT)
        if not path.exists():
            raise InvalidInput("config", shown, "does not exist", _WAY_OUT)
        if not path.is_file():
            raise InvalidInput("config", shown, "is no regular file", _WAY_OUT)
        with path.open("rb") as file:
            return file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput("config", shown, f"cannot be read: {reason}", _WAY_OUT) from None
