"""PACT: drop what keys and norms say is unimportant, then merge the rest by density of keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .common import (
    add_rows,
    attention_rows,
    check_count,
    inner_products,
    mean_rows,
    other_indices,
    take,
    top_indices,
    unit,
    widen,
)

if TYPE_CHECKING:
    from torch import Tensor

#: Published for LLaVA-OneVision: the largest distance to a centre, 1 − cosine.
CUTOFF = 0.21


@dataclass(frozen=True, slots=True)
class Clustered:
    """The tokens that remain.

    Attributes:
        centres: [B, a], which of the tokens stay in place, ascending.
        states: [B, a, d], the mean of each one's cluster.
        sizes: [B, a], tokens of each cluster, whose logarithm later attention may add.
    """

    centres: Tensor
    states: Tensor
    sizes: Tensor


def survivors(tokens: int) -> int:
    """Return how many tokens the first step leaves: ⌊0.55·b⌋.

    >>> survivors(576)
    316
    """
    return 11 * tokens // 20


def importance(query: Tensor, key: Tensor, scaling: float, states: Tensor) -> Tensor:
    """Return the score [B, b] of each token: attention of the mean query times its length.

    b·h·d_h MACs per sequence, in float32 or wider.

    Args:
        query: [B, h, 1, d_h], the mean of the tokens' queries before rotary embedding.
        key: [B, h_kv, b, d_h], before rotary embedding.
        scaling: Factor of the products before the softmax.
        states: [B, b, d], what enters the layer.
    """
    import torch

    attention = attention_rows(query, key, scaling)[:, :, 0].mean(dim=1)
    length: Tensor = torch.linalg.vector_norm(widen(states), dim=-1)
    return attention * length


def centres(distance: Tensor, count: int, cutoff: float) -> Tensor:
    """Return the indices [B, count] of cluster centres among tokens [B, n, n], ascending.

    A token's density is the sum of exp(−(distance/2)²) over all tokens; of equal ones the lowest
    index counts as the denser. From the densest on, a token farther than `cutoff` from all centres
    so far becomes one. How many there are depends on the tokens, and `count` is given: the densest
    of them are taken and, if they are too few, the densest of the others. n steps of O(n).
    """
    import torch

    density = (-((distance / 2) ** 2)).exp().sum(dim=2)
    order = density.sort(dim=1, descending=True, stable=True).indices
    near = take(take(distance, order).mT, order).mT <= cutoff
    covered = near.new_zeros(near.shape[:2])
    others = []
    for place in range(distance.shape[1]):
        others.append(covered[:, place])
        covered = covered | (near[:, place] & ~covered[:, place, None])
    first = torch.stack(others, dim=1).to(torch.int8).sort(dim=1, stable=True).indices
    return order.gather(1, first[:, :count]).sort(dim=1).values


def cluster(
    states: Tensor, scores: Tensor, keys: Tensor, count: int, cutoff: float = CUTOFF
) -> Clustered:
    """Drop the tokens of low score and merge the others into `count` clusters.

    Of the ⌊0.55·b⌋ = s tokens of highest score `count` become centres. Every token, dropped ones
    included, joins the nearest centre if it is within 1.5 times the cutoff, and is lost otherwise.
    Equal scores, densities and distances go to the lowest index. (s² + (b − s)·count)·d_k MACs per
    sequence.

    Args:
        states: [B, b, d].
        scores: [B, b], from `importance`.
        keys: [B, b, d_k], all heads' after rotary embedding.
        count: Tokens to leave, 1 to s.
        cutoff: Largest distance to a centre.

    Raises:
        InvalidInput: `count` is out of range.
    """
    import torch

    tokens = states.shape[1]
    check_count("clusters", count, survivors(tokens), least=1)
    alive = top_indices(scores, survivors(tokens))
    dropped = other_indices(alive, tokens)
    keys = unit(keys)
    living = take(keys, alive)
    distance = (1 - inner_products(living)).clamp(min=0)
    distance.diagonal(dim1=1, dim2=2).zero_()
    chosen = centres(distance, count, cutoff)
    far = 1 - take(keys, dropped) @ take(living, chosen).mT
    nearest = torch.cat([take(distance, chosen).mT, far], dim=1).min(dim=2)
    own = torch.arange(count, device=states.device).expand_as(chosen)
    group = nearest.indices.masked_fill(nearest.values > 1.5 * cutoff, count)
    group = group.scatter(1, chosen, own)  # a centre stays its own, beside an equal one too
    everyone = take(widen(states), torch.cat([alive, dropped], dim=1))
    means = mean_rows(group, everyone, count + 1)[:, :count]
    ones = everyone.new_ones(*group.shape, 1)
    sizes = add_rows(ones.new_zeros(len(ones), count + 1, 1), group, ones)[:, :count, 0]
    return Clustered(alive.gather(1, chosen), means.to(states.dtype), sizes)
