"""Rules that rank by what the encoder's class token, or its other tokens, attend to."""

from __future__ import annotations

from .base import Rule

#: The rules of this module, by the name under which methods describe them.
RULES: dict[str, type[Rule]] = {}
