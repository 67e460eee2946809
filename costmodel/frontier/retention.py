"""The retention proxy: how many visual tokens are left, weighted by layer. It is no accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from ..errors import InvalidInput
from ..tokenplan import Layout
from .grid import Grid
from .search import Table

#: The largest whole number that a weight becomes.
FINEST = 10**9
#: What the proxy is, for every output that shows it.
MEANING = "R = Σ w_l·n_l / (M·Σ w_l), a proxy of what is retained; it is not accuracy"


class Importance(NamedTuple):
    """Weights of the decoder layers.

    Attributes:
        name: Where they are from.
        weights: Whole numbers in their proportion, one for each layer.
        exact: Whether the proportions are the given ones, and not rounded.
    """

    name: str
    weights: tuple[int, ...]
    exact: bool = True

    @classmethod
    def uniform(cls, layout: Sequence[Layout]) -> Importance:
        """Return equal weights of all layers that have visual tokens, in sequence or as keys."""
        return cls("uniform", tuple(int(has_visual(one)) for one in layout))

    @classmethod
    def of(cls, name: str, given: Sequence[Fraction]) -> Importance:
        """Return weights in whole numbers: exact ones, or rounded to 10⁻⁹ of the largest.

        Raises:
            InvalidInput: Weights below 0, or none above.

        >>> Importance.of("a file", [Fraction(1, 2), Fraction(1, 3), Fraction(0)]).weights
        (3, 2, 0)
        """
        if any(weight < 0 for weight in given):
            raise InvalidInput("importance", name, "has a weight below 0", "give 0 or more")
        largest = max(given, default=Fraction(0))
        if not largest:
            raise InvalidInput("importance", name, "has no weight above 0", "give one")
        scale = math.lcm(*(weight.denominator for weight in given))
        wholes = [int(weight * scale) for weight in given]
        common = math.gcd(*wholes)
        if max(wholes) // common <= FINEST:
            return cls(name, tuple(whole // common for whole in wholes))
        return cls(name, tuple(round(weight / largest * FINEST) for weight in given), exact=False)

    def table(self, grid: Grid) -> Table:
        """Return w_l·n_l of every layer and level: the values of a search."""
        changes = tuple(
            tuple(weight * (level.tokens - grid.entering) for level in grid.levels)
            for weight in self.weights
        )
        return Table(grid.entering * sum(self.weights), changes)

    def retained(self, visual: Sequence[int], entering: int) -> Fraction:
        """Return R of the visual tokens in each layer."""
        kept = sum(weight * count for weight, count in zip(self.weights, visual, strict=True))
        return Fraction(kept, entering * sum(self.weights))


def has_visual(layout: Layout) -> bool:
    """Tell whether a layer has visual tokens, in its sequence or as keys."""
    return layout.in_sequence or layout.crosses
