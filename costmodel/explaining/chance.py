"""The chance that a random figure would find an explanation as natural as a given one.

It is counted, not modelled: all candidates that are at least as natural are laid along the figure's
decade, each as wide as the figure's digits, and the share of the decade that they cover is the
chance. Decades are logarithmic; shares of the dense cost lie along [0, 1] as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from .candidates import Candidate
from .printed import Kind, Printed, Scale

#: An explanation that more random figures would have than not explains nothing.
MOST_CHANCE = 0.5
#: One that does not even give the digits must be a rarer coincidence.
MOST_CLOSE_CHANCE = 0.2


class Hit(NamedTuple):
    """A candidate under a scale: its rank and the number that would be printed of it.

    `cut` tells whether digits are cut off instead of rounded: the number is then half a unit of the
    last digit lower, so that it lies in the middle of the figures that it may be printed as.
    """

    rank: int
    number: float
    candidate: Candidate
    scale: Scale
    cut: bool = False


def chances(
    around: list[Hit],
    ranks: Iterable[int],
    width: Fraction,
    printed: Printed,
    kind: Kind,
    most: float = MOST_CHANCE,
) -> dict[int, float]:
    """Return the chance of each rank, up to `most`; ranks of a larger chance are left out.

    Args:
        around: All candidates in the figure's domain.
        ranks: The ranks that are asked about.
        width: Half width of a candidate, relative to the figure.
        printed: The figure.
        kind: What it is read as.
        most: The largest chance that is of interest.
    """
    low, high = printed.domain(kind)
    half = float(width * printed.number)
    places = [(one.number, one.rank) for one in around]
    if kind != "share":
        low, high, half = math.log(low), math.log(high), math.log1p(float(width))
        places = [(math.log(number), rank) for number, rank in places]
    places.sort()
    found: dict[int, float] = {}
    for highest in sorted(ranks):
        covered, end = 0.0, low
        for place, rank in places:
            if rank <= highest:
                last = min(place + half, high)
                if last > end:
                    covered += max(0.0, last - max(place - half, end))
                    end = last
        if covered > most * (high - low):
            break  # and so would all larger ranks
        found[highest] = covered / (high - low)
    return found
