"""`cache`: what of the visual keys and values a generation stores and reads."""

import math
from fractions import Fraction
from typing import Annotated, Self

from pydantic import StrictBool, model_validator

from ..errors import InvalidInput
from ..numeric import Converted, Count, Ratio, Spec
from ..schedule import Rounding, kept_tokens
from .layers import Layers, Share, refuse_layers, share

#: Shares of the visual tokens that enter layer 0, as every ratio of a schedule.
OptionalShare = Annotated[
    Fraction | None, Converted(lambda value: None if value is None else share(value))
]


class Cache(Spec):
    """Keys and values after the prefill; ratios are of the M visual tokens that enter layer 0.

    Attributes:
        stored, stored_tokens: Visual tokens whose keys and values each layer stores; by default
            those that its prefill exposed, and no more of them without a reserve.
        read, read_tokens: Visual tokens that a decode forward reads; by default all that are
            stored.
        first_layer: Layers before it store and read what their prefill exposed.
        focal_layers: Layers that read all that they store, whatever `read` says.
        generated: Share of the generated tokens whose keys and values are kept.
        shrink: Share of M that each decode forward stops reading after it, until none is left; not
            in layers before `first_layer`, nor in focal ones.
        rescan: Share of the decode forwards that score all stored tokens to choose anew.
        reserve: Whether `stored` may be more than a layer's prefill exposed: keys and values of
            tokens that it dropped, which something outside the schedule computes.
    """

    stored: OptionalShare = None
    stored_tokens: Count | None = None
    read: OptionalShare = None
    read_tokens: Count | None = None
    first_layer: Count = 0
    focal_layers: Layers | None = None
    generated: Ratio = Fraction(1)
    shrink: Share = Fraction(0)
    rescan: Share = Fraction(0)
    reserve: StrictBool = False

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        for name in ("stored", "read"):
            if getattr(self, name) is not None and getattr(self, f"{name}_tokens") is not None:
                problem = f"and {name}_tokens both give what is {name}"
                raise InvalidInput(name, None, problem, "give one of them")
        return self

    def lengths(
        self, exposed: tuple[int, ...], tokens: int, rounding: Rounding
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the visual tokens that each layer stores and reads.

        Raises:
            InvalidInput: A layer that the model does not have.
        """
        depth = len(exposed)
        refuse_layers((self.first_layer,), depth, "cache.first_layer")
        refuse_layers(self.focal_layers or (), depth, "cache.focal_layers")
        stored, read = [], []
        for layer, own in enumerate(exposed):
            kept = own
            if layer >= self.first_layer:
                if self.stored is not None:
                    kept = kept_tokens(self.stored, tokens, rounding)
                elif self.stored_tokens is not None:
                    kept = min(self.stored_tokens, tokens)
                if not self.reserve:
                    kept = min(kept, own)
            seen = kept
            if self._chooses(layer):
                seen = min(kept, self._read(tokens, rounding))
            stored.append(kept)
            read.append(seen)
        return tuple(stored), tuple(read)

    def shrink_of(self, layer: int) -> Fraction:
        """Return the share of M that each decode forward stops reading in a layer."""
        return self.shrink if self._chooses(layer) else Fraction(0)

    def _chooses(self, layer: int) -> bool:
        focal = self.focal_layers is not None and layer in self.focal_layers
        return layer >= self.first_layer and not focal

    def _read(self, tokens: int, rounding: Rounding) -> int:
        if self.read_tokens is not None:
            return self.read_tokens
        return tokens if self.read is None else kept_tokens(self.read, tokens, rounding)


def sum_of_floors(slope: Fraction, count: int) -> int:
    """Return Σ ⌊slope·i⌋ for i from 0 to count − 1, in logarithmic time.

    Euclid's algorithm on the lattice points under a line.

    >>> sum_of_floors(Fraction(1, 2), 5)
    4
    """
    a, m, n, offset, total = slope.numerator, slope.denominator, count, 0, 0
    while n > 0:
        total += (n - 1) * n // 2 * (a // m) + n * (offset // m)
        a, offset = a % m, offset % m
        top = a * n + offset
        n, offset, a, m = top // m, top % m, m, a
        if m == 0:
            break
    return total


def generated_read(kept: Fraction, first: int, last: int) -> int:
    """Return the generated tokens that forwards `first` to `last` read: Σ ⌊g·(i − 1)⌋ + 1.

    >>> generated_read(Fraction(1), 1, 4), generated_read(Fraction(1, 2), 1, 4)
    (10, 6)
    """
    return sum_of_floors(kept, last) - sum_of_floors(kept, first - 1) + last - first + 1


def choosing_forwards(rate: Fraction, first: int, last: int) -> int:
    """Return how many of forwards `first` to `last` choose anew: of the first i, ⌈rate·i⌉ do.

    >>> [choosing_forwards(Fraction(1, 3), step, step) for step in (1, 2, 3, 4)]
    [1, 0, 0, 1]
    """
    return math.ceil(rate * last) - math.ceil(rate * (first - 1))


def shrunk(shrink: Fraction, tokens: int, read: int, first: int, last: int) -> int:
    """Return the visual tokens that shrinking forwards `first` to `last` read, summed.

    Σ max(0, read − ⌊shrink·M·(i − 1)⌋).

    >>> shrunk(Fraction(1, 10), 100, 25, 1, 5)
    45
    """
    each = shrink * tokens
    if not each:
        return (last - first + 1) * read
    ends = int(-(-(read + 1) // each)) + 1  # from this forward on nothing is left
    last = min(last, ends)
    if last < first:
        return 0
    gone = sum_of_floors(each, last) - sum_of_floors(each, first - 1)
    over = sum(
        int(each * (step - 1)) - read
        for step in range(max(first, ends - 2), last + 1)
        if int(each * (step - 1)) > read
    )
    return (last - first + 1) * read - gone + over
