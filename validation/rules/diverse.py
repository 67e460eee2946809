"""Rules that choose tokens unlike one another, before the LLM or in it."""

from __future__ import annotations

from .base import Rule

#: The rules of this module, by the name under which methods describe them.
RULES: dict[str, type[Rule]] = {}
