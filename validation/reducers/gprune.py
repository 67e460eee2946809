"""G-Prune: keep the tokens where information gathers on a graph of similar tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import inner_products, unit, widen

if TYPE_CHECKING:
    from torch import Tensor

#: Least cosine of neighbours, the softmax's temperature, and steps of flow.
LEAST_COSINE, TEMPERATURE, STEPS = 0.5, 0.03, 5
#: What the softmax gets for tokens that are no neighbours.
_APART = -5_000.0


def gathered(tokens: Tensor) -> Tensor:
    """Return what gathers at each token [B, n] of one graph, per neighbour.

    Tokens of a cosine of 0.5 or more are neighbours, each of itself too. A token hands on what it
    has to its neighbours, in proportion to the softmax of their cosines over 0.03; at first it has
    its Euclidean length, and it does so five times. What a token has then is divided by the number
    of its neighbours. A token of zeros has no neighbour and hands on to all. In float32 or wider.

    n²·d MACs per sequence for the cosines, and n² for each of the five steps.

    Args:
        tokens: [B, n, d].
    """
    return flowed(inner_products(unit(tokens)), tokens)


def flowed(cosines: Tensor, tokens: Tensor) -> Tensor:
    """Return `gathered` of tokens [B, n, d] whose cosines [B, n, n] are known: n² MACs a step."""
    import torch

    near = cosines >= LEAST_COSINE
    shares = (cosines / TEMPERATURE).masked_fill(~near, _APART).softmax(dim=2)
    neighbours = (shares > 0).sum(dim=2)
    held = torch.linalg.vector_norm(widen(tokens), dim=2)[:, None]
    for _ in range(STEPS):
        held = held @ shares
    gathers: Tensor = held[:, 0] / neighbours
    return gathers
