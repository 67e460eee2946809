"""A norm between encoder and LLM."""

from __future__ import annotations

from typing import Literal

from ..architecture.blocks import Norm, norm_parameters
from ..numeric import Positive
from .base import Stage


class NormStage(Stage):
    """A norm over `width` features: parameters only."""

    kind: Literal["norm"] = "norm"
    norm: Norm
    width: Positive

    @property
    def text(self) -> str:
        """The stage in words."""
        return f"{self.norm} norm of {self.width}"

    def leaving(self, width: int) -> int:
        """Return the features, which must be those of the norm."""
        if width != self.width:
            raise ValueError(f"normalises {self.width} features but gets {width}")
        return width

    def parameters(self) -> int:
        """Return scales and biases."""
        return norm_parameters(self.norm, self.width)
