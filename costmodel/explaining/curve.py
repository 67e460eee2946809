"""Costs as exact quadratics in a token count, found from a few priced reports and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from .readings import Reading

Priced = Mapping[Reading, int | Fraction]


class Quadratic(NamedTuple):
    """y + s·first + s(s − 1)/2·second at n = start + s, exactly: Newton's form at steps of one."""

    start: int
    y: int | Fraction
    first: int | Fraction
    second: int | Fraction

    def __call__(self, n: int) -> int | Fraction:
        """Evaluate it."""
        s = n - self.start
        return self.y + s * self.first + s * (s - 1) // 2 * self.second

    @property
    def coefficients(self) -> tuple[float, float, float]:
        """a, b and c of a·n² + b·n + c, for fast and inexact evaluation."""
        a = Fraction(self.second) / 2
        b = self.first - a * (2 * self.start + 1)
        return float(a), float(b), float(self(0))


def curves(
    priced: Callable[[int], Priced], start: int, checks: Sequence[int]
) -> dict[Reading, Quadratic]:
    """Return the curve of every reading that is a quadratic in the count.

    Args:
        priced: Prices all readings at a count.
        start: The curves are fixed at this count and the next two.
        checks: Counts at which they are checked. A reading that fails, such as a causal one with a
            sliding window, has no curve.
    """
    rows = [priced(start + step) for step in range(3)]
    checked = [(count, priced(count)) for count in checks]
    found = {}
    for reading, y in rows[0].items():
        middle, last = rows[1][reading], rows[2][reading]
        curve = Quadratic(start, y, middle - y, last - 2 * middle + y)
        if all(curve(count) == values[reading] for count, values in checked):
            found[reading] = curve
    return found


def counts_within(curve: Quadratic, low: int | Fraction, high: int | Fraction, most: int) -> range:
    """Return the whole n in [1, most] with low ≤ curve(n) ≤ high; the curve must grow.

    >>> counts_within(Quadratic(0, 0, 1, 2), 9, 20, 100)
    range(3, 5)
    """
    return range(_first(curve, low, most), _first(curve, high, most, above=True))


def _first(curve: Quadratic, value: int | Fraction, most: int, *, above: bool = False) -> int:
    """Return the first n in [1, most + 1] whose value is at least `value`, or above it."""
    low, high = 1, most + 1
    while low < high:
        middle = (low + high) // 2
        reached = curve(middle) > value if above else curve(middle) >= value
        low, high = (low, middle) if reached else (middle + 1, high)
    return low
