"""A model as the text of a preset file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ...costmodel import Model
from ...costmodel.architecture.blocks import ATTENTIONS, FEED_FORWARDS
from ...costmodel.architecture.vision import TOWERS
from ...costmodel.numeric import Spec
from .reading import checked_id

_WIDTH = 100
#: Kinds that a table need not name.
_USUAL = {kinds.default for kinds in (ATTENTIONS, FEED_FORWARDS, TOWERS)}
#: What stands in [family]; the rest is the model's.
_SHARED = ("family", "model_type")
#: Tables of a model that get a heading of their own.
_HEADED = ("vision", "second_vision", "connector", "decoder", "token_rule")


def to_toml(model: Model) -> str:
    """Return a preset file that holds the model; the loader returns an equal one.

    Raises:
        InvalidInput: The model's id cannot be a key of such a file.
    """
    table, name = _table(model), checked_id(model.id)
    del table["id"]
    heading = f'models."{name}"'
    shared = {key: table.pop(key) for key in _SHARED}
    tables = {key: table.pop(key) for key in _HEADED if key in table}
    lines = _section("family", shared)
    lines += _section(heading, table)
    for key, part in tables.items():
        lines += _section(f"{heading}.{key}", part)
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(spec: Spec) -> dict[str, Any]:
    """Return a spec's fields, without those that have their default."""
    found = {}
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        kind = name == "kind" and value not in _USUAL
        if field.is_required() or kind or value != field.get_default(call_default_factory=True):
            found[name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return _table(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _section(heading: str, table: Mapping[str, Any]) -> list[str]:
    lines = [f"[{heading}]"]
    for key, value in table.items():
        lines += _entry(_key(key), value)
    return [*lines, ""]


def _entry(key: str, value: Any) -> list[str]:
    line = f"{key} = {_inline(value)}"
    if len(line) <= _WIDTH or not isinstance(value, list):
        return [line]
    lines, row = [f"{key} = ["], ""
    if any(isinstance(item, dict) for item in value):
        return [*lines, *(f"    {_inline(item)}," for item in value), "]"]
    for item in value:
        text = f"{_inline(item)},"
        if row and len(row) + len(text) > _WIDTH - 5:
            lines.append(f"    {row}")
            row = ""
        row = f"{row} {text}" if row else text
    return [*lines, f"    {row}", "]"]


def _inline(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:_}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, str):
        # JSON's escapes are TOML's, except for DEL, which JSON leaves as it is
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(_inline(item) for item in value)}]"
    assert isinstance(value, dict), f"a spec holds numbers, texts, lists and tables, not {value!r}"
    pairs = ", ".join(f"{_key(key)} = {_inline(item)}" for key, item in value.items())
    return f"{{ {pairs} }}" if pairs else "{}"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _inline(name)
