"""How each selection rule takes its part in a run: what it looks at, and what it then keeps.

The rules themselves are the pure functions in `reducers`.
"""

from __future__ import annotations

from ...costmodel import InvalidInput
from ..adapters import Adapter
from .base import Rule, Stage, split, without_class_token
from .before import DivPrune, ToMe, VisionZip
from .decoder import FastV, PyramidDrop, SparseVLM

__all__ = ["RULES", "Rule", "Stage", "rule_of", "split", "without_class_token"]

#: The rules, by the name that a schedule gives them.
RULES: dict[str | None, type[Rule]] = {
    None: Rule,
    "fastv": FastV,
    "pyramiddrop": PyramidDrop,
    "visionzip": VisionZip,
    "divprune": DivPrune,
    "tome": ToMe,
    "sparsevlm": SparseVLM,
}


def rule_of(name: str | None, adapter: Adapter) -> Rule:
    """Return the rule of a schedule's `selection`.

    Raises:
        InvalidInput: A rule that no forward pass can run yet.
    """
    if name not in RULES:
        known = ", ".join(key for key in RULES if key)
        raise InvalidInput("selection", name, "has no reducer", f"choose from {known}")
    return RULES[name](adapter)
