"""Stages without matrix products: pooling, padding, widening, arranging."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from ..numeric import Count, Positive
from ..tokens.base import Size
from .base import Flow, Stage


class PoolStage(Stage):
    """Average size×size neighbouring tokens: no FLOPs, the features stay.

    Attributes:
        remainder: What becomes of rows and columns that fill no square.
    """

    per_token: ClassVar[bool] = False

    kind: Literal["pool"] = "pool"
    size: Positive
    remainder: Literal["cut", "kept"] = "cut"

    @property
    def factor(self) -> int:
        """Side of the square."""
        return self.size

    def grid(self, grid: Size) -> Size:
        """Return the pooled grid."""
        if self.remainder == "kept":
            return math.ceil(grid[0] / self.size), math.ceil(grid[1] / self.size)
        return grid[0] // self.size, grid[1] // self.size


class PadStage(Stage):
    """Pad rows and columns to multiples of `multiple`."""

    per_token: ClassVar[bool] = False

    kind: Literal["pad"] = "pad"
    multiple: Positive

    def grid(self, grid: Size) -> Size:
        """Return the padded grid."""
        rows, columns = (math.ceil(side / self.multiple) * self.multiple for side in grid)
        return rows, columns


class WidenStage(Stage):
    """Pad the features of each token with zeros to `out_features`."""

    kind: Literal["widen"] = "widen"
    in_features: Positive
    out_features: Positive

    def leaving(self, width: int) -> int:
        """Return out_features."""
        if width != self.in_features:
            raise ValueError(f"takes {self.in_features} features but gets {width}")
        return self.out_features


class ArrangeStage(Stage):
    """Cut padding off, insert learned separators: the M visual tokens pass what follows.

    Attributes:
        separators: Learned separators, of the width that they join.
        features: That width.
    """

    per_token: ClassVar[bool] = False

    kind: Literal["arrange"] = "arrange"
    separators: Count
    features: Positive

    def flow(self, flow: Flow) -> Flow:
        """Return the M tokens as one row."""
        return flow._replace(grids={(1, flow.arranged): 1})

    def leaving(self, width: int) -> int:
        """Return the features."""
        if width != self.features:
            raise ValueError(f"takes {self.features} features but gets {width}")
        return width

    def parameters(self) -> int:
        """Return the separators."""
        return self.separators * self.features
