"""How each selection rule takes its part in a run: what it looks at, and what it then keeps.

The rules themselves are the pure functions in `reducers`.
"""

from __future__ import annotations

from ...costmodel import InvalidInput
from ..adapters import Adapter
from ..reduction import Reduction
from . import class_attention, connectors, diverse, ranked, text_rated, video
from .base import Rule, Stage, split, without_class_token
from .before import DivPrune, ToMe, VisionZip
from .decoder import FastV, PyramidDrop, SparseVLM
from .fitting import check_rule

__all__ = [
    "RULES",
    "Rule",
    "Stage",
    "check_rule",
    "not_run",
    "rule_of",
    "split",
    "without_class_token",
]

#: The rules, by the name that a schedule gives them, or its description.
RULES: dict[str, type[Rule]] = {
    "fastv": FastV,
    "pyramiddrop": PyramidDrop,
    "visionzip": VisionZip,
    "divprune": DivPrune,
    "tome": ToMe,
    "sparsevlm": SparseVLM,
    **class_attention.RULES,
    **connectors.RULES,
    **diverse.RULES,
    **ranked.RULES,
    **text_rated.RULES,
    **video.RULES,
}


def rule_of(reduction: Reduction, adapter: Adapter) -> Rule:
    """Return the rule of a reduction's `selection`.

    A described rule without a reducer leaves evenly spaced tokens, as a schedule without a rule
    does; `not_run` tells.

    Raises:
        InvalidInput: A name that no rule has.
    """
    name, amounts = reduction.selection, (reduction.extra, reduction.learned)
    if name is None or (reduction.described and name not in RULES):
        return Rule(adapter, *amounts)
    if name not in RULES:
        known = ", ".join(RULES)
        raise InvalidInput("selection", name, "has no reducer", f"choose from {known}")
    return RULES[name](adapter, *amounts)


def not_run(name: str) -> dict[str, str]:
    """Return which of a rule's products no run has, by phase; nothing where all can be run."""
    if name not in RULES:
        return dict.fromkeys(("prefill", "decode"), f"the reducer of {name}")
    if RULES[name].chooses_in_decoding:
        return {"decode": f"what {name} computes in decode forwards"}
    return {}
