"""Rules that rank tokens inside the LLM, described by their methods."""

from __future__ import annotations

from .base import Rule

#: The rules of this module, by the name under which methods describe them.
RULES: dict[str, type[Rule]] = {}
