"""Pooling of grids to squares, and the convolution that LDPv2 puts behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .common import check_count
from .squares import parted
from .weights import seeded

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Conv2d


def pool_grid(grid: Tensor, side: int) -> Tensor:
    """Return a grid's tokens [B, side², d], each the mean of a cell; no products.

    Cell (i, j) reaches from row ⌊i·rows/side⌋ to ⌈(i + 1)·rows/side⌉, columns likewise: where
    `side` divides the grid, squares that do not overlap.

    M3 (mu-cai/matryoshka-mm, `avg_pool2d`) and LDPv2 (Meituan-AutoML/MobileVLM,
    `AdaptiveAvgPool2d`) pool grids of 24×24 to a square, whose side divides 24.

    Args:
        grid: [B, rows, columns, d].
        side: Rows and columns to go on with.

    Raises:
        InvalidInput: `side` exceeds the grid.
    """
    import torch

    check_count("side", side, min(grid.shape[1:3]), least=1)
    pooled = torch.nn.functional.adaptive_avg_pool2d(grid.permute(0, 3, 1, 2), side)
    return pooled.flatten(2).mT


class PositionInjection(NamedTuple):
    """What LDPv2 adds to a pooled grid: a 3×3 convolution of each channel by itself.

    Source: Meituan-AutoML/MobileVLM vision_projector.py, PosInjectLayer.
    """

    convolution: Conv2d

    @classmethod
    def of(cls, like: Tensor) -> PositionInjection:
        """Return it with random weights for tokens like these, [..., d]."""
        import torch

        width = like.shape[-1]
        with seeded(like):
            return cls(torch.nn.Conv2d(width, width, 3, padding=1, groups=width))

    def __call__(self, tokens: Tensor) -> Tensor:
        """Return tokens [B, side², d] with the convolution added; 9·d MACs per token.

        The border is padded with zeros, whose products count.
        """
        side = round(tokens.shape[1] ** 0.5)
        grid = parted(tokens.mT, 2, side, side)
        injected: Tensor = (grid + self.convolution(grid)).flatten(2).mT
        return injected
