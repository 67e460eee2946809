"""The smallest whole number from which on something pays."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

#: Ranges up to this many numbers are tried out one by one.
EXHAUSTIVE = 256
#: Numbers tried over a larger range before a bisection, and on either side of its answer.
PROBES, BESIDE = 64, 32

#: A gain, or None for a number that cannot be had.
Gain = Callable[[int], float | None]


class Crossing(NamedTuple):
    """Where a gain passes a threshold.

    Attributes:
        value: The smallest number that was found to pass it; None if none was.
        below: The next smaller number that can be had; None if `value` is the smallest.
        first, last: The smallest and the largest number that can be had.
        tried: How many numbers were priced.
        exhaustive: Whether all were.
        lasting: Whether every larger number that was priced passes it too.
        best: The largest gain that was seen, and `at`, where.
    """

    value: int | None
    below: int | None
    first: int
    last: int
    tried: int
    exhaustive: bool
    lasting: bool
    best: float
    at: int


def crossing(gain: Gain, low: int, high: int, threshold: float = 1.0) -> Crossing | None:
    """Return the smallest number in [`low`, `high`] whose gain exceeds the threshold.

    Up to `EXHAUSTIVE` numbers are all tried. Of more, `PROBES` that grow evenly in ratio; then a
    bisection between the first that passes and the one before it, and `BESIDE` numbers on either
    side of its answer. Where the gain rises and falls in between, smaller numbers may pass unseen.

    Returns None if no number can be had.

    >>> crossing(lambda n: n / 100, 1, 10**6).value
    101
    """
    known: dict[int, float | None] = {}

    def priced(value: int) -> float | None:
        if value not in known:
            known[value] = gain(value)
        return known[value]

    def passes(value: int) -> bool:
        found = priced(value)
        return found is not None and found > threshold

    exhaustive = high - low < EXHAUSTIVE
    probes = list(range(low, high + 1)) if exhaustive else _spread(low, high)
    for value in probes:
        priced(value)
    answer = next((value for value in probes if passes(value)), None)
    if answer is not None and not exhaustive:
        under = max((value for value in probes if value < answer), default=low - 1)
        while answer - under > 1:
            middle = (under + answer) // 2
            under, answer = (under, middle) if passes(middle) else (middle, answer)
        beside = range(max(low, answer - BESIDE), min(high, answer + BESIDE) + 1)
        answer = min([value for value in beside if passes(value)])
    gains = {value: found for value, found in sorted(known.items()) if found is not None}
    if not gains:
        return None
    at = max(gains, key=lambda value: gains[value])
    smaller = [value for value in gains if answer is not None and value < answer]
    return Crossing(
        value=answer,
        below=max(smaller, default=None),
        first=min(gains),
        last=max(gains),
        tried=len(known),
        exhaustive=exhaustive,
        lasting=answer is not None and all(passes(value) for value in gains if value >= answer),
        best=gains[at],
        at=at,
    )


def _spread(low: int, high: int) -> list[int]:
    """Return numbers from `low` to `high`, each about as many times the one before."""
    span = high - low
    steps = {low + round((span + 1) ** (step / (PROBES - 1))) - 1 for step in range(PROBES)}
    return sorted({low, high, *(min(max(value, low), high) for value in steps)})
