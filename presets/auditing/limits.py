"""A gain held against the bounds of its scope, and of the parts of that."""

from __future__ import annotations

from ..claim import Claim
from ..device import load_device
from .bounds import PARTS, Limits, eager_gains, possible_gains
from .findings import INCOMPLETE
from .gains import Gain
from .printed import number
from .requests import of_tokens, tokens_of
from .setting import OWN, Variant, report_of
from .verdict import Verdict, VerdictName, rule

COST_BOUND = rule(
    "bound",
    "A speed-up cannot exceed the ratio of what is computed or moved, where both runs use the same "
    "kernels.",
)


AMDAHL = rule(
    "amdahl",
    "A whole request gains no more than its stages together: encoder and decoding stay where the "
    "LLM's prefill shrinks.",
)


KV_SHARE = rule(
    "kv-share", "A decode forward gains no more than 1 / (1 − the cache's share of its bytes)."
)


ATTENTION_SHARE = rule(
    "attention-share",
    "What runs attention alone on fewer tokens gains no more than attention's share of the cost.",
)


EAGER = rule(
    "eager-attention",
    "A gain above the ratio of FLOPs is possible where attention keeps its scores in memory.",
)


SAME_SOFTWARE = rule(
    "same-software",
    "A gain above that of one software may be that of a slow run against a fast one.",
)


#: What the scopes are called in a sentence.
NAMES = {
    "": "a whole request",
    "end-to-end": "a whole request",
    "ttft": "the time to the first token",
    "prefill": "the prefill with the encoder",
    "llm-prefill": "the LLM's prefill",
    "decode": "a decode forward",
    "attention": "attention alone",
    "encoder": "the encoder",
    "serving": "serving",
}


def judged(claim: Claim, stated: Gain, limits: Limits, variant: Variant = OWN) -> Verdict:
    """Return where a gain stands: inside its scope, inside a part of it alone, or above all.

    Args:
        claim: What states the gain.
        stated: The gain.
        limits: The most of each scope.
        variant: What differs from the claim's own setting.
    """
    scope, report = claim.scope or "end-to-end", report_of(claim, variant=variant)
    bounds = limits.own
    if scope not in bounds:
        lack = ("a bound of this scope",)
        reason = f"{stated.words} of {scope}: nothing here bounds it."
        return Verdict(claim, "not checkable", INCOMPLETE, reason, scope=scope, missing=lack)
    own = bounds[scope]
    parts = PARTS[claim.scope]
    table = tuple((name, bounds[name].factor) for name in bounds if name in (scope, *parts))
    where = of_tokens(claim, (report.workload.text_tokens,))
    open_fields = _unstated(claim, scope)

    def verdict(
        name: VerdictName,
        rule_id: str,
        reason: str,
        scope: str,
        bound: float,
        lack: tuple[str, ...] = (),
    ) -> Verdict:
        return Verdict(
            claim,
            name,
            rule_id,
            reason,
            scope=scope,
            tokens=tokens_of(report),
            bound=bound,
            bounds=table,
            missing=(*lack, *open_fields),
        )

    low = float(stated.span.low)
    if low <= own.factor:
        reason = (
            f"{stated.words} is inside {number(own.factor)}× for {NAMES[claim.scope]}: "
            f"{own.words}, at {where}."
        )
        if scope == "attention":
            reason += (
                f" A whole decode forward gains {number(bounds['decode'].factor)}× at most, the "
                f"LLM's prefill {number(bounds['llm-prefill'].factor)}×."
            )
        return verdict("plausible", _rule(claim, scope), reason, scope, own.factor)
    above = (
        f"{stated.words} is above {number(own.factor)}×, the most for {NAMES[scope]} ({own.words}, "
        f"at {where}, with the same, {limits.attention} attention on both sides)"
    )
    inside = [name for name in parts if low <= bounds[name].factor]
    if inside:
        part = inside[0]
        most = number(bounds[part].factor)
        reason = f"{above}; it is possible for {NAMES[part]}, at most {most}×."
        return verdict("needs scope", _rule(claim, scope), reason, part, bounds[part].factor)
    eager = {} if claim.attention else eager_gains(claim, variant)
    tried = [name for name in (scope, *parts) if name in eager]
    for name in tried:
        if low <= eager[name].factor:
            of = "" if name == scope else f" for {NAMES[name]}"
            reason = (
                f"{above}; eager attention on both sides allows up to {number(eager[name].factor)}×"
                f"{of} ({eager[name].words})."
            )
            lack = ("the kernel of attention",)
            return verdict("needs scope", EAGER, reason, name, eager[name].factor, lack)
    whatever = possible_gains(claim, variant).get(scope, 0.0)
    if low <= whatever:
        reason = (
            f"{above}; runs on {load_device(claim.device).name} whose software has nothing in "
            f"common differ by up to {number(whatever)}×."
        )
        lack = ("that both runs used the same software",)
        return verdict("needs scope", SAME_SOFTWARE, reason, scope, whatever, lack)
    excess = number((low / own.factor - 1) * 100)
    reason = f"{above}: {excess} % too much even at the least value that prints so"
    if tried:
        most_eager = max(eager[name].factor for name in tried)
        reason += f"; eager attention on both sides would allow {number(most_eager)}× at most"
    return verdict("impossible", _rule(claim, scope), f"{reason}.", scope, own.factor)


def _unstated(claim: Claim, scope: str) -> tuple[str, ...]:
    """Return what would narrow a bound."""
    found = []
    if not claim.scope:
        found.append("which part of a request is timed")
    if scope == "end-to-end" and claim.new_tokens is None:
        found.append("the length of the answers")
    if not claim.device:
        found.append("the device")
    return tuple(found)


def _rule(claim: Claim, scope: str) -> str:
    if scope == "decode":
        return KV_SHARE
    if scope == "end-to-end" and claim.device and (claim.new_tokens or 1) > 1:
        return AMDAHL
    return ATTENTION_SHARE if scope == "attention" else COST_BOUND
