"""SparseVLM: text tokens rate the visual ones, and the best of the dropped are merged, not lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import (
    attention_rows,
    check_count,
    inner_products,
    mean_rows,
    other_indices,
    take,
    top_indices,
    widen,
)

if TYPE_CHECKING:
    from torch import Tensor


def raters(visual: Tensor, text: Tensor) -> Tensor:
    """Return which text tokens rate, as bool [B, N]: those of more than mean relevance.

    Relevance is the softmax over text of the products of visual and text embeddings, mean over the
    visual tokens, in float32 or wider. If none exceeds the mean, all rate. M·N·d MACs per sequence.

    Args:
        visual: [B, M, d], the visual tokens that enter the decoder.
        text: [B, N, d], the text tokens that enter it.
    """
    relevance = (widen(visual) @ widen(text).mT).softmax(dim=2).mean(dim=1)
    above = relevance > relevance.mean(dim=1, keepdim=True)
    return above | ~above.any(dim=1, keepdim=True)


def rater_scores(
    query: Tensor,
    key: Tensor,
    scaling: float,
    raters: Tensor,
    visual: Tensor,
    mask: Tensor | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Return the attention [B, m] that visual tokens receive, mean over heads and raters.

    N·n·h·d_h MACs per sequence, because the number of raters is known to the device alone; in
    float32 or wider.

    Args:
        query: [B, h, N, d_h], of the text tokens after rotary embedding.
        key: [B, h_kv, n, d_h], of all tokens after rotary embedding.
        scaling: Factor of the products before the softmax.
        raters: [B, N], bool, from `raters`.
        visual: [B, m], where the visual tokens are among the n.
        mask: As in `attention_rows`; the causal one hides from a text token what comes later.
        softcap: As in `attention_rows`.
    """
    rows = attention_rows(query, key, scaling, mask, softcap).mean(dim=1)
    total = rows.masked_fill(~raters[:, :, None], 0).sum(dim=1)
    return take(total / raters.sum(dim=1, keepdim=True), visual)


def cluster(tokens: Tensor, clusters: int) -> Tensor:
    """Return the cluster [B, r] of each token, by density peaks over nearest neighbours.

    Distance is Euclid/√d, in float32 or wider. A token's density is exp(−the mean squared distance
    to its `clusters` nearest, itself at distance 0 included); of equal densities the lower index
    counts as the higher. Centres are the tokens of highest density times distance to the nearest
    denser token (for the densest: the largest distance of all), numbered by index. Every other
    token joins its nearest centre. Ties go to the lowest index. r²·d MACs per sequence.

    Args:
        tokens: [B, r, d].
        clusters: Clusters to form, 1 to r.

    Raises:
        InvalidInput: There are fewer than `clusters` tokens.
    """
    import torch

    _, count, width = tokens.shape
    check_count("clusters", clusters, count, least=1)
    squared = _squared_distances(widen(tokens)) / width
    distance = squared.sqrt()
    spread = squared.topk(clusters, dim=2, largest=False).values.mean(dim=2)
    mine, theirs = spread[:, :, None], spread[:, None, :]
    index = torch.arange(count, device=tokens.device)
    denser = (theirs < mine) | ((theirs == mine) & (index < index[:, None]))
    largest = distance.amax(dim=(1, 2), keepdim=True)
    separation = torch.where(denser, distance, largest).amin(dim=2)
    centres = top_indices(separation * (-spread).exp(), clusters)
    nearest = take(distance, centres).argmin(dim=1)
    own = torch.arange(clusters, device=tokens.device).expand_as(centres)
    return nearest.scatter(1, centres, own)  # a centre stays its own, beside an equal one too


def recycle(states: Tensor, scores: Tensor, kept: Tensor, recycled: int, clusters: int) -> Tensor:
    """Return tokens [B, clusters, d] that stand for the best of the dropped ones.

    The `recycled` dropped tokens of highest score are clustered, and each cluster becomes the mean
    of its members; equal scores go to the lowest index. recycled²·d MACs per sequence.

    Args:
        states: [B, m, d], all visual tokens.
        scores: [B, m], from `rater_scores`.
        kept: [B, k], the visual tokens that stay as they are.
        recycled: Dropped tokens to recycle.
        clusters: Tokens to merge them into, 1 to `recycled`.

    Raises:
        InvalidInput: There are not that many tokens.
    """
    dropped = other_indices(kept, states.shape[1])
    check_count("recycled", recycled, dropped.shape[1])
    best = dropped.gather(1, top_indices(scores.gather(1, dropped), recycled))
    tokens = widen(take(states, best))
    return mean_rows(cluster(tokens, clusters), tokens, clusters).to(states.dtype)


def _squared_distances(points: Tensor) -> Tensor:
    """Return the squared distances [B, r, r] of points [B, r, d], 0 on the diagonal."""
    points = points - points[:, :1]  # the squares of a common offset would cancel badly
    products = inner_products(points)
    squares = products.diagonal(dim1=1, dim2=2)
    squared = (squares[:, :, None] + squares[:, None, :] - 2 * products).clamp(min=0)
    squared.diagonal(dim1=1, dim2=2).zero_()
    return squared
