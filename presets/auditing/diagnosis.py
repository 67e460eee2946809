"""Why a figure disagrees with its setting: slips that are known, or the tokens it would need."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from ...costmodel import InvalidInput
from ..claim import UNITS, Claim
from .findings import FITTING_RANK, INCOMPLETE, RECOMPUTE
from .fitting import LONG_PROMPT, USUAL_PROMPT, fitted_text, plausibility
from .measures import Measure, values
from .printed import NEAR, as_printed, difference, in_unit, near, number, shown, span
from .requests import Prompt, measured, of_tokens, prompts, tokens_of
from .setting import Variant, as_json, assumed_schedule, keeps_all, report_of, tokens_known
from .verdict import Verdict, rule

UNIT_SLIP = rule(
    "unit-slip",
    "A figure that is right but for a factor of 1,000, for MACs instead of FLOPs, or for what is "
    "left instead of what is saved, contradicts its unit.",
)
NOMINAL = rule(
    "nominal-tokens",
    "A cost, a cache or an average at the nominal tokens of a method is not that of its schedule.",
)
RESERVE = rule(
    "reserve", "A method that only reads less, or keeps a reserve, stores as much as before."
)
REUSE = rule(
    "cache-reuse",
    "A pass that computes everything and stores little saves nothing: passes that reuse its cache "
    "do.",
)
#: Share of the processed visual tokens below which what is stored serves later passes.
_FEW = Fraction(1, 10)
#: Relative difference up to which a figure counts as that of the nominal tokens.
_NOMINALLY = 0.02


def diagnosed(claim: Claim, wanted: tuple[Measure, ...]) -> Verdict:
    """Return the verdict on a figure that no reading gives, with what would give it."""
    for explain in (_reused, _reserved, _nominal, _slipped):
        verdict = explain(claim, wanted)
        if verdict is not None:
            return verdict
    return _disagreeing(claim, wanted)


def reused(claim: Claim) -> Variant | None:
    """Return the passes that reuse a compressed cache, if the schedule stores so little."""
    plan = report_of(claim).scheduled
    stored, processed = sum(plan.visual_stored), sum(plan.visual)
    if claim.dense or plan.branches or not 0 < stored <= _FEW * processed:
        return None
    layers = sum(layer.in_sequence for layer in plan.layout)
    return flat(max(1, round(stored / layers)))


def flat(tokens: int) -> Variant:
    """Return so many visual tokens in all layers."""
    return Variant(as_json({"compress": {"tokens": tokens}}))


def _reused(claim: Claim, wanted: tuple[Measure, ...]) -> Verdict | None:
    variant = reused(claim)
    if variant is None:
        return None
    first = measured(claim, wanted, prompts(claim)[0])[0]
    lengths: list[tuple[Prompt, str]] = [(prompt, "") for prompt in prompts(claim)]
    if claim.text_tokens is None and not claim.text_lengths:
        lengths += [
            (Prompt((text,), 1), f" {text} text tokens") for text in range(1, USUAL_PROMPT + 1)
        ]
    for prompt, words in lengths:
        for one, value in zip(wanted, measured(claim, wanted, prompt, variant), strict=True):
            inside = one.scope is None or one.scope.startswith("LLM l")  # no encoder runs again
            if inside and one.rank <= FITTING_RANK and span(claim).holds(value):
                whole = shown(claim, first, wanted[0].counts)
                rest = shown(claim, value, one.counts)
                reason = (
                    f"The first pass computes every token, which makes it {whole}. For passes that "
                    f"reuse its cache it is {rest}, as printed ({one.words}, {_at(claim, prompt)})."
                )
                fitted = ""
                if words:
                    fitted = f"{words.strip()}, {plausibility(*prompt.lengths * 2)}"
                return Verdict(
                    claim,
                    "needs scope",
                    REUSE,
                    reason,
                    one.convention,
                    one.counts,
                    one.scope,
                    tokens_of(report_of(claim, prompt.lengths[0])),
                    in_unit(claim, value),
                    difference(claim, value),
                    assumption=fitted,
                    missing=("that the compressed cache is reused",),
                )
    return None


def _reserved(claim: Claim, wanted: tuple[Measure, ...]) -> Verdict | None:
    if claim.quantity not in ("kv ratio", "kv reduction", "kv bytes"):
        return None
    if not keeps_all(claim):
        return None
    report = report_of(claim)
    plan, dense = report.scheduled, report.dense
    stored = measured(claim, wanted, prompts(claim)[0])[0]
    read = number(Fraction(sum(plan.visual_read), sum(dense.visual_read)) * 100)
    reason = (
        f"The schedule keeps all keys and values, and decode forwards read {read} % of the visual "
        f"ones: the {claim.quantity} of what is stored is {shown(claim, stored)}."
    )
    return _inconsistent(claim, RESERVE, reason, wanted[0], stored)


def _nominal(claim: Claim, wanted: tuple[Measure, ...]) -> Verdict | None:
    """Tell whether the figure is that of the budget's tokens in all layers."""
    if claim.budget is None or claim.dense:
        return None
    for prompt in prompts(claim):
        own = measured(claim, wanted, prompt)
        try:
            nominal = measured(claim, wanted, prompt, flat(claim.budget))
        except InvalidInput:
            return None  # more tokens than enter
        for one, value, true in zip(wanted, nominal, own, strict=True):
            close = abs(difference(claim, value)) <= _NOMINALLY
            if abs(value - true) <= NEAR * abs(true):
                continue  # the schedule has its nominal count
            if one.rank <= FITTING_RANK and close and not near(claim).holds(true):
                average = number(report_of(claim).scheduled.average_visual_tokens)
                reason = (
                    f"{claim.budget:,} visual tokens in every layer would make it "
                    f"{shown(claim, value, one.counts)} ({one.words}); the schedule has {average} "
                    f"on average, which make {shown(claim, true, one.counts)}."
                )
                if "token" in claim.quantity:
                    what = "is" if span(claim).holds(value) else "is close to"
                    reason = (
                        f"{as_printed(claim)} {what} the method's nominal count, {claim.budget:,}; "
                        f"its schedule has {average} visual tokens, averaged over the decoder's "
                        "layers."
                    )
                return _inconsistent(claim, NOMINAL, reason, one, true)
    return None


def _slipped(claim: Claim, wanted: tuple[Measure, ...]) -> Verdict | None:
    allowed = near(claim)
    dimension = UNITS[claim.unit].dimension
    for prompt in prompts(claim):
        for one, value in zip(wanted, measured(claim, wanted, prompt), strict=True):
            if one.rank > FITTING_RANK + 1:
                continue
            words = ""
            if dimension in ("compute", "bytes") and allowed.holds(value * 1000):
                words = "1,000 times too large"
            elif dimension in ("compute", "bytes") and allowed.holds(value / 1000):
                words = "1,000 times too small"
            elif claim.unit.endswith("MAC") and allowed.holds(value * 2):
                words = "in FLOPs, and its unit in MACs"
            elif (
                dimension == "share"
                and abs(value - Fraction(1, 2)) > Fraction(1, 10)
                and span(claim).holds(1 - value)
            ):
                words = "of what is left instead of saved, or the other way round"
            if words:
                unit = shown(claim, value, one.counts)
                reason = f"The figure is {words}: {one.words} at {_at(claim, prompt)}: {unit}."
                return _inconsistent(claim, UNIT_SLIP, reason, one, value)
    return None


def _at(claim: Claim, prompt: Prompt) -> str:
    return of_tokens(claim, prompt.lengths, visual_lengths=prompt.visual)


def _disagreeing(claim: Claim, wanted: tuple[Measure, ...]) -> Verdict:
    """Return what the setting gives, what would give the figure, or what is missing to tell."""
    prompt = prompts(claim)[0]
    natural = [one for one in wanted if one.rank <= FITTING_RANK] or [wanted[0]]
    own = measured(claim, tuple(natural), prompt)
    best = min(range(len(own)), key=lambda at: abs(difference(claim, own[at])))
    one, value = natural[best], own[best]
    ends = [(amount, natural[at].counts) for at, amount in enumerate(own)]
    least, most = (shown(claim, *end) for end in (min(ends, key=_amount), max(ends, key=_amount)))
    between = "" if least == most else f"; natural readings give {least} to {most}"
    reason = (
        f"{as_printed(claim)} is printed, and {one.words} at {_at(claim, prompt)}: "
        f"{shown(claim, value, one.counts)}{between}."
    )
    if _of_tokens_alone(claim):
        reason += f" {as_printed(claim)} is that of the visual tokens alone."
    lack = []
    if not tokens_known(claim):
        lack.append("the size of the images, or the visual tokens")
    if assumed_schedule(claim):
        lack.append(assumed_schedule(claim))
    if claim.text_tokens is None and not claim.text_lengths:
        needed = _needed_text(claim, natural)
        if needed:
            lack.append(f"the prompt, which would have {needed} text tokens")
    if lack:
        verdict = _inconsistent(claim, INCOMPLETE, reason, one, value)
        return verdict._replace(verdict="not checkable", missing=tuple(lack))
    hint = would_give(claim, one, prompt)
    return _inconsistent(claim, RECOMPUTE, f"{reason}{hint}", one, value)


def _amount(end: tuple[Fraction, str | None]) -> Fraction:
    return end[0]


def _of_tokens_alone(claim: Claim) -> bool:
    """Tell whether a share of costs is that of the tokens, averaged over the layers."""
    plan = report_of(claim).scheduled
    kept = plan.average_visual_tokens / (plan.dense_visual_tokens or 1)
    shares = {"flops ratio": kept, "flops reduction": 1 - kept}
    return claim.quantity in shares and span(claim).holds(shares[claim.quantity])


def _needed_text(claim: Claim, natural: list[Measure]) -> str:
    """Return the text tokens that bring some natural reading to the figure, in words, if any."""
    target = claim.base
    assert target is not None, "a text has no values"
    for one in natural:
        none, most = (values(report_of(claim, text), (one,))[0] for text in (0, LONG_PROMPT))
        if none == most or (target > none) != (most > none):
            continue
        fit = fitted_text(claim, one, span(claim))
        if fit is not None:
            return f"{fit[0]:,}" if fit[0] == fit[1] else f"{fit[0]:,} to {fit[1]:,}"
        reachable = one.form in ("value", "factor") or 0 < target < 1
        if reachable and (most < target if most > none else most > target):
            return f"more than {LONG_PROMPT:,}"
    return ""


def would_give(claim: Claim, one: Measure, prompt: Prompt) -> str:
    """Return the visual tokens in all layers with which a reading prints as the figure."""
    plan = report_of(claim).dense
    dense = plan.dense_visual_tokens
    if "token" in claim.quantity or (claim.dense and one.form != "value"):
        return ""

    def variant(tokens: int) -> Variant:
        return Variant(visual_tokens=tokens) if claim.dense else flat(tokens)

    def value(tokens: int) -> Fraction:
        return measured(claim, (one,), prompt, variant(tokens))[0]

    most = 64 * dense if claim.dense else dense
    try:
        tokens = _solved(value, claim.base or Fraction(0), most)
    except InvalidInput:
        return ""
    if tokens is None or not near(claim).holds(value(tokens)):
        return ""
    share = f" ({100 * tokens / dense:.1f} % of them)" if not claim.dense else ""
    return f" {tokens:,} visual tokens in every layer{share} would give it."


def _solved(value: Callable[[int], Fraction], target: Fraction, most: int) -> int | None:
    """Return the tokens whose value is nearest to a target, of a monotone function."""
    low, high = 1, most
    rising = value(high) > value(low)
    while low < high:
        middle = (low + high) // 2
        found = value(middle)
        if (found >= target) if rising else (found <= target):
            high = middle
        else:
            low = middle + 1
    if low == 1:
        return low
    return min((low - 1, low), key=lambda tokens: abs(value(tokens) - target))


def _inconsistent(
    claim: Claim, rule_id: str, reason: str, one: Measure, value: Fraction
) -> Verdict:
    return Verdict(
        claim,
        "inconsistent",
        rule_id,
        reason,
        one.convention,
        one.counts,
        one.scope,
        tokens_of(report_of(claim)),
        in_unit(claim, value),
        difference(claim, value),
    )
