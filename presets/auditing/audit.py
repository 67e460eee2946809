"""The audit of a claim: each family of quantities by its own rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from ..claim import QUANTITIES, Claim
from ..device import load_device
from ..loader import load_model
from ..method import load_method
from . import hours, peaks
from .findings import INCOMPLETE
from .fitting import Table
from .hours import trained
from .own_numbers import OWN_NUMBERS, agreement, disagreement, product
from .peaks import remembered
from .printed import as_printed
from .recompute import recomputed
from .setting import missing
from .speed import speed
from .times import timed
from .verdict import Verdict, VerdictName, rule

#: Quantities that compare two runs.
_RELATIVE = re.compile("(ratio|reduction|factor|speed-up|increase)$")
QUALITY = rule("quality", "Accuracy is recorded, never judged.")
NO_NUMBER = rule("no-number", "A text, or a figure that is no plain number, is recorded.")
CALCULATED = rule(
    "calculated", "A figure that was worked out here is no published claim, and is not judged."
)
STAND_IN = rule(
    "stand-in",
    "Where another model stands for the source's, figures are assumed at best, and none is wrong.",
)
#: What of two verdicts on a time counts: the worse one, but for what could not be checked.
_WORST: tuple[VerdictName, ...] = (
    "impossible",
    "inconsistent",
    "needs scope",
    "plausible",
    "not checkable",
)


def audit(claim: Claim, known: Mapping[str, Claim] | None = None) -> Verdict:
    """Return the verdict on a claim.

    Args:
        claim: What to audit. Only its typed fields count, not its id, names or source.
        known: Claims that its relations and baselines name.

    Raises:
        InvalidInput: A model, method, device or relation that does not exist, or a schedule that
            does not fit the model.
    """
    _refuse_unknown(claim.model, claim.applies, claim.device)
    if not claim.judged or claim.value is None:
        return _recorded(claim)
    if claim.verification == "calculated":
        reason = "It was worked out here from a published setting; no source prints it."
        lack = ("a source that prints the figure",)
        return Verdict(claim, "not checkable", CALCULATED, reason, missing=lack)
    known = known or {}
    contradicted = disagreement(claim, known)
    if contradicted is not None:
        return contradicted
    verdict = _judged(claim, known)
    if claim.supposed:
        verdict = _as_read(claim, known, verdict)
    if claim.stands_in:
        verdict = _assumed(claim, known, verdict)
    if claim.verification == "memory":
        verdict = verdict._replace(reason=f"{verdict.reason} The figure was not seen in a source.")
    follows = agreement(claim, known)
    if not follows:
        return verdict
    if verdict.verdict == "not checkable" and missing(claim) and _worked_out(claim):
        reason = f"{follows} Those are not recomputed: {'; '.join(verdict.missing)}."
        return verdict._replace(
            verdict="reproduced with an assumption",
            rule=OWN_NUMBERS,
            reason=reason,
            value=None if claim.value is None else float(claim.value),
            relative_difference=None,
            assumption="the figures that it is worked out from, which are not recomputed",
        )
    return verdict._replace(reason=f"{verdict.reason} {follows}")


def _judged(claim: Claim, known: Mapping[str, Claim]) -> Verdict:
    """Return the verdict of the family that the quantity belongs to."""
    quantity, dimension = claim.quantity, QUANTITIES[claim.quantity]
    if claim.dense and _RELATIVE.search(quantity):
        reason = f"A run without a method has no {quantity} over itself."
        lack = ("what it is compared with",)
        return Verdict(claim, "not checkable", INCOMPLETE, reason, missing=lack)
    if quantity in hours.FAMILY:
        return trained(claim, known)
    if quantity in peaks.FAMILY:
        return remembered(claim, known)
    if dimension in ("time", "rate"):
        gained, taken = speed(claim, known), timed(claim)
        return taken if gained is None else _both(gained, taken)
    if quantity.startswith(("speed-up", "time ", "throughput ")):
        gained = speed(claim, known)
        assert gained is not None, "these quantities state a gain"
        return gained
    return recomputed(claim, product(claim, known), _table(claim, known))


def _as_read(claim: Claim, known: Mapping[str, Claim], verdict: Verdict) -> Verdict:
    """Return a verdict with the reading that it supposes, and what is said without that."""
    words = {
        "visual_tokens": f"{claim.visual_tokens or 0:,} visual tokens",
        "text_tokens": f"{claim.text_tokens or 0:,} text tokens",
        "new_tokens": f"{claim.new_tokens or 0:,} new tokens",
        "batch": f"batch {claim.batch}",
        "attention": f"{claim.attention} attention on both sides",
    }
    reading = " and ".join(words[name] for name in claim.supposed)
    blank: dict[str, object] = {
        name: "" if name == "attention" else None for name in claim.supposed
    }
    without = _judged(claim.model_copy(update=blank | {"supposed": ()}), known)
    reason = f"Read with {reading}, which the source does not state: {verdict.reason}"
    if without.verdict != verdict.verdict:
        reason += f" Not read so, the verdict is {without.verdict}: {without.reason}"
    assumption = "; ".join(filter(None, (reading, verdict.assumption)))
    name = verdict.verdict
    if name == "reproduced":
        name = "reproduced with an assumption"
    return verdict._replace(verdict=name, reason=reason, assumption=assumption)


def _assumed(claim: Claim, known: Mapping[str, Claim], verdict: Verdict) -> Verdict:
    """Return a verdict on a model that stands for the source's own.

    A figure is then reproduced only where the same reading gives the one printed beside it.
    """
    stated = verdict._replace(
        assumption="; ".join(filter(None, (claim.stands_in, verdict.assumption)))
    )
    if verdict.verdict in ("plausible", "not checkable"):
        return stated
    if verdict.verdict in ("reproduced", "reproduced with an assumption"):
        beside = [one for one in _table(claim, known).named if one.quantity == claim.quantity]
        others = [_judged(one, known) for one in beside]
        same = [other.verdict for other in others if other.convention == verdict.convention]
        if all(one.startswith("reproduced") for one in same) and len(same) == len(others):
            return stated._replace(verdict="reproduced with an assumption", rule=STAND_IN)
        values = ", ".join(as_printed(one) for one in beside)
        reason = f"{verdict.reason} The same reading does not give the {values} beside it."
        stated = stated._replace(reason=reason)
    lack = (f"a preset of the model itself: {claim.stands_in}", *verdict.missing)
    return stated._replace(verdict="not checkable", rule=STAND_IN, missing=lack)


def _both(gained: Verdict, taken: Verdict) -> Verdict:
    """Return the worse of the verdicts on a gain and on the time itself, with both reasons."""
    worse, other = gained, taken
    places = [_WORST.index(one.verdict) for one in (gained, taken)]
    if places[1] < places[0] or (places[1] == places[0] and taken.verdict != "plausible"):
        worse, other = taken, gained
    if other.verdict == "not checkable":
        return worse
    return worse._replace(reason=f"{worse.reason} {other.reason}")


def _table(claim: Claim, known: Mapping[str, Claim]) -> Table:
    """Return the costs of the same model that a claim names, and others of its paper."""

    def alike(ids: list[str]) -> list[Claim]:
        others = [known[of] for of in dict.fromkeys(ids) if of in known and of != claim.id]
        return [
            one
            for one in others
            if one.model == claim.model
            and one.quantity.startswith("flops")
            and one.value is not None
        ]

    def naming() -> list[Claim]:
        return alike(
            [
                one
                for one, other in known.items()
                if claim.id in _named(other) or (claim.paper and other.paper == claim.paper)
            ]
        )

    return Table(alike(_named(claim)), naming)


def _named(claim: Claim) -> list[str]:
    """Return the ids of the figures that one is printed beside."""
    named = [of for relation in claim.follows for of in relation.of if isinstance(of, str)]
    return [*named, claim.baseline] if isinstance(claim.baseline, str) else named


def _worked_out(claim: Claim) -> bool:
    """Tell whether a figure is a share of costs, tokens or caches that are printed beside it.

    Times are not: that two of them are printed does not make their ratio possible.
    """
    relative = claim.quantity.endswith(("ratio", "reduction", "factor"))
    costs = claim.quantity.startswith(("flops", "token", "kv"))
    return relative and costs


@lru_cache(maxsize=1024)
def _refuse_unknown(model: str, method: str, device: str) -> None:
    """Refuse names that nothing has, whether or not the rules need them.

    Raises:
        UnknownName: The first of them.
    """
    if model:
        load_model(model)
    if method:
        load_method(method)
    if device:
        load_device(device)


def _recorded(claim: Claim) -> Verdict:
    if claim.judged or claim.unit == "text":
        reason = "The source prints no plain number; it is recorded as printed."
        return Verdict(claim, "not checkable", NO_NUMBER, reason, missing=("a number",))
    reason = "Accuracy depends on weights and data; it is recorded, never judged."
    return Verdict(claim, "not checkable", QUALITY, reason, missing=("a run of the model",))
