"""Operators: what a forward pass executes, with shapes instead of prices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from . import formulas

Component = Literal["vision", "connector", "decoder", "head", "selection"]
COMPONENTS: tuple[Component, ...] = ("vision", "connector", "decoder", "head", "selection")

#: What an operator does in its block; the order in which plots stack it.
Part = Literal[
    "patch embedding",
    "attention projections",
    "attention scores",
    "feed-forward",
    "connector",
    "head",
]


@dataclass(frozen=True, slots=True)
class Operator:
    """One matrix product, attention or convolution of a pass, batch included.

    Attributes:
        component: Which part of the model it belongs to.
        layer: Layer index within the component; None outside the layers.
        part: What it does (see `Part`).
        name: Name of the module.
    """

    component: Component
    layer: int | None
    part: Part
    name: str

    formula: ClassVar[Callable[..., Any]]

    def terms(self) -> tuple[int, ...]:
        """Return the operands of the closed form, in its order."""
        raise NotImplementedError

    @property
    def macs(self) -> int:
        """Multiply–accumulates of the operator."""
        macs: int = type(self).formula(*self.terms())
        return macs


@dataclass(frozen=True, slots=True)
class Linear(Operator):
    """A matrix product [tokens, in_features] × [in_features, out_features]."""

    tokens: int
    in_features: int
    out_features: int

    formula = staticmethod(formulas.linear_macs)

    def terms(self) -> tuple[int, ...]:
        """Return (n, c_in, c_out)."""
        return self.tokens, self.in_features, self.out_features


@dataclass(frozen=True, slots=True)
class Attention(Operator):
    """Q·Kᵀ and A·V over `pairs` query–key pairs in each of `heads` heads.

    `queries` and `keys` are the tokens on either side; `pairs` is less than their product where
    windows, images or causal accounting split the sequence.
    """

    queries: int
    keys: int
    pairs: int
    heads: int
    query_key_size: int
    value_size: int

    formula = staticmethod(formulas.attention_macs)

    def terms(self) -> tuple[int, ...]:
        """Return (pairs, h, d_qk, d_v)."""
        return self.pairs, self.heads, self.query_key_size, self.value_size


@dataclass(frozen=True, slots=True)
class Convolution(Operator):
    """A convolution at `positions` output positions; `kernel` is the product of its sizes."""

    positions: int
    in_channels: int
    out_channels: int
    kernel: int

    formula = staticmethod(formulas.convolution_macs)

    def terms(self) -> tuple[int, ...]:
        """Return (n, c_in, c_out, k)."""
        return self.positions, self.in_channels, self.out_channels, self.kernel
