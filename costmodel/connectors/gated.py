"""A gated feed-forward network between encoder and LLM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import StrictBool

from ..architecture.blocks import linear_parameters
from ..numeric import Positive
from ..operators import Operator
from .base import Flow, Stage


class GatedStage(Stage):
    """Gate, up and down: three matrices, 3 · in · intermediate MACs when in = out."""

    kind: Literal["gated"] = "gated"
    in_features: Positive
    intermediate_size: Positive
    out_features: Positive
    bias: StrictBool

    def leaving(self, width: int) -> int:
        """Return out_features."""
        if width != self.in_features:
            raise ValueError(f"takes {self.in_features} features but gets {width}")
        return self.out_features

    def operators(self, name: str, flow: Flow) -> Iterator[Operator]:
        """Yield the three products."""
        for matrix in ("gate", "up"):
            yield flow.linear(
                f"{name} {matrix}", flow.tokens, self.in_features, self.intermediate_size
            )
        yield flow.linear(f"{name} down", flow.tokens, self.intermediate_size, self.out_features)

    def parameters(self) -> int:
        """Return weights and biases."""
        total = 2 * linear_parameters(self.in_features, self.intermediate_size, self.bias)
        return total + linear_parameters(self.intermediate_size, self.out_features, self.bias)
