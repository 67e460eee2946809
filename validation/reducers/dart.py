"""DART: a few pivots, and of the other tokens those that are least like them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...costmodel import InvalidInput
from .common import check_count, take, top_indices, unit, widen

if TYPE_CHECKING:
    from torch import Tensor

#: Pivots among the visual tokens, and among the text tokens behind them.
PIVOTS = 4


def key_lengths(key: Tensor) -> Tensor:
    """Return the L1 length [B, n] of keys [B, h_kv, n, d_h] over all heads, in float32 or wider.

    No products.
    """
    return widen(key).abs().sum(dim=(1, 3))


def dart(
    visual: Tensor, text: Tensor, visual_lengths: Tensor, text_lengths: Tensor, count: int
) -> Tensor:
    """Return which visual tokens stay, as indices [B, count] of the M visual ones, ascending.

    The four visual and the four text tokens of the longest keys are pivots. The visual pivots
    stay. Then each of the eight, the visual ones first and both in the order of their places, takes
    its share of the visual tokens that nobody has taken, those of least cosine with it: an eighth
    of what is still to be kept, the first pivots one more where eight does not divide it. Equal
    lengths and cosines go to the lowest index. In float32 or wider.

    8·M·d MACs per sequence: the cosines of all pivots are one product, so that tokens that are
    already taken are hidden and not left out; then eight rounds of sorting M values.

    Args:
        visual: [B, M, d], states of the visual tokens.
        text: [B, N, d], states of the text tokens, in the same layer.
        visual_lengths: [B, M], from `key_lengths`.
        text_lengths: [B, N]; −inf for a token that is no pivot if others are there.
        count: Visual tokens to keep, 4 to M.

    Raises:
        InvalidInput: Fewer than four text tokens, or fewer than four visual tokens to keep.
    """
    import torch

    batch, tokens, _ = visual.shape
    check_count("count", count, tokens, least=PIVOTS)
    if text.shape[1] < PIVOTS:
        problem = f"leaves DART without its {PIVOTS} text pivots"
        raise InvalidInput("text_tokens", text.shape[1], problem, f"give at least {PIVOTS}")
    own = top_indices(visual_lengths, PIVOTS)
    pivots = torch.cat([take(visual, own), take(text, top_indices(text_lengths, PIVOTS))], dim=1)
    cosines = unit(pivots) @ unit(visual).mT
    taken = torch.zeros(batch, tokens, dtype=torch.bool, device=visual.device)
    taken = taken.scatter(1, own, torch.ones_like(own, dtype=torch.bool))
    share, more = divmod(count - PIVOTS, 2 * PIVOTS)
    for pivot in range(2 * PIVOTS):
        unlike = (-cosines[:, pivot]).masked_fill(taken, -float("inf"))
        picks = top_indices(unlike, share + (pivot < more))
        taken = taken.scatter(1, picks, torch.ones_like(picks, dtype=torch.bool))
    return top_indices(taken.to(torch.int8), count)
