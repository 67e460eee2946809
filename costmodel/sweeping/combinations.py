"""The rows of a grid of stages by their numbers: growing layers times shrinking shares."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Combinations that are kept as a table; of more, those that are asked for are worked out.
TABLED = 2**20


class Combinations(NamedTuple):
    """Every choice of `stages` of the `layers`, growing, with as many of the shares, shrinking.

    Row number = number of the choice of layers · choices of shares + number of the choice of
    shares. Layers are in lexicographic order; so are shares, the first stage's first. Two stages
    never keep the same share, which would repeat a schedule of fewer stages.

    Attributes:
        layers: First layers, growing.
        numerators: Numerators of the shares, growing.
        stages: Stages of each schedule.
    """

    layers: tuple[int, ...]
    numerators: tuple[int, ...]
    stages: int

    @property
    def layer_choices(self) -> int:
        """Choices of layers."""
        return math.comb(len(self.layers), self.stages)

    @property
    def share_choices(self) -> int:
        """Choices of shares."""
        return math.comb(len(self.numerators), self.stages)

    @property
    def rows(self) -> int:
        """All schedules.

        >>> Combinations((1, 2, 3), (1, 2), stages=2).rows
        3
        """
        return self.layer_choices * self.share_choices

    def stages_from(self, first: int = 0) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Yield layers and numerators of row `first` and all that follow, one by one."""
        outer, inner = divmod(first, self.share_choices or 1)
        for layers in islice(combinations(self.layers, self.stages), outer, None):
            shares = _shrinking(self.numerators, self.stages)
            yield from ((layers, one) for one in islice(shares, inner, None))
            inner = 0

    def reader(self) -> Reader:
        """Return what tells the stages of rows."""
        return Reader(self)


class Reader:
    """Tells layers and shares of rows; keeps tables of both where they are small."""

    def __init__(self, grid: Combinations) -> None:
        """Make the tables."""
        self._grid = grid
        self._layers = _Choices(grid.layers, grid.stages, growing=True)
        self._shares = _Choices(grid.numerators, grid.stages, growing=False)

    def read(
        self, first: int, rows: int
    ) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
        """Return layers and numerators of rows first, first + 1, …: an array for each stage.

        Raises:
            InvalidInput: Rows that the grid does not have.
        """
        import numpy as np

        grid = self._grid
        if not 0 <= first <= first + rows <= grid.rows:
            hint = f"give rows of 0 to {grid.rows - 1}"
            raise InvalidInput("first", first, f"starts {rows} rows that are not all there", hint)
        if not rows:
            return [np.empty(0)] * grid.stages, [np.empty(0)] * grid.stages
        each = grid.share_choices
        outer, inner = divmod(first, each)
        last = (first + rows - 1) // each
        chosen = self._layers.read(outer, last - outer + 1)
        if outer == last:
            layers = [np.full(rows, column[0]) for column in chosen]
            return layers, self._shares.read(inner, rows)
        # Parts of the first and the last choice of layers, whole ones between.
        repeats = np.full(last - outer + 1, each)
        repeats[0] -= inner
        repeats[-1] = first + rows - last * each
        layers = [np.repeat(column, repeats) for column in chosen]
        if not self._shares.tabled:
            ends = np.cumsum(repeats)
            parts = [self._shares.read(inner, int(repeats[0]))]
            parts += [self._shares.read(0, int(count)) for count in repeats[1:]]
            assert int(ends[-1]) == rows
            return layers, [np.concatenate(one) for one in zip(*parts, strict=True)]
        return layers, [_cyclic(column, inner, rows) for column in self._shares.read(0, each)]


def _shrinking(values: tuple[int, ...], count: int) -> Iterator[tuple[int, ...]]:
    """Yield choices of growing values, the largest first, in lexicographic order."""
    if not count:
        yield ()
        return
    for place in range(count - 1, len(values)):
        for rest in _shrinking(values[:place], count - 1):
            yield (values[place], *rest)


def _cyclic(column: NDArray[np.float64], start: int, count: int) -> NDArray[np.float64]:
    """Return `count` values of a column that begins anew at its end."""
    import numpy as np

    head = column[start : start + count]
    whole, rest = divmod(count - len(head), len(column))
    return np.concatenate([head, np.tile(column, whole), column[:rest]])


class _Choices:
    """Choices of `count` values, in lexicographic order of the values as they are given out."""

    def __init__(self, values: tuple[int, ...], count: int, *, growing: bool) -> None:
        import numpy as np

        self._values = np.array(values, dtype=np.float64)
        self._count, self._growing = count, growing
        self.total = math.comb(len(values), count)
        # binomials[k][c] = C(c, k): as many choices of k lie below the value at place c
        places = range(len(values) + 1)
        self._binomials = [
            np.array([math.comb(place, k) for place in places], dtype=np.int64)
            if math.comb(len(values), k) < 2**62
            else None
            for k in range(count + 1)
        ]
        if any(table is None for table in self._binomials):
            raise InvalidInput("stages", count, "makes too many choices", "give fewer values")
        self.tabled = self.total <= TABLED
        self._table: list[Any] = self._unranked(0, self.total) if self.tabled else []

    def read(self, first: int, count: int) -> list[NDArray[np.float64]]:
        if self.tabled:
            return [column[first : first + count] for column in self._table]
        return self._unranked(first, count)

    def _unranked(self, first: int, count: int) -> list[NDArray[np.float64]]:
        """Return choices by number: N = C(c_s, s) + … + C(c_1, 1) with c_s > … > c_1.

        Numbers grow with (c_s, …, c_1), which is the order of shrinking values. Growing values
        are read off the mirrored places, from the last number to the first.
        """
        import numpy as np

        number = np.arange(first, first + count, dtype=np.int64)
        if self._growing:
            number = self.total - 1 - number
        columns = []
        for k in range(self._count, 0, -1):
            table = self._binomials[k]
            assert table is not None
            place = np.searchsorted(table, number, side="right") - 1
            number = number - table[place]
            if self._growing:
                place = len(self._values) - 1 - place
            columns.append(self._values[place])
        return columns
