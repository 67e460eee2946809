"""Class defaults of transformers' config classes, by model type.

They were written from transformers by tests/presets/huggingface/write_defaults.py, and a test
compares them with the installed one; this package never imports transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

#: The transformers that the defaults, and the readers, follow.
VERSION = "5.23"


class Part(NamedTuple):
    """A nested config.

    Attributes:
        model_type: Its type where the file names none.
        any: Whether the file may name another type.
        fields: Its values where the file lacks the whole part; the rest are its own defaults.
    """

    model_type: str
    any: bool
    fields: Mapping[str, Any]


class ClassDefaults(NamedTuple):
    """What a config class takes for a field that the file lacks.

    Attributes:
        name: Name of the class.
        fields: Default by field; None where the class derives it from others.
        aliases: Other names of fields.
        parts: Nested configs.
    """

    name: str
    fields: Mapping[str, Any]
    aliases: Mapping[str, str]
    parts: Mapping[str, Part]


@cache
def _table() -> Mapping[str, Any]:
    text = Path(__file__).with_suffix(".json").read_text(encoding="utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded


@cache
def class_defaults(model_type: str) -> ClassDefaults:
    """Return the defaults of a model type, which a reader must have.

    >>> class_defaults("llama").fields["hidden_size"]
    4096
    """
    found = _table()[model_type]
    return ClassDefaults(
        name=found["class"],
        fields=found["fields"],
        aliases=found.get("aliases", {}),
        parts={name: Part(**part) for name, part in found.get("parts", {}).items()},
    )
