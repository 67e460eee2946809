"""A device as the text of a user's device file."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

from ..costmodel.device import Device
from ..costmodel.numeric import Spec


def to_toml(device: Device) -> str:
    """Return a TOML file that `load_device` reads as an equal device, without a `base`."""
    table = _fields(device)
    tables = {key: value for key, value in table.items() if isinstance(value, dict)}
    lines = [f"{key} = {_inline(value)}" for key, value in table.items() if key not in tables]
    for key, part in tables.items():
        nested = {name: value for name, value in part.items() if isinstance(value, dict)}
        own = {name: value for name, value in part.items() if name not in nested}
        if own or not nested:
            lines += [
                "",
                f"[{key}]",
                *(f"{name} = {_inline(value)}" for name, value in own.items()),
            ]
        for name, inner in nested.items():
            lines += ["", f"[{key}.{name}]"]
            lines += [f"{field} = {_inline(value)}" for field, value in inner.items()]
    return "\n".join(lines) + "\n"


def _fields(spec: Spec) -> dict[str, Any]:
    """Return a spec's fields, without those that have their default."""
    found: dict[str, Any] = {}
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        if not field.is_required() and value == field.get_default(call_default_factory=True):
            continue
        if isinstance(value, Spec):
            value = _fields(value)
        elif isinstance(value, dict):
            value = {key: _fields(item) for key, item in value.items()}
        found[name] = value
    return found


def _inline(value: Any) -> str:
    if isinstance(value, Fraction):
        return _number(value)
    if isinstance(value, str):
        # JSON's escapes are TOML's, except for DEL, which JSON leaves as it is
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    assert isinstance(value, tuple), f"a device holds numbers, texts and lists, not {value!r}"
    return f"[{', '.join(_inline(item) for item in value)}]"


def _number(value: Fraction) -> str:
    """Return a number as a decimal, exact where there is one of a few digits."""
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest == 1:
        text = format(Decimal(value.numerator) / Decimal(value.denominator), "f")
        if Fraction(text) == value and len(re.sub(r"\D", "", text)) <= 15:  # a float keeps them
            return text
    return repr(float(value))
