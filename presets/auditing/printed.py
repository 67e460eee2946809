"""What a printed figure allows: the values that print as it does, and those close to it."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from ..claim import UNITS, Claim

#: Relative difference up to which a recomputed figure counts as the printed one.
NEAR = Fraction(1, 100)
#: What "about" allows on either side.
ABOUT = Fraction(5, 100)
#: Stands for "no limit"; no published figure comes near.
ENDLESS = Fraction(10**40)


class Span(NamedTuple):
    """Values from `low` to `high`, in base units."""

    low: Fraction
    high: Fraction

    def holds(self, value: Fraction) -> bool:
        """Tell whether a value is inside."""
        return self.low <= value <= self.high

    def meets(self, other: Span) -> bool:
        """Tell whether the two share more than an end."""
        return self.low < other.high and other.low < self.high


def span(claim: Claim) -> Span:
    """Return the values that print as the figure: half a unit of the last digit on both sides.

    Digits that were cut off make it a whole unit upwards; a range goes from its least value to its
    most; "about" allows 5 % and "at least" anything above.
    """
    value, step = claim.base, claim.step
    assert value is not None, "a text has no values"
    most = value if claim.most is None else Fraction(claim.most) * UNITS[claim.unit].size
    low, high = (value, most + step) if claim.cut else (value - step / 2, most + step / 2)
    if claim.hedge == "about":
        low, high = min(low, value * (1 - ABOUT)), max(high, most * (1 + ABOUT))
    if claim.hedge == "at least":
        high = ENDLESS
    return Span(low, high)


def digits(claim: Claim) -> Span:
    """Return the values that print as the figure without any "about" or "at least"."""
    return span(claim.model_copy(update={"hedge": ""}))


def near(claim: Claim) -> Span:
    """Return the values within 1 % of the figure, or that print as it does.

    Of a share x it is 1 % of the smaller of x and 1 − x: 94.8 % off is a fifth of 5.2 % left.
    """
    own, value = span(claim), claim.base
    assert value is not None, "a text has no values"
    most = value if claim.most is None else Fraction(claim.most) * UNITS[claim.unit].size

    def margin(of: Fraction) -> Fraction:
        if UNITS[claim.unit].dimension == "share" and 0 < of < 1:
            of = min(of, 1 - of)
        return abs(of) * NEAR

    return Span(min(own.low, value - margin(value)), max(own.high, most + margin(most)))


def difference(claim: Claim, value: Fraction) -> float:
    """Return value / printed − 1; of a range, from its nearer end."""
    first = claim.base
    assert first is not None, "a text has no values"
    last = first if claim.most is None else Fraction(claim.most) * UNITS[claim.unit].size
    if first <= value <= last:
        return 0.0
    end = first if value < first else last
    return float(value / end - 1) if end else float(value)


def in_unit(claim: Claim, value: Fraction | float) -> float:
    """Return a value in base units in the claim's unit."""
    return float(Fraction(value) / UNITS[claim.unit].size)


#: Figures on which an audit's sentences are exact enough.
_DIGITS = 4


def number(value: Fraction | float) -> str:
    """Return a number with four significant digits and its thousands apart.

    >>> [number(x) for x in (14.8968, 2880, 0.5454, 1664.4)]
    ['14.9', '2,880', '0.5454', '1,664']
    """
    real = float(value)
    if math.isinf(real):
        return "∞"
    if abs(real) >= 10 ** (_DIGITS - 1):
        return f"{real:,.0f}"
    return f"{real:.{_DIGITS}g}"


def unit_of(claim: Claim, counts: str | None = None) -> str:
    """Return the unit of a recomputed figure: of MACs, that of MACs, whatever is printed."""
    return claim.unit.replace("FLOP", "MAC") if counts == "MAC" else claim.unit


def shown(claim: Claim, value: Fraction | float, counts: str | None = None) -> str:
    """Return a value in base units as the claim's unit would print it, or in MACs if it is of them.

    >>> from vlm_tokencost.presets.claim import load_claim
    >>> shown(load_claim("SV001"), 3817152184320, "MAC")
    '3.817 TMAC'
    """
    text, unit = number(in_unit(claim, value)), unit_of(claim, counts)
    if unit in ("%", "×"):
        return f"{text} %" if unit == "%" else f"{text}×"
    return text if unit in ("fraction", "text") else f"{text} {unit}"


def as_printed(claim: Claim) -> str:
    """Return the figure with its digits and unit."""
    text = f"{claim.value:,}" if claim.value is not None else claim.printed
    if claim.most is not None:
        text += f" to {claim.most:,}"
    return text + {"%": " %", "×": "×", "fraction": "", "text": ""}.get(
        claim.unit, f" {claim.unit}"
    )
