"""Blocks of stage schedules that are priced over arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..costmodel.schedule import kept_tokens
from .sweep_block import Block, parts
from .sweep_figures import stage_figures
from .sweep_grid import Grid

if TYPE_CHECKING:
    from ..costmodel.sweeping import StagePricer
    from ..costmodel.sweeping.combinations import Reader

#: Rows of a block.
BLOCK = 65_536


class Arrays:
    """The stage schedules of a grid, in blocks."""

    def __init__(self, grid: Grid) -> None:
        """Keep the grid."""
        self._grid = grid
        self._readers: dict[int, Reader] = {}

    def blocks(
        self,
        known: dict[str, Any],
        pricer: StagePricer | None,
        reason: Callable[[int], str | None],
        inner: int,
        count: int,
    ) -> Iterator[Block]:
        """Yield rows of a cell.

        Args:
            known: What all its rows share.
            pricer: What prices them; None where none has figures, and `known` tells why.
            reason: Tells why a share, given its numerator, leaves nothing.
            inner: The first row of the cell.
            count: How many.
        """
        for group, start, rows in parts(self._grid.stages, inner, count):
            if group.stages not in self._readers:
                self._readers[group.stages] = group.reader()
            for first in range(start, start + rows, BLOCK):
                size = min(BLOCK, start + rows - first)
                layers, shares = self._readers[group.stages].read(first, size)
                values = {**known, **self._stages(layers, shares)}
                if pricer is not None:
                    values.update(self._figures(pricer, layers, shares, reason))
                yield Block(size, values)

    def _stages(self, layers: list[Any], shares: list[Any]) -> dict[str, Any]:
        import numpy as np

        values: dict[str, Any] = {}
        for place, (layer, share) in enumerate(zip(layers, shares, strict=True), start=1):
            values[f"prune_layer_{place}"] = layer.astype(np.int64)
            values[f"keep_{place}"] = share / self._grid.denominator
        return values

    def _figures(
        self,
        pricer: StagePricer,
        layers: list[Any],
        shares: list[Any],
        reason: Callable[[int], str | None],
    ) -> dict[str, Any]:
        import numpy as np

        grid = self._grid
        least = _least_share(grid, pricer.entering_visual_tokens)
        refused = None
        if grid.stages[0].numerators[0] < least and (shares[-1] < least).any():
            refused = shares[-1] < least  # the last share is the smallest
        kept = shares
        if refused is not None:
            kept = [np.where(refused, float(grid.denominator), share) for share in shares]
        arrays = {name: np.empty(len(layers[0])) for name in pricer.outputs}
        pricer.price_into(arrays, layers, kept, grid.denominator, known_whole=True)
        figures = stage_figures(pricer, arrays)
        if refused is None:
            return figures
        figures = {name: np.where(refused, None, value) for name, value in figures.items()}
        return {**figures, "reason": _reasons(shares, least, refused, reason)}


def _reasons(
    shares: list[Any], least: int, refused: Any, reason: Callable[[int], str | None]
) -> Any:
    """Return why schedules are refused: their first share that leaves no token."""
    import numpy as np

    first = shares[-1].copy()
    for share in reversed(shares):
        np.copyto(first, share, where=share < least)
    found = np.full(len(first), None, dtype=object)
    for numerator in np.unique(first[refused]):
        found[refused & (first == numerator)] = reason(int(numerator))
    return found


def _least_share(grid: Grid, entering: int) -> int:
    """Return the numerator of the least share that leaves a token; smaller ones are refused."""
    for numerator in grid.stages[0].numerators:
        if kept_tokens(Fraction(numerator, grid.denominator), entering, grid.rounding):
            return numerator
    return grid.denominator + 1
