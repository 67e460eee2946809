"""Costs, tokens and caches: recomputed under every reading that the claim allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from ..claim import Claim
from .findings import (
    FITTING_RANK,
    INCOMPLETE,
    NEAR_RANK,
    PRINTING_RANK,
    RECOMPUTE,
    Found,
    order,
    told,
    verdict_of,
)
from .fitting import (
    FIT,
    MOST_CHANCE,
    ONE_PROMPT,
    Table,
    chance,
    contradicting,
    fitted,
    one_prompt,
    several_prompts,
)
from .measures import WHOLE, Measure, measures
from .printed import Span, as_printed, difference, near, span
from .requests import Prompt, measured, of_tokens, prompts, tokens_of
from .setting import assumed_schedule, missing, report_of, tokens_known
from .verdict import Verdict

#: Relative half of a last digit above which a figure tells readings apart no more.
BLUNT = Fraction(2, 100)
ALONE = Table()


def recomputed(claim: Claim, product: Span | None = None, beside: Table = ALONE) -> Verdict:
    """Return the verdict on a cost, a token count or a cache.

    Args:
        claim: What to recompute.
        product: Values that a rounded share leaves open, of a figure that was multiplied out.
        beside: The claims of the same table, which have the same prompt.
    """
    if claim.dense and claim.quantity == "visual tokens" and claim.visual_tokens:
        # A count is not its own proof: it has to follow from the model.
        found = recomputed(claim.model_copy(update={"visual_tokens": None}), product, beside)
        return found._replace(claim=claim)
    lack = missing(claim)
    if lack:
        reason = f"Not recomputed. Missing: {'; '.join(lack)}."
        return Verdict(claim, "not checkable", INCOMPLETE, reason, missing=lack)
    wanted = measures(claim, report_of(claim))
    if not wanted:
        reason = f"Nothing here computes {claim.quantity}."
        lacking = ("a closed form of the quantity",)
        return Verdict(claim, "not checkable", INCOMPLETE, reason, missing=lacking)
    agreeing = [
        one for prompt in prompts(claim) for one in _agreeing(claim, wanted, prompt, product)
    ]
    sharp = [one for one in agreeing if _sharp(claim, one)]
    if sharp:
        return _reproduced(claim, sharp)
    if agreeing:
        return _blunt(claim, agreeing)
    fits = list(fitted(claim, wanted))
    if fits:
        shared = [one for one in fits if not contradicting(one, beside.named)]
        if shared:
            return _assuming(claim, wanted, shared, [*beside.named, *beside.naming()])
        return _doubted(claim, several_prompts(claim, fits, beside.named), beside)
    from .diagnosis import diagnosed  # most figures agree

    return _doubted(claim, diagnosed(claim, wanted), beside)


def _doubted(claim: Claim, verdict: Verdict, beside: Table) -> Verdict:
    """Return the verdict once it is asked whether the table's dense figure is as its setting says.

    Where it is not, model, image or prompt are not those of the table, and nothing is wrong yet.
    """
    if verdict.rule not in (ONE_PROMPT, RECOMPUTE) or claim.dense:
        return verdict
    for other in beside.named:
        if not other.dense or other.text_tokens is not None or missing(other):
            continue
        if not recomputed(other).verdict.startswith("reproduced"):
            reason = (
                f"{verdict.reason} Nor does its setting give the {as_printed(other)} of the dense "
                "model beside it, with any usual prompt."
            )
            lack = ("the visual tokens and the prompt of the table",)
            return verdict._replace(
                verdict="not checkable", rule=INCOMPLETE, reason=reason, missing=lack
            )
    return verdict


def _agreeing(
    claim: Claim, wanted: tuple[Measure, ...], prompt: Prompt, product: Span | None
) -> Iterator[Found]:
    exact, allowed = span(claim), near(claim)
    if product is not None and product.meets(exact):
        allowed = Span(min(allowed.low, product.low), max(allowed.high, product.high))
    report = report_of(claim, prompt.lengths[0])
    for one, value in zip(wanted, measured(claim, wanted, prompt), strict=True):
        if allowed.holds(value) and one.rank <= (
            PRINTING_RANK if exact.holds(value) else NEAR_RANK
        ):
            words = of_tokens(claim, prompt.lengths, visual_lengths=prompt.visual)
            yield Found(one, value, words, tokens_of(report), one.rank + prompt.rank)


def _sharp(claim: Claim, one: Found) -> bool:
    """Tell whether a figure has the digits to be reproduced by this reading.

    Where half a unit of its last digit is more than 2 % of it, formulas that differ by a third
    print alike: a reading must then be stated, or come within 2 %.
    """
    printed, value = span(claim), claim.base
    assert value is not None, "a text has no values"
    half = (printed.high - printed.low) / 2 if claim.hedge != "at least" else claim.step / 2
    stated = bool(claim.convention) or one.measure.convention is None
    if half <= BLUNT * abs(value) or (stated and one.rank == 0):
        return True
    return abs(difference(claim, one.value)) <= BLUNT


def _blunt(claim: Claim, found: list[Found]) -> Verdict:
    """Return the verdict on a figure that prints right, of digits too few to tell readings."""
    best = min(found, key=lambda one: order(claim, one))
    reason = (
        f"{told(claim, best).removesuffix('.')}, of digits too few to tell one reading from "
        "another."
    )
    verdict = verdict_of(claim, best, reason)
    return verdict._replace(verdict="plausible", missing=("another digit",))


def _reproduced(claim: Claim, found: list[Found]) -> Verdict:
    ordered = sorted(found, key=lambda one: order(claim, one))
    best = ordered[0]
    others = _others(best, ordered[1:])
    reason = told(claim, best)
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        reason += f" So {'does' if len(others) == 1 else 'do'} {'; '.join(others[:3])}{more}."
    assumed = [assumed_schedule(claim)] if assumed_schedule(claim) else []
    if not tokens_known(claim):
        plan = report_of(claim).dense
        size = "×".join(map(str, plan.images[0])) if plan.images else "default"
        assumed.append(
            f"one image of {size} pixels, the model's own default, which no source states"
        )
    odd = best.measure.rank > FITTING_RANK or best.measure.scope in WHOLE
    if best.measure.convention and odd and not _reading_stated(claim):
        assumed.append(f"that the {best.measure.words} is meant")
    if assumed:
        text = "; ".join(assumed)
        verdict = verdict_of(claim, best, reason)
        return verdict._replace(verdict="reproduced with an assumption", rule=FIT, assumption=text)
    return verdict_of(claim, best, reason)


def _reading_stated(claim: Claim) -> bool:
    """Tell whether the source says by what formula or of what a cost is."""
    return bool(claim.convention or claim.scope) or "encoder" in claim.quantity


def _others(best: Found, rest: list[Found]) -> list[str]:
    """Return other readings in words, one for each formula or different count."""
    seen = {(best.measure.convention, best.measure.counts, best.value)}
    words = []
    for one in rest:
        measure = one.measure
        same = [
            other
            for other in seen
            if other[:2] == (measure.convention, measure.counts)
            and (measure.convention is not None or other[2] == one.value)
        ]
        if not same:
            words.append(measure.words)
        seen.add((measure.convention, measure.counts, one.value))
    return words


def _assuming(
    claim: Claim, wanted: tuple[Measure, ...], fits: list[Found], beside: Sequence[Claim]
) -> Verdict:
    """Return the verdict on a figure that a fit gives: an assumption if that proves something."""
    shares = [(one, *one_prompt(one, claim, beside)) for one in fits]
    best, other, against = min(
        shares, key=lambda one: (one[1] is None, bool(one[2]), *order(claim, one[0]))
    )
    reason = f"{told(claim, best)} Assumed: {best.assumption}."
    verdict = verdict_of(claim, best, reason)
    text = "; ".join(filter(None, (best.assumption, assumed_schedule(claim))))
    verdict = verdict._replace(rule=FIT, assumption=text)
    lack = ("the prompt", *((assumed_schedule(claim),) if assumed_schedule(claim) else ()))
    if against:
        doubted = f"{reason} {against}"
        return verdict._replace(verdict="plausible", rule=ONE_PROMPT, reason=doubted, missing=lack)
    if other is not None:
        support = f" Such a prompt gives the {as_printed(other)} beside it too."
        return verdict._replace(
            verdict="reproduced with an assumption", reason=f"{reason}{support}"
        )
    found = chance(claim, wanted)
    if found > MOST_CHANCE:
        reason += f" That proves little: of all figures, {found * 100:.0f} % would find a prompt."
        return verdict._replace(verdict="plausible", reason=reason, missing=lack)
    return verdict._replace(verdict="reproduced with an assumption")
