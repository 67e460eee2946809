"""Speed-ups and shares of time: held against what the schedule can save in each scope."""

from __future__ import annotations

from collections.abc import Mapping

from ...costmodel import InvalidInput
from ..claim import Claim
from .bounds import limits
from .doubts import on_another_device, reconsidered
from .findings import INCOMPLETE
from .gains import Gain, gain, inverse
from .limits import judged
from .printed import as_printed, number, span
from .setting import assumed_schedule, missing, stand_in, tokens_known
from .verdict import Verdict, rule

OWN_COST = rule(
    "own-cost", "A speed-up is held against the FLOPs that the same source prints for the same run."
)


def speed(claim: Claim, known: Mapping[str, Claim]) -> Verdict | None:
    """Return the verdict on a gain in time; None where the claim states and implies none."""
    stated = gain(claim, known)
    if stated is None:
        return None
    verdict = _judged(claim, stated, known)
    if verdict is None:
        return None
    bound = None if verdict.bound is None else stated.as_claimed(claim, verdict.bound)
    all_bounds = [(name, stated.as_claimed(claim, factor)) for name, factor in verdict.bounds]
    bounds = tuple((name, most) for name, most in all_bounds if most is not None)
    return verdict._replace(bound=bound, bounds=bounds)


def _judged(claim: Claim, stated: Gain, known: Mapping[str, Claim]) -> Verdict | None:
    lack = missing(claim)
    if claim.cost:
        printed = _against_cost(claim, stated, known)
        if printed.verdict != "plausible" or lack:
            return printed
    if lack and claim.scope == "attention" and not claim.model and not claim.unsettled:
        other = stand_in(claim)
        if other is not None:
            return _elsewhere(claim, stated, other)
    if lack:
        return _open(claim, stated, lack)
    if claim.dense:
        return None
    return _against_bounds(claim, stated)


def _elsewhere(claim: Claim, stated: Gain, other: Claim) -> Verdict:
    """Judge attention alone, whose gain is of tokens, on another model than the unnamed one."""
    verdict = _against_bounds(other, stated)._replace(claim=claim)
    assumed = f"{other.model}, for which the method is published: the model's size is not stated"
    if verdict.verdict == "impossible":
        return verdict._replace(verdict="not checkable", missing=missing(claim))
    text = "; ".join(filter(None, (assumed, verdict.assumption)))
    return verdict._replace(assumption=text)


def _open(claim: Claim, stated: Gain, lack: tuple[str, ...]) -> Verdict:
    reason = f"{stated.words}, and nothing to hold it against. Missing: {'; '.join(lack)}."
    return Verdict(claim, "not checkable", INCOMPLETE, reason, missing=lack)


def _against_cost(claim: Claim, stated: Gain, known: Mapping[str, Claim]) -> Verdict:
    """Hold a gain against the FLOPs that its own source prints."""
    if claim.cost not in known:
        raise InvalidInput("cost", claim.cost, "is not a claim", "name the id of a claim of FLOPs")
    cost = known[claim.cost]
    own, words = span(cost), f"{as_printed(cost)} {cost.quantity}"
    if cost.quantity.endswith("reduction"):
        most = inverse(1 - own.high)
    elif cost.quantity.endswith("ratio"):
        most = inverse(own.low)
    elif cost.quantity.endswith("factor"):
        most = own.high
    else:
        raise InvalidInput("cost", claim.cost, "is no share of FLOPs", "name a ratio or reduction")
    bound = float(most)
    if stated.span.low <= most:
        reason = (
            f"{stated.words} is inside {number(bound)}×, which the printed {words} allows at most."
        )
        return Verdict(claim, "plausible", OWN_COST, reason, scope=claim.scope or None, bound=bound)
    reason = (
        f"{stated.words} is above {number(bound)}×, the most that the printed {words} allows: the "
        "time is of a part that shrinks more, or attention kept its scores in memory."
    )
    lack = ("which part of a request is timed",)
    return Verdict(claim, "needs scope", OWN_COST, reason, bound=bound, missing=lack)


def _against_bounds(claim: Claim, stated: Gain) -> Verdict:
    """Hold a gain against what the schedule saves."""
    found = limits(claim)
    verdict = judged(claim, stated, found)
    if verdict.verdict in ("impossible", "needs scope"):
        verdict = on_another_device(claim, stated, found.cost, verdict)
    if verdict.verdict in ("plausible", "not checkable"):
        return _conditional(claim, verdict)
    return reconsidered(claim, stated, verdict)


def _conditional(claim: Claim, verdict: Verdict) -> Verdict:
    """Add what a plausible verdict rests on besides the claim."""
    assumed = []
    if assumed_schedule(claim):
        assumed.append(assumed_schedule(claim))
    if not tokens_known(claim):
        assumed.append("one image of the model's default size, which no source states")
    return verdict._replace(assumption="; ".join(assumed))
