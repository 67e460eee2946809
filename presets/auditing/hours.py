"""Training hours: held against the FLOPs of forward and backward passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

from ...costmodel import InvalidInput
from ...costmodel.training import explaining_share, training_step
from ..claim import Claim
from .findings import INCOMPLETE
from .gains import inverse
from .own_numbers import operand
from .printed import Span, as_printed, number, span
from .requests import of_tokens, tokens_of
from .setting import assumed_schedule, missing, report_of, tokens_known
from .verdict import Verdict, rule

TRAINING_BOUND = rule(
    "training-bound",
    "With the same recipe, training saves no larger share of its hours than of the FLOPs of its "
    "steps: data, optimizer, communication and text stay.",
)
SAME_SOURCE = rule(
    "same-source", "A gain must be that which its own source measures under the same setting."
)
#: Passes of a step over those of one that recomputes its activations: forward and a backward of
#: two against one forward more.
RECOMPUTED = Fraction(3, 4)
FAMILY = frozenset({"training time", "training ratio", "training reduction", "training speed-up"})


def trained(claim: Claim, known: Mapping[str, Claim]) -> Verdict:
    """Return the verdict on hours of training, or a share of them."""
    ratio = hour_ratio(claim, known)
    lack = list(missing(claim))
    if ratio is None:
        lack.append("the hours without the method")
    if ratio is None or lack:
        reason = f"{as_printed(claim)} alone. Missing: {'; '.join(lack)}."
        return Verdict(claim, "not checkable", INCOMPLETE, reason, missing=tuple(lack))
    report = report_of(claim)
    try:
        steps = [training_step(report, scheduled=one).total for one in (True, False)]
    except InvalidInput as error:
        return Verdict(claim, "not checkable", INCOMPLETE, f"{error}.", missing=("its steps",))
    least = Fraction(*steps)
    at = of_tokens(claim, (report.workload.text_tokens,))
    printed = f"{as_printed(claim)} ({_saved((ratio.low + ratio.high) / 2)} of the hours saved)"
    allowed = f"forward and backward passes at {at} save {_saved(least)} of their FLOPs"
    base = Verdict(
        claim,
        "plausible",
        TRAINING_BOUND,
        "",
        convention="exact",
        counts="FLOP",
        scope="training",
        tokens=tokens_of(report),
        bound=_as_quantity(claim, least),
        assumption=assumed_schedule(claim),
    )
    for other, measured in _measured(claim, known):
        if _same(claim, other) and not measured.meets(ratio):
            saved = _saved((measured.low + measured.high) / 2)
            reason = (
                f"{printed}, and the same source measures {saved} under the same setting "
                f"({as_printed(other)}); {allowed}."
            )
            return base._replace(verdict="inconsistent", rule=SAME_SOURCE, reason=reason)
    if ratio.high < least:
        reason = f"{printed} is more than that: {allowed}."
        unsure = [assumed_schedule(claim)] if assumed_schedule(claim) else []
        if not tokens_known(claim):
            unsure.append("the size of the images, or the visual tokens")
        if unsure:
            return base._replace(
                verdict="not checkable", rule=INCOMPLETE, reason=reason, missing=tuple(unsure)
            )
        if ratio.high >= least * RECOMPUTED:
            reason = (
                f"{reason[:-1]}; a dense run that recomputes its activations, where the reduced "
                "one need not, allows it."
            )
            recipe = ("that both runs had the same recipe",)
            return base._replace(verdict="needs scope", reason=reason, missing=recipe)
        return base._replace(verdict="impossible", reason=reason)
    share = explaining_share(least, (ratio.low + ratio.high) / 2)
    fixed = ""
    if share is not None:
        fixed = f"; {number(share * 100)} % of the time would not depend on visual tokens"
    elsewhere = _elsewhere(claim, known)
    reason = f"{printed}: {allowed}{fixed}.{elsewhere}"
    return base._replace(reason=reason)


def hour_ratio(claim: Claim, known: Mapping[str, Claim]) -> Span | None:
    """Return hours with the method over those without; None where only one is known."""
    own = span(claim)
    match claim.quantity:
        case "training ratio":
            return own
        case "training reduction":
            return Span(1 - own.high, 1 - own.low)
        case "training speed-up":
            return Span(inverse(own.high), inverse(own.low))
    if claim.baseline is None or claim.dense:
        return None
    dense = operand(claim, claim.baseline, known, field="baseline").span
    return Span(own.low / dense.high, own.high / dense.low) if dense.low > 0 else None


def _measured(claim: Claim, known: Mapping[str, Claim]) -> Iterator[tuple[Claim, Span]]:
    """Yield hours that the same source measures with the same method, and their ratio."""
    for other in known.values():
        alike = other.applies == claim.applies and other.paper == claim.paper
        if other.quantity != "training time" or not alike or not other.model or other is claim:
            continue
        ratio = hour_ratio(other, known)
        if ratio is not None and not missing(other):
            yield other, ratio


def _same(claim: Claim, other: Claim) -> bool:
    """Tell whether two claims are of the same model, tokens and schedule."""
    mine, its = report_of(claim), report_of(other)
    return claim.model == other.model and mine.scheduled.visual == its.scheduled.visual


def _elsewhere(claim: Claim, known: Mapping[str, Claim]) -> str:
    """Return what the same source measures at other token counts."""
    found = []
    for other, ratio in _measured(claim, known):
        tokens = report_of(other).dense.dense_visual_tokens
        if (other.schedule, other.budget) != (claim.schedule, claim.budget):
            continue
        if tokens != report_of(claim).dense.dense_visual_tokens:
            found.append(f"{_saved((ratio.low + ratio.high) / 2)} at {tokens:,}")
    unique = list(dict.fromkeys(found))
    return f" The same source saves {', '.join(unique)} visual tokens." if unique else ""


def _saved(ratio: Fraction) -> str:
    return f"{float((1 - ratio) * 100):.1f} %"


def _as_quantity(claim: Claim, ratio: Fraction) -> float | None:
    """Return the least ratio as the claim's quantity and unit would print it."""
    percent = 100 if claim.unit == "%" else 1
    match claim.quantity:
        case "training ratio":
            return float(ratio * percent)
        case "training reduction":
            return float((1 - ratio) * percent)
        case "training speed-up":
            return float(1 / ratio)
    return None
