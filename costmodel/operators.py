"""Operators: what a forward pass executes, with shapes instead of prices.

One operator stands for all layers that execute it on the same shapes; `macs` is for one of them.
Named tuples, because a command builds hundreds of them before it can print.
"""

from typing import Literal, NamedTuple, TypeAlias

from . import formulas
from .formulas import ClosedForm

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
    "selection",
]


class Linear(NamedTuple):
    """A matrix product [tokens, in_features] × [in_features, out_features], batch included.

    Attributes:
        component: Which part of the model it belongs to.
        layers: Layers of the component that execute it; empty for what lies outside the layers.
        part, name: What it does, and its module.

    >>> Linear("head", (), "head", "lm_head", tokens=1, in_features=4096, out_features=32064).macs
    131334144
    """

    component: Component
    layers: tuple[int, ...]
    part: Part
    name: str
    tokens: int
    in_features: int
    out_features: int

    @property
    def formula(self) -> ClosedForm:
        """Closed form of the MACs in one layer."""
        return formulas.linear_macs

    @property
    def terms(self) -> tuple[int, ...]:
        """Operands of the closed form: (n, c_in, c_out)."""
        return self.tokens, self.in_features, self.out_features

    @property
    def macs(self) -> int:
        """Multiply–accumulates in one layer."""
        macs: int = self.formula(*self.terms)
        return macs


class Attention(NamedTuple):
    """Q·Kᵀ and A·V over `pairs` query–key pairs in each of `heads` heads, batch included.

    Scores alone, which selection rules compute, have a `value_size` of 0.

    `queries` and `keys` are the tokens on either side; `pairs` is less than their product where
    windows, images or causal accounting split the sequence. Other attributes as in `Linear`.

    >>> pairs = 640 * 640
    >>> sizes = {"heads": 32, "query_key_size": 128, "value_size": 128}
    >>> Attention("decoder", (0,), "attention", "self_attn", 640, 640, pairs, **sizes).macs
    3355443200
    """

    component: Component
    layers: tuple[int, ...]
    part: Part
    name: str
    queries: int
    keys: int
    pairs: int
    heads: int
    query_key_size: int
    value_size: int

    @property
    def formula(self) -> ClosedForm:
        """Closed form of the MACs in one layer."""
        return formulas.attention_macs

    @property
    def terms(self) -> tuple[int, ...]:
        """Operands of the closed form: (pairs, h, d_qk, d_v)."""
        return self.pairs, self.heads, self.query_key_size, self.value_size

    @property
    def macs(self) -> int:
        """Multiply–accumulates in one layer."""
        macs: int = self.formula(*self.terms)
        return macs


class Convolution(NamedTuple):
    """A convolution at `positions` output positions, batch included.

    `in_channels` is per group, `kernel` the product of the kernel's sizes. Other attributes as in
    `Linear`.

    >>> sizes = {"positions": 576, "in_channels": 3, "out_channels": 1024, "kernel": 14 * 14}
    >>> Convolution("vision", (), "patch embedding", "conv1", **sizes).macs
    346816512
    """

    component: Component
    layers: tuple[int, ...]
    part: Part
    name: str
    positions: int
    in_channels: int
    out_channels: int
    kernel: int

    @property
    def formula(self) -> ClosedForm:
        """Closed form of the MACs in one layer."""
        return formulas.convolution_macs

    @property
    def terms(self) -> tuple[int, ...]:
        """Operands of the closed form: (n, c_in, c_out, k)."""
        return self.positions, self.in_channels, self.out_channels, self.kernel

    @property
    def macs(self) -> int:
        """Multiply–accumulates of the convolution."""
        macs: int = self.formula(*self.terms)
        return macs


Operator: TypeAlias = Linear | Attention | Convolution
