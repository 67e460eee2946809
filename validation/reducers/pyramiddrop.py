"""PyramidDrop: at each stage, keep the visual tokens that the next layer's last token prefers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import top_indices
from .fastv import rank

if TYPE_CHECKING:
    from torch import Tensor


def pyramiddrop(
    query: Tensor,
    key: Tensor,
    scaling: float,
    visual: Tensor,
    count: int,
    mask: Tensor | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Return which visual tokens stay, as indices [B, count] into the m visual ones, ascending.

    The rule is FastV's on another layer: the one query and the n keys are projected from the states
    that enter layer K, by layer K's own input norm and projections. Equal scores go to the lowest
    index. n·h·d_h MACs per sequence beside the projections, and a sort of m scores.

    Args:
        query: [B, h, 1, d_h], of the last token after rotary embedding.
        key: [B, h_kv, n, d_h], of all tokens after rotary embedding.
        scaling: Factor of the products before the softmax.
        visual: [B, m], where the visual tokens are among the n.
        count: Visual tokens to keep.
        mask: As in `attention_rows`; without one the last token sees every token.
        softcap: As in `attention_rows`.

    Raises:
        InvalidInput: There are fewer than `count` visual tokens.
    """
    return top_indices(rank(query, key, scaling, visual, mask, softcap), count)
