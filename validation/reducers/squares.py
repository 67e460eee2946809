"""Squares of neighbouring patches: how projectors that merge them see a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...costmodel import InvalidInput

if TYPE_CHECKING:
    from torch import Tensor


def parted(rows: Tensor, axis: int, *sizes: int) -> Tensor:
    """Return a tensor with one axis, counted from the front, split into several; −1 is the rest."""
    return rows.reshape(*rows.shape[:axis], *sizes, *rows.shape[axis + 1 :])


def squares(grid: Tensor, side: int) -> Tensor:
    """Return the squares of a grid row by row, their patches row by row; no products.

    Args:
        grid: [B, rows, columns, d].
        side: Patches along a square, which divides rows and columns.

    Returns:
        [B, rows·columns/side², side², d].

    Raises:
        InvalidInput: `side` does not divide the grid.
    """
    _, rows, columns, _ = grid.shape
    if side < 1 or rows % side or columns % side:
        raise InvalidInput(
            "side", side, f"does not divide a grid of {rows}×{columns}", "give a divisor of both"
        )
    cells = parted(parted(grid, 2, -1, side), 1, -1, side).transpose(2, 3)
    return cells.flatten(3, 4).flatten(1, 2)
