"""How many times as fast a claim says that something is."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from ..claim import Claim
from .own_numbers import operand
from .printed import ENDLESS, Span, as_printed, in_unit, number, span

#: Ends of a share so many times apart are both told.
_RANGE = Fraction(6, 5)


class Gain(NamedTuple):
    """How many times as fast a claim says that something is.

    Attributes:
        span: The factors that print as the figure.
        words: The factor for a sentence.
        dense: The figure of the dense run beside it, in base units, where the factor is implied.
    """

    span: Span
    words: str
    dense: Fraction | None = None

    def as_claimed(self, claim: Claim, factor: float) -> float | None:
        """Return a factor as the claim's quantity and unit would print it."""
        if not 0 < factor < float("inf"):
            return None
        match claim.quantity:
            case "speed-up" | "throughput factor":
                return factor
            case "time ratio":
                return in_unit(claim, 1 / factor)
            case "time reduction":
                return in_unit(claim, 1 - 1 / factor)
            case "throughput increase":
                return in_unit(claim, factor - 1)
        if self.dense is None:
            return None
        rate = claim.quantity == "throughput"
        return in_unit(claim, float(self.dense) * factor if rate else float(self.dense) / factor)


def gain(claim: Claim, known: Mapping[str, Claim]) -> Gain | None:
    """Return the factor that a claim states, or implies with its baseline; None without any."""
    own = span(claim)
    match claim.quantity:
        case "speed-up" | "throughput factor":
            return Gain(own, as_printed(claim))
        case "time ratio":
            return Gain(Span(inverse(own.high), inverse(own.low)), as_factor(own, "ratio"))
        case "time reduction":
            low, high = inverse(1 - own.low), inverse(1 - own.high)
            return Gain(Span(low, high), as_factor(own, "reduction"))
        case "throughput increase":
            return Gain(Span(1 + own.low, 1 + own.high), f"{number(1 + own.low)}× or more")
    if claim.baseline is None or claim.dense:
        return None
    dense = operand(claim, claim.baseline, known, field="baseline")
    rate = claim.quantity == "throughput"
    before, after = (own, dense.span) if rate else (dense.span, own)
    low = before.low / after.high if after.high else ENDLESS
    high = before.high / after.low if after.low > 0 else ENDLESS
    centre = (claim.base or Fraction(0)) / dense.value if rate else dense.value / (claim.base or 1)
    return Gain(Span(low, high), f"{number(centre)}× ({dense.words} before)", dense.value)


def as_factor(own: Span, kind: str) -> str:
    """Return a share of time as a factor in words."""
    low, high = (own.low, own.high) if kind == "ratio" else (1 - own.high, 1 - own.low)
    if high > _RANGE * low:
        return f"{number(inverse(high))} to {number(inverse(low))}×"
    return f"{number(inverse((low + high) / 2))}×"


def inverse(value: Fraction) -> Fraction:
    """Return 1/x, which is endless for nothing."""
    return 1 / value if value > 0 else ENDLESS
