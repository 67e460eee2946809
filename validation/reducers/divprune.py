"""DivPrune: keep the tokens that lie farthest from one another (greedy max–min)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import check_count, inner_products, take, unit

if TYPE_CHECKING:
    from torch import Tensor


def divprune(features: Tensor, count: int) -> Tensor:
    """Return the indices [B, count] of the tokens that stay, ascending.

    Distance is 1 − cosine, in float32 or wider. The first pick is the token farthest from its
    nearest neighbour, each further one the token farthest from its nearest pick; equal distances,
    as computed, go to the lowest index.

    M²·d MACs per sequence, then `count` steps of O(M), each of which updates the distances to the
    nearest pick instead of finding them again; memory M².

    Args:
        features: [B, M, d], the tokens after the connector.
        count: Tokens to keep.

    Raises:
        InvalidInput: There are fewer than `count` tokens.
    """
    import torch

    check_count("count", count, features.shape[1])
    distance = 1 - inner_products(unit(features))
    itself = distance.diagonal(dim1=1, dim2=2)
    itself.fill_(float("inf"))
    nearest = distance.amin(dim=2)
    itself.fill_(float("-inf"))  # with its own row, a pick's distance falls below all others
    picks = distance.new_empty(len(features), count, dtype=torch.int64)
    for step in range(count):
        pick = nearest.argmax(dim=1, keepdim=True)
        picks[:, step] = pick[:, 0]
        row = take(distance, pick)[:, 0]
        nearest = nearest.minimum(row) if step else row
    return picks.sort(dim=1).values
