"""Neighbouring tokens become one."""

from __future__ import annotations

from typing import Literal

from ..numeric import Positive
from ..tokens.base import Size
from .base import Stage


class Merge(Stage):
    """Concatenate size×size neighbouring tokens (patch merger, pixel shuffle): no FLOPs."""

    kind: Literal["merge"] = "merge"
    size: Positive

    @property
    def factor(self) -> int:
        """Side of the square."""
        return self.size

    def grid(self, grid: Size) -> Size:
        """Return the grid of squares; a remainder is cut off."""
        return grid[0] // self.size, grid[1] // self.size

    @property
    def text(self) -> str:
        """The stage in words."""
        return f"concatenate {self.size}x{self.size} patches"

    def leaving(self, width: int) -> int:
        """Return size² times the features."""
        return width * self.size**2
