"""FastV: keep the visual tokens that the last token attends to most, in the layer before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import attention_rows, take, top_indices

if TYPE_CHECKING:
    from torch import Tensor


def rank(
    query: Tensor,
    key: Tensor,
    scaling: float,
    visual: Tensor,
    mask: Tensor | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Return the attention [B, m] that visual tokens receive from one token, mean over heads.

    n·h·d_h MACs per sequence, in float32 or wider.

    Args:
        query: [B, h, 1, d_h], of the last token after rotary embedding.
        key: [B, h_kv, n, d_h], of all tokens after rotary embedding.
        scaling: Factor of the products before the softmax.
        visual: [B, m], where the visual tokens are among the n.
        mask: As in `attention_rows`; without one the last token sees every token.
        softcap: As in `attention_rows`.
    """
    rows = attention_rows(query, key, scaling, mask, softcap)
    return take(rows[:, :, 0].mean(dim=1), visual)


def fastv(
    query: Tensor,
    key: Tensor,
    scaling: float,
    visual: Tensor,
    count: int,
    mask: Tensor | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Return which visual tokens stay, as indices [B, count] into the m visual ones, ascending.

    The arguments are those of `rank`, taken in layer K−1 for a reduction at layer K. Equal scores
    go to the lowest index. n·h·d_h MACs per sequence, and a sort of m scores.

    Raises:
        InvalidInput: There are fewer than `count` visual tokens.
    """
    return top_indices(rank(query, key, scaling, visual, mask, softcap), count)
