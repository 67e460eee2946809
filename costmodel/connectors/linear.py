"""A linear layer between encoder and LLM."""

from collections.abc import Iterator
from typing import Literal

from pydantic import StrictBool

from ..architecture.blocks import linear_parameters
from ..numeric import Positive
from ..operators import Operator
from .base import Flow, Stage


class LinearStage(Stage):
    """A linear layer, with the activation that follows it (activations count 0)."""

    kind: Literal["linear"] = "linear"
    in_features: Positive
    out_features: Positive
    bias: StrictBool

    @property
    def text(self) -> str:
        """The stage in words."""
        return f"linear {self.in_features} to {self.out_features}"

    def leaving(self, width: int) -> int:
        """Return out_features."""
        if width != self.in_features:
            raise ValueError(f"takes {self.in_features} features but gets {width}")
        return self.out_features

    def operators(self, name: str, flow: Flow) -> Iterator[Operator]:
        """Yield the product."""
        yield flow.linear(f"{name} linear", flow.tokens, self.in_features, self.out_features)

    def parameters(self) -> int:
        """Return weights and biases."""
        return linear_parameters(self.in_features, self.out_features, self.bias)
