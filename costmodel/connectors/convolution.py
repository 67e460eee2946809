"""A convolution between encoder and LLM."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Literal, Self

from pydantic import StrictBool, model_validator

from ..architecture.blocks import linear_parameters
from ..errors import InvalidInput
from ..numeric import Positive
from ..operators import Operator
from ..tokens.base import Size
from .base import Flow, Stage


class ConvolutionStage(Stage):
    """A convolution over each crop's grid, padded so that stride 1 keeps the grid.

    A side of n tokens becomes ⌊n / stride⌋. That is exact where stride divides n, as in the models
    that have such a stage; elsewhere an odd kernel with half-kernel padding gives ⌈n / stride⌉.

    Attributes:
        kernel_size, stride: Sides of kernel and step.
        groups: Groups of channels; as many as features is a depthwise convolution.
    """

    per_token: ClassVar[bool] = False

    kind: Literal["convolution"] = "convolution"
    in_features: Positive
    out_features: Positive
    kernel_size: Positive
    stride: Positive = 1
    groups: Positive = 1
    bias: StrictBool

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        if self.in_features % self.groups or self.out_features % self.groups:
            raise InvalidInput(
                "groups",
                self.groups,
                f"does not divide both in_features {self.in_features} and out_features "
                f"{self.out_features}",
                "give a divisor of both",
            )
        return self

    @property
    def factor(self) -> int:
        """Side of the square of tokens that becomes one."""
        return self.stride

    def grid(self, grid: Size) -> Size:
        """Return ⌊side / stride⌋ for both sides."""
        return grid[0] // self.stride, grid[1] // self.stride

    def leaving(self, width: int) -> int:
        """Return out_features."""
        if width != self.in_features:
            raise ValueError(f"takes {self.in_features} features but gets {width}")
        return self.out_features

    def operators(self, name: str, flow: Flow) -> Iterator[Operator]:
        """Yield the convolution."""
        positions = flow.batch * sum(
            math.prod(self.grid(grid)) * crops for grid, crops in flow.grids.items()
        )
        yield flow.convolution(
            f"{name} convolution",
            positions,
            self.in_features // self.groups,
            self.out_features,
            self.kernel_size**2,
        )

    def parameters(self) -> int:
        """Return weights and biases."""
        kernel = self.kernel_size**2 * self.in_features // self.groups
        return linear_parameters(kernel, self.out_features, self.bias)
