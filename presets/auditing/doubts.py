"""A gain above its bound, once the setting itself is questioned."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from ...costmodel import InvalidInput
from ..claim import Claim
from ..method import load_method
from .bounds import Bound, cost_bounds, limits
from .diagnosis import REUSE, reused
from .findings import INCOMPLETE
from .gains import Gain
from .limits import ATTENTION_SHARE, KV_SHARE, SAME_SOFTWARE, judged
from .printed import number
from .setting import Variant, assumed_schedule, report_of, tokens_known
from .verdict import Verdict, rule

DEVICE_CEILING = rule(
    "device-ceiling",
    "On its device a schedule gains no more than the times of its kernels allow: weights are read "
    "and layers launched for few tokens too.",
)


#: Times as many visual tokens as the default image, and requests together, that no claim exceeds.
_MANY, _TOGETHER = 32, 4096


def reconsidered(claim: Claim, stated: Gain, verdict: Verdict) -> Verdict:
    """Return the verdict on a gain above its bound once the setting itself is questioned."""
    if claim.batch is None and verdict.verdict == "impossible":
        verdict = _batched(claim, stated, verdict)
    if assumed_schedule(claim):
        verdict = _whatever_share(claim, stated, verdict)
    if not tokens_known(claim) and verdict.verdict in ("impossible", "needs scope"):
        return _with_larger_images(claim, stated, verdict)
    if assumed_schedule(claim):
        return verdict
    variant = reused(claim)
    if variant is not None:
        own = cost_bounds(claim, report_of(claim, variant=variant))[claim.scope or "end-to-end"]
        if stated.span.low <= Fraction(own.factor):
            reason = (
                f"{verdict.reason} Passes that reuse its cache gain up to {number(own.factor)}×."
            )
            lack = ("that the compressed cache is reused", *verdict.missing)
            return verdict._replace(
                verdict="needs scope", rule=REUSE, reason=reason, bound=own.factor, missing=lack
            )
    return verdict


def _with_larger_images(claim: Claim, stated: Gain, verdict: Verdict) -> Verdict:
    """Return the verdict once images may be larger, which makes more of the cost visual."""
    lack = ("the size of the images, or the visual tokens", *verdict.missing)
    many = report_of(claim).dense.dense_visual_tokens * _MANY
    larger = (_least(claim) if assumed_schedule(claim) else None) or claim
    larger = larger.model_copy(update={"visual_tokens": many})
    bare = Variant(selects=not assumed_schedule(claim))
    inside = judged(larger, stated, limits(larger, bare), bare)
    if inside.verdict == "impossible":
        return verdict
    reason = (
        f"{verdict.reason.removesuffix('.')}. At {many:,} visual tokens it is possible, and their "
        "number is not stated."
    )
    return verdict._replace(verdict="needs scope", reason=reason, missing=lack)


def on_another_device(
    claim: Claim, stated: Gain, bounds: Mapping[str, Bound], verdict: Verdict
) -> Verdict:
    """Return the verdict on a gain that only the claim's device rules out.

    A whole answer is left out: of it, FLOPs and bytes bound no more than its fastest stage.
    """
    scope = claim.scope or "end-to-end"
    answers = scope == "end-to-end" and (claim.new_tokens or 1) > 1
    own = bounds[scope]
    unproved = verdict.verdict == "impossible" or verdict.rule == SAME_SOFTWARE
    if answers or not unproved or float(stated.span.low) > own.factor:
        return verdict
    reason = (
        f"{_until_proof(verdict.reason)}; {own.words} alone would allow {number(own.factor)}×, on "
        "a device that is as busy with few tokens, or with another baseline."
    )
    lack = ("how both runs were timed", *verdict.missing)
    return verdict._replace(verdict="needs scope", rule=DEVICE_CEILING, reason=reason, missing=lack)


def _until_proof(reason: str) -> str:
    """Return a reason without what follows the bound."""
    return reason.split("on both sides)")[0] + "on both sides)"


def _batched(claim: Claim, stated: Gain, verdict: Verdict) -> Verdict:
    """Return the verdict once requests may run together, which makes the cache's share grow."""
    together = claim.model_copy(update={"batch": _TOGETHER})
    own = cost_bounds(together, report_of(together))[claim.scope or "end-to-end"]
    if float(stated.span.low) > own.factor:
        return verdict
    reason = (
        f"{_until_proof(verdict.reason)}; with {_TOGETHER:,} requests together the bound is "
        f"{number(own.factor)}×."
    )
    lack = ("the batch", *verdict.missing)
    return verdict._replace(verdict="needs scope", rule=KV_SHARE, reason=reason, missing=lack)


def _whatever_share(claim: Claim, stated: Gain, verdict: Verdict) -> Verdict:
    """Judge by the least that the method can keep, where its schedule is a guess of ours."""
    least = _least(claim)
    if least is None:
        return verdict._replace(
            verdict="not checkable",
            rule=INCOMPLETE,
            missing=(assumed_schedule(claim), *verdict.missing),
        )
    bare = Variant(selects=False)
    report = report_of(least, variant=bare)
    extreme = judged(least, stated, limits(least, bare), bare)
    if extreme.verdict in ("impossible", "needs scope"):
        reason = (
            f"{extreme.reason.removesuffix('.')}; this holds whatever share of the tokens the "
            f"method keeps, since the bound is that of {least.budget}."
        )
        rule_id = extreme.rule
        if min(report.scheduled.ffn) == min(report.dense.ffn):
            rule_id = ATTENTION_SHARE  # every token still passes every FFN
        return extreme._replace(claim=claim, rule=rule_id, reason=reason)
    lack = (assumed_schedule(claim), *verdict.missing)
    reason = (
        f"{verdict.reason} The schedule is a guess: with the least that the method can keep, the "
        f"bound is {number(extreme.bound or 0)}×."
    )
    return verdict._replace(verdict="not checkable", rule=INCOMPLETE, reason=reason, missing=lack)


def _least(claim: Claim) -> Claim | None:
    """Return the claim at the smallest budget of its method, if it takes any."""
    method = load_method(claim.applies)
    if method.budget is None:
        return None
    for budget in range(1, 65):
        own = claim.model_copy(update={"budget": budget})
        try:
            report_of(own, variant=Variant(selects=False))
        except InvalidInput:
            continue
        return own
    return None
