"""Random weights for modules that methods bring along, and the attention that several share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .common import attention_rows
from .squares import parted

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Linear, Sequential


@contextmanager
def seeded(like: Tensor) -> Iterator[None]:
    """Build modules on a tensor's device and in its dtype, from the same random numbers always.

    The generator of the caller goes on where it was.
    """
    import torch

    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]), torch.device(like.device):
        torch.manual_seed(0)
        torch.set_default_dtype(like.dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def linear(in_features: int, out_features: int, *, bias: bool = True) -> Linear:
    """Return a linear layer; in a `seeded` context."""
    import torch

    return torch.nn.Linear(in_features, out_features, bias=bias)


def two_layers(in_features: int, hidden: int, out_features: int) -> Sequential:
    """Return two linear layers with a GELU between; in a `seeded` context."""
    import torch

    first, second = linear(in_features, hidden), linear(hidden, out_features)
    return torch.nn.Sequential(first, torch.nn.GELU(), second)


def attended(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Return what queries fetch by softmax attention of several heads, [B, r, v].

    r·n·(c + v) MACs per sequence, in float32 or wider.

    Args:
        query: [B, r, c], c a multiple of `heads`.
        key: [B, n, c].
        value: [B, n, v], v a multiple of `heads`.
        heads: Heads, whose size c/heads scales the scores.
    """

    def split(rows: Tensor) -> Tensor:
        return parted(rows, 2, heads, -1).transpose(1, 2)

    scaling = (query.shape[-1] // heads) ** -0.5
    weights = attention_rows(split(query), split(key), scaling)
    fetched = weights @ split(value).to(weights.dtype)
    return fetched.transpose(1, 2).flatten(2).to(value.dtype)


def most_heads(wanted: int, *widths: int) -> int:
    """Return the largest number of heads up to `wanted` that divides all widths.

    It is `wanted` at published widths; small models have others. No cost depends on it.
    """
    return max(
        heads for heads in range(1, wanted + 1) if all(width % heads == 0 for width in widths)
    )
