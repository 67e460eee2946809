"""Statistics of repeated times."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import Any


def spread(seconds: Sequence[float]) -> dict[str, Any]:
    """Return how many there are, their minimum, quartiles and median, to the nanosecond.

    >>> spread([4.0, 1.0, 3.0, 2.0, 5.0])["median"]
    3.0
    """
    shares = {"minimum": 0.0, "lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75}
    found = {name: round(quantile(seconds, share), 9) for name, share in shares.items()}
    return {"repeats": len(seconds), **found}


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value at `share` · (n − 1) of the sorted ones, linear between two.

    >>> quantile([10.0, 20.0], 0.25)
    12.5
    """
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
