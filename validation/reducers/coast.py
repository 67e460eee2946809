"""COAST: anchors that the last text token attends to, tokens most like them and some least like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import attention_rows, check_count, other_indices, take, top_indices, unit

if TYPE_CHECKING:
    from torch import Tensor

#: Share of spatial context among the rest, at an entropy of 0 and of 1.
LEAST_CONTEXT, MOST_CONTEXT = 0.05, 0.15


def anchors(count: int) -> int:
    """Return how many of `count` kept tokens are anchors: ⌊0.8·count⌋, at least 1.

    >>> [anchors(count) for count in (1, 2, 128)]
    [1, 1, 102]
    """
    return max(1, 4 * count // 5)


def text_attention(
    query: Tensor,
    key: Tensor,
    scaling: float,
    visual: Tensor,
    mask: Tensor | None = None,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Return what visual tokens receive: at most of any text token, and of the last, each [B, m].

    Both are means over heads. N·n·h·d_h MACs per sequence, in float32 or wider.

    Args:
        query: [B, h, N, d_h], of the text tokens after rotary embedding.
        key: [B, h_kv, n, d_h], of all tokens after rotary embedding.
        scaling: Factor of the products before the softmax.
        visual: [B, m], where the visual tokens are among the n.
        mask: As in `attention_rows`.
        softcap: As in `attention_rows`.
    """
    rows = attention_rows(query, key, scaling, mask, softcap).mean(dim=1)
    return take(rows.amax(dim=1), visual), take(rows[:, -1], visual)


def entropy(scores: Tensor) -> Tensor:
    """Return the entropy [B] of scores [B, m] as a share of the largest, 0 to 1; 0 of one token."""
    from math import log

    tokens = scores.shape[1]
    if tokens == 1:
        return scores.new_zeros(len(scores))
    shares = scores / scores.sum(dim=1, keepdim=True).clamp(min=1e-30)
    shares = shares.clamp(min=1e-10)
    return (-(shares * shares.log()).sum(dim=1) / log(tokens)).clamp(0, 1)


def coast(states: Tensor, largest: Tensor, last: Tensor, count: int) -> Tensor:
    """Return which visual tokens stay, as indices [B, count], ascending.

    ⌊0.8·count⌋ anchors are those of highest `last`. The others are rated by their largest cosine
    with an anchor, less the mean of those with the reference, a tenth of all tokens (one at least,
    and no more than are neither anchors nor to be kept) of lowest `largest`. Of the places left,
    r, the context gets ⌊r·(0.05 + 0.1·H)⌋, 1 to r − 1 (if r is 1, that one), for the lowest rated,
    and the highest rated get the others; H is the entropy of `largest`. Equal scores go to the
    lowest index. (m − k)·(k + 1)·d MACs per sequence for k anchors: a mean of cosines is the
    product with the mean of unit vectors.

    Args:
        states: [B, m, d].
        largest: [B, m], the most attention that any text token pays.
        last: [B, m], the last text token's.
        count: Tokens to keep, 1 to m.

    Raises:
        InvalidInput: `count` is out of range.
    """
    import torch

    tokens = states.shape[1]
    check_count("count", count, tokens, least=1)
    many, rest = anchors(count), count - anchors(count)
    chosen = top_indices(last, many)
    others = other_indices(chosen, tokens)
    size = max(1, min(tokens // 10, tokens - many - count))
    reference = top_indices(-largest, size)
    rows = unit(states)
    candidates = take(rows, others)
    like = (candidates @ take(rows, chosen).mT).amax(dim=2)
    unlike = candidates @ take(rows, reference).mean(dim=1)[:, :, None]
    order = (like - unlike[:, :, 0]).sort(dim=1, descending=True, stable=True).indices
    share = LEAST_CONTEXT + (MOST_CONTEXT - LEAST_CONTEXT) * entropy(largest)
    context = (rest * share).floor().clamp(min(1, rest), max(1, rest - 1)) if rest else 0 * share
    # The context's lowest rated stand at the end of the order: how many they are is not known here.
    place = torch.arange(others.shape[1], device=states.device)
    context = context[:, None]
    taken = (place < rest - context) | (place >= others.shape[1] - context)
    marked = top_indices(taken.to(torch.int8), rest)
    kept = torch.cat([chosen, others.gather(1, order.gather(1, marked))], dim=1)
    return kept.sort(dim=1).values
