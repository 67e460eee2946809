"""The arithmetic of a block of schedules: sums over stages, in arrays that stay in the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ..schedule import Rounding
from .layers import Layer, Output, Window
from .shares import kept_tokens_array

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

#: Schedules of a block: some twenty arrays of so many floats stay in a core's own cache.
BLOCK = 8192
BYTES: Output = "kv_cache_bytes"


class Group(NamedTuple):
    """Layers of the same price.

    Attributes:
        before: Of each layer number K, how many of the group lie before it; None where all
            layers are of the group, and the number is K itself.
        layers: How many there are.
        rates: Their price: (figure, for each visual token, for each of their squares).
        held: Bytes for each token that a window which binds holds.
        window: Such a window.
    """

    before: Array | None
    layers: float
    rates: tuple[tuple[Output, float, float], ...]
    held: float
    window: Window | None


def groups_of(layers: Sequence[Layer]) -> list[Group]:
    """Return the layers by price, but for constants; those that no visual token changes are out."""
    import numpy as np

    found: dict[Any, list[int]] = {}
    for place, layer in enumerate(layers):
        rates = tuple(
            (name, float(one.linear), float(one.square))
            for name, one in layer.terms.items()
            if one.linear or one.square
        )
        if rates or layer.window:
            found.setdefault((layer.window, rates), []).append(place)
    groups = []
    for (window, rates), places in found.items():
        before = None
        if len(places) < len(layers):
            inside = [float(place in places) for place in range(len(layers))]
            before = np.array([0.0, *accumulate(inside)])
        held = 0.0
        if window is not None:
            held = float(layers[places[0]].terms[BYTES].linear)
            rates = tuple(one for one in rates if one[0] != BYTES)
        groups.append(Group(before, float(len(places)), rates, held, window))
    return groups


class BlockPricer:
    """Prices up to `BLOCK` schedules at once, without a temporary array.

    Σ_l n_l over a group of L layers, C_i of which lie before stage i:

        L · n_s + Σ_i C_i · (n_(i-1) − n_i)

    in which no term is negative, and likewise Σ_l n_l² with n_(i-1)² − n_i².
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        constants: Mapping[Output, Fraction],
        entering: int,
        rounding: Rounding,
    ) -> None:
        """Group the layers."""
        self._groups = groups_of(layers)
        self._constants = {name: float(amount) for name, amount in constants.items()}
        self._layers, self._entering, self._rounding = len(layers), float(entering), rounding
        self._arrays: list[Array] = []

    def price(
        self, out: dict[Output, Array], layers: list[Any], shares: list[Any], denominator: int
    ) -> bool:
        """Write the figures; return whether all schedules are right, or the figures mean nothing.

        Layers have to grow and to exist; shares leave a token, and no more than the stage before.
        """
        import numpy as np

        stages, rows = len(layers), len(layers[0])
        arrays = self._buffers(4 * stages + 4, rows)
        first, kept = arrays[:stages], arrays[stages : 2 * stages]
        fewer, fewer_pairs = arrays[2 * stages : 3 * stages], arrays[3 * stages : 4 * stages]
        total, squares, work, more_work = arrays[4 * stages :]
        divisor, before = float(denominator), cast(Any, self._entering)
        for place in range(stages):
            if layers[place].dtype == np.float64:
                first[place] = layers[place]
            else:
                np.copyto(first[place], layers[place])
            now = kept[place]
            kept_tokens_array(shares[place], divisor, self._entering, self._rounding, now)
            np.subtract(before, now, out=fewer[place])
            np.add(before, now, out=fewer_pairs[place])
            np.multiply(fewer_pairs[place], fewer[place], out=fewer_pairs[place])
            before = now
        if not self._right(first, kept[-1], fewer):
            return False
        begun: set[Output] = set()
        for group in self._groups:
            counts = first
            if group.before is not None:
                counts = [group.before[layer.astype(np.int64)] for layer in first]
            self._summed(total, group.layers, kept[-1], counts, fewer, work)
            np.multiply(kept[-1], kept[-1], out=work)
            self._summed(squares, group.layers, work, counts, fewer_pairs, more_work)
            for name, linear, square in group.rates:
                self._add(out, name, linear, total, work, begun)
                self._add(out, name, square, squares, work, begun)
            if group.window is not None:
                present = [np.full(rows, self._entering), *kept]
                for name, rate, amounts in _windowed(group, group.window, present):
                    self._by_segment(total, group.layers, amounts, counts, work)
                    self._add(out, name, rate, total, work, begun)
        for name in out.keys() - begun:
            out[name].fill(self._constants[name])
        return True

    def _buffers(self, count: int, rows: int) -> list[Array]:
        """Return arrays to work in, the same ones for every block."""
        import numpy as np

        while len(self._arrays) < count:
            self._arrays.append(np.empty(BLOCK))
        chosen = self._arrays[:count]
        return chosen if rows == BLOCK else [one[:rows] for one in chosen]

    def _right(self, first: list[Array], last_kept: Array, fewer: list[Array]) -> bool:
        """Tell whether all schedules are right; comparisons are such that a NaN fails them."""
        import numpy as np

        least, most = np.minimum.reduce, np.maximum.reduce
        right = least(first[0]) >= 0 and most(first[-1]) < self._layers and least(last_kept) >= 1
        for earlier, later in pairwise(first):
            right = right and np.less(earlier, later).all()
        return bool(right and all(least(one) >= 0 for one in fewer))

    def _summed(
        self, total: Array, layers: float, last: Array, counts: Any, fewer: Any, work: Array
    ) -> None:
        """Write layers · last + Σ_i counts_i · fewer_i."""
        import numpy as np

        np.multiply(last, layers, out=total)
        for count, less in zip(counts, fewer, strict=True):
            np.multiply(count, less, out=work)
            np.add(total, work, out=total)

    def _by_segment(
        self, total: Array, layers: float, amounts: list[Any], counts: list[Any], work: Array
    ) -> None:
        """Write the sum of amounts, each times the group's layers between two stages."""
        import numpy as np

        total.fill(0.0)
        edges = [0.0, *counts, layers]
        for (start, end), amount in zip(pairwise(edges), amounts, strict=True):
            np.subtract(end, start, out=work)
            np.multiply(work, amount, out=work)
            np.add(total, work, out=total)

    def _add(
        self,
        out: dict[Output, Array],
        name: Output,
        rate: float,
        amount: Array,
        work: Array,
        begun: set[Output],
    ) -> None:
        """Add rate · amount to a figure, which begins with its constant."""
        import numpy as np

        if not rate:
            return
        if name in begun:
            np.multiply(amount, rate, out=work)
            np.add(out[name], work, out=out[name])
            return
        begun.add(name)
        np.multiply(amount, rate, out=out[name])
        np.add(out[name], self._constants[name], out=out[name])


def _windowed(
    group: Group, window: Window, present: list[Any]
) -> list[tuple[Output, float, list[Any]]]:
    """Return what a window that binds changes: (figure, rate, amount of each segment)."""
    import numpy as np

    held = [np.minimum(tokens, window.visual) for tokens in present]
    found: list[tuple[Output, float, list[Any]]] = [(BYTES, group.held, held)]
    if window.forwards:
        keys = [window.decode_keys(tokens) for tokens in present]
        found.append(("exact", float(window.flops_per_key), keys))
    return found
