"""SCOPE: keep, one after another, the tokens that add most coverage where attention is high."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import check_count, inner_products, take, unit, widen

if TYPE_CHECKING:
    from torch import Tensor


def scope(features: Tensor, attention: Tensor, count: int) -> Tensor:
    """Return the indices [B, count] of the tokens that stay, ascending.

    A set of tokens covers a token by the largest of its cosines with them, at least by 0. Each pick
    is the token whose gain, the sum over all tokens of what it adds to their coverage, times its
    attention is largest; equal products, as computed, go to the lowest index. In float32 or wider.

    n²·d MACs per sequence for the cosines, then `count` steps of O(n²).

    Args:
        features: [B, n, d], the tokens to choose from.
        attention: [B, n], of the class token, or received; its power in the product is 1.
        count: Tokens to keep.

    Raises:
        InvalidInput: There are fewer than `count` tokens.
    """
    import torch

    batch, tokens, _ = features.shape
    check_count("count", count, tokens)
    cosines = inner_products(unit(features))
    attention = widen(attention)
    covered = cosines.new_zeros(batch, tokens)
    picked = torch.zeros(batch, tokens, dtype=torch.bool, device=features.device)
    picks = torch.zeros(batch, count, dtype=torch.int64, device=features.device)
    for step in range(count):
        gain = (cosines - covered[:, :, None]).clamp(min=0).sum(dim=1) * attention
        pick = gain.masked_fill(picked, -float("inf")).argmax(dim=1, keepdim=True)
        picks[:, step] = pick[:, 0]
        picked = picked.scatter(1, pick, torch.ones_like(pick, dtype=torch.bool))
        covered = covered.maximum(take(cosines, pick)[:, 0])
    return picks.sort(dim=1).values
