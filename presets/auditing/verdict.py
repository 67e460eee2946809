"""What an audit says of a claim, and the rules that it may rest on."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ..claim import Claim

VerdictName = Literal[
    "reproduced",
    "reproduced with an assumption",
    "plausible",
    "needs scope",
    "impossible",
    "inconsistent",
    "not checkable",
]
#: What each verdict means, from the best to the worst.
VERDICTS: dict[VerdictName, str] = {
    "reproduced": "model and schedule give the figure, with nothing fitted",
    "reproduced with an assumption": "they give it once one free quantity is fitted",
    "plausible": "it is inside a bound, or right for what the source leaves open",
    "needs scope": "it is true for one reading only, which the claim does not state",
    "impossible": "it is above a bound",
    "inconsistent": "it disagrees with the claim's own numbers or setting",
    "not checkable": "something that the answer depends on is missing",
}


class Rule(NamedTuple):
    """A rule that verdicts rest on: its id and what it says, in one sentence."""

    id: str
    text: str


#: Filled by the modules that apply the rules, each beside its code.
RULES: dict[str, Rule] = {}


def rule(rule_id: str, text: str) -> str:
    """Register a rule and return its id."""
    RULES[rule_id] = Rule(rule_id, text)
    return rule_id


class Verdict(NamedTuple):
    """The audit of one claim.

    Attributes:
        claim: What was audited.
        verdict: One of `VERDICTS`.
        rule: Id in `RULES`.
        reason: What was found, in one to three sentences, with its numbers.
        convention, counts, scope, tokens: The reading under which `value` holds: convention,
            "MAC" or "FLOP", scope, and LLM tokens (visual + others) of the dense model.
        value: The recomputed figure in the claim's unit.
        relative_difference: value / printed − 1.
        bound: The bound that decided; `bounds` are all, by scope, or "lower bound" and "upper
            bound". In the claim's unit: of a time with a baseline, what the largest gain leaves.
        assumption: What was fitted, its value and whether it is plausible.
        missing: What would be needed to say more.
    """

    claim: Claim
    verdict: VerdictName
    rule: str
    reason: str
    convention: str | None = None
    counts: str | None = None
    scope: str | None = None
    tokens: int | None = None
    value: float | None = None
    relative_difference: float | None = None
    bound: float | None = None
    bounds: tuple[tuple[str, float], ...] = ()
    assumption: str = ""
    missing: tuple[str, ...] = ()
