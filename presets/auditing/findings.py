"""A reading that gives a figure, and what is said of it."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from ..claim import Claim
from .measures import Measure
from .printed import difference, digits, in_unit, shown
from .verdict import Verdict, rule

RECOMPUTE = rule(
    "recompute",
    "A cost, a ratio or a count is what model, schedule and request give: to the last printed "
    "digit or within 1 %, with nothing fitted.",
)


INCOMPLETE = rule(
    "incomplete", "A figure whose model, setting or tokens are not stated cannot be recomputed."
)


#: Readings that are natural enough to be believed when they print as the figure, when they come
#: within 1 %, and for a fit: among many readings some value is always near.
PRINTING_RANK, NEAR_RANK, FITTING_RANK = 3, 2, 1


#: Relative difference below which a percentage with one decimal says nothing.
_NEARLY = 0.0005


class Found(NamedTuple):
    """A reading that gives the figure.

    Attributes:
        measure: What is measured.
        value: In base units.
        words: The tokens for which it is measured.
        tokens: LLM tokens of the dense model.
        rank: How unnatural reading and tokens are.
        assumption: What was fitted.
        text: The least and the most text tokens, where these were.
    """

    measure: Measure
    value: Fraction
    words: str
    tokens: int
    rank: int
    assumption: str = ""
    text: tuple[int, int] | None = None


def order(claim: Claim, one: Found) -> tuple[int, bool, float]:
    """Return the place of a reading: natural ones first, published formulas, then close ones."""
    rank = one.rank + 2 * (not digits(claim).holds(one.value))
    return rank, one.measure.convention == "exact", abs(difference(claim, one.value))


def told(claim: Claim, best: Found) -> str:
    """Return what gives the figure, and how closely."""
    value = shown(claim, best.value, best.measure.counts)
    apart = difference(claim, best.value)
    close = "nearly as printed"
    if digits(claim).holds(best.value):
        close = "as printed"
    elif abs(apart) >= _NEARLY:
        close = f"{apart * 100:+.1f} % of what is printed"
    start = best.measure.words[0].upper() + best.measure.words[1:]
    return f"{start} at {best.words}: {value}, {close}."


def verdict_of(claim: Claim, best: Found, reason: str) -> Verdict:
    """Return that a figure is reproduced by a reading."""
    one = best.measure
    return Verdict(
        claim,
        "reproduced",
        RECOMPUTE,
        reason,
        convention=one.convention,
        counts=one.counts,
        scope=one.scope,
        tokens=best.tokens,
        value=in_unit(claim, best.value),
        relative_difference=difference(claim, best.value),
    )
