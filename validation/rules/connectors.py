"""Rules that stand in the connector's place, or make tokens of their own beside it."""

from __future__ import annotations

from .base import Rule

#: The rules of this module, by the name under which methods describe them.
RULES: dict[str, type[Rule]] = {}
