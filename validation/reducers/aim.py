"""AIM: merge neighbours of a frame in rounds, then rank tokens by PageRank of the attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .common import attention_rows, check_count, take
from .tome import match, merge

if TYPE_CHECKING:
    from torch import Tensor

#: Rounds of merging, each of which can halve the tokens.
MOST_ROUNDS = 6
#: Temperature of the attention that is walked, and steps of the walk.
TEMPERATURE, STEPS = 0.1, 5


@dataclass(frozen=True, slots=True)
class Halved:
    """Tokens after merging.

    Attributes:
        states: [X, m, d].
        places: [X, m], the token that each one started from, ascending.
    """

    states: Tensor
    places: Tensor


def merge_neighbours(states: Tensor, count: int, width: int | None = None) -> Halved:
    """Merge the tokens of each frame until `count` are left, in rounds that halve them at most.

    In a round the even tokens most similar to an odd one, by cosine, join it; the odd token becomes
    the mean of itself and what joined it, whatever they were made of before. Tokens stay in order.
    Equal similarities go to the lowest index. ⌈c/2⌉·⌊c/2⌋·d MACs per frame and round, c being the
    tokens that it begins with: n, ⌈n/2⌉, ⌈n/4⌉ …

    Args:
        states: [X, n, d], the frames' tokens.
        count: Tokens to leave of each frame, ⌈n/64⌉ to n.
        width: Channels that are compared, the first of them; None for all.

    Raises:
        InvalidInput: `count` is out of range.
    """
    import torch

    frames, tokens, _ = states.shape
    check_count("frame tokens", count, tokens, least=-(-tokens // 2**MOST_ROUNDS))
    places = torch.arange(tokens, device=states.device).expand(frames, -1)
    while tokens > count:
        merged = min(tokens - count, tokens // 2)
        matching = match(states[..., :width], merged, class_token=False)
        ones = torch.ones(frames, tokens, device=states.device)
        states, _ = merge(states, ones, matching)
        places = torch.cat([take(places[:, ::2], matching.unmerged), places[:, 1::2]], dim=1)
        places, order = places.sort(dim=1)
        states, tokens = take(states, order), tokens - merged
    return Halved(states, places)


def page_rank(
    query: Tensor,
    key: Tensor,
    scaling: float,
    visual: Tensor,
    mask: Tensor | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Return the importance [B, m] of visual tokens: where a walk along the attention ends.

    Five steps from all tokens alike, in each head on its own, along its attention at temperature
    0.1 and without jumps; then the root of the mean square over heads. n²·h·d_h + 5·n²·h MACs per
    sequence, in float32 or wider.

    Args:
        query: [B, h, n, d_h], of all tokens after rotary embedding.
        key: [B, h_kv, n, d_h], likewise.
        scaling: Factor of the products before the softmax.
        visual: [B, m], where the visual tokens are among the n.
        mask: As in `attention_rows`; it must be given where attention is causal.
        softcap: As in `attention_rows`.
    """
    attention = attention_rows(query, key, scaling, mask, softcap)
    # The softmax of logits at a temperature is that of their softmax's logarithm.
    steps = (attention.log() / TEMPERATURE).softmax(dim=-1)
    rank = steps.new_full((*steps.shape[:2], 1, steps.shape[-1]), 1 / steps.shape[-1])
    for _ in range(STEPS):
        rank = rank @ steps
    return take(rank[:, :, 0].square().mean(dim=1).sqrt(), visual)
