"""HAWK: text matches visual tokens by the first layer's queries and keys, heads weighted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import check_count, top_indices, unit, widen

if TYPE_CHECKING:
    from torch import Tensor

#: Importances of Qwen2.5-VL-7B's heads, as released (peppery77/HAWK commit 312c710) before they are
#: made to sum to 1. Others are not published.
QWEN2_5_VL_7B = (
    *(0.0875, 0.3, 0.048, 0.0321, 0.0104, 0.0102, 0.0336),
    *(0.046, 0.054, 0.0472, 0.0234, 0.0537, 0.0109, 0.0573),
    *(0.0276, 0.0403, 0.0429, 0.0352, 0.0162, 0.0519, 0.0553),
    *(0.0266, 0.0222, 0.048, 0.0337, 0.025, 0.0, 0.0224),
)


def head_weights(heads: int, published: bool) -> tuple[float, ...]:
    """Return importances that sum to 1: the published ones if there are as many, or equal ones."""
    raw = QWEN2_5_VL_7B if published and heads == len(QWEN2_5_VL_7B) else (1.0,) * heads
    return tuple(weight / sum(raw) for weight in raw)


def hawk(
    query: Tensor, key: Tensor, raters: Tensor, weights: tuple[float, ...], count: int
) -> Tensor:
    """Return which visual tokens stay, as indices [B, count], ascending.

    Each head's scores are the mean of q·k/√d_h over the raters, divided by their length over the
    visual tokens; a token's score is their sum weighted by head. Equal scores, as computed, go to
    the lowest index. In float32 or wider.

    N·V·h·d_h MACs per sequence beside the projections: products of all text tokens, because the
    number of raters is known to the device alone.

    Args:
        query: [B, h, N, d_h], of the text tokens, without rotary embedding.
        key: [B, h_kv, V, d_h], of the visual tokens, likewise.
        raters: [B, N], bool, the text tokens that rate: those of the question.
        weights: Importance of each head.
        count: Visual tokens to keep.

    Raises:
        InvalidInput: There are fewer than `count` visual tokens, or other heads than weights.
    """
    batch, heads, text, size = query.shape
    groups, visual = key.shape[1:3]
    check_count("count", count, visual)
    check_count("weights", len(weights), heads, least=heads)
    grouped = widen(query).reshape(batch, groups, heads // groups * text, size)
    products = (grouped @ widen(key).mT).view(batch, heads, text, visual) * size**-0.5
    total = products.masked_fill(~raters[:, None, :, None], 0).sum(dim=2)
    scores = unit(total / raters.sum(dim=1)[:, None, None])
    return top_indices((scores * scores.new_tensor(weights)[:, None]).sum(dim=1), count)
