"""VisPruner: important tokens by attention, and diverse ones by dropping what is alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...costmodel import InvalidInput
from .common import check_count, take, unit

if TYPE_CHECKING:
    from torch import Tensor

#: Tokens that a round drops.
ROUND = 8


def vispruner(features: Tensor, scores: Tensor, count: int, important: int) -> Tensor:
    """Return the indices [B, count] of the tokens that stay, ascending.

    The `important` tokens of highest score stay. The R others, best first, are dropped eight a
    round: every other one, from the first on, is compared with those between by cosine, and those
    that resemble one of these most are dropped; the rest of them, most alike first, and then those
    between are what the next round begins with. The last round drops what is left to be dropped.
    Equal scores and equal cosines, as computed, go to the token that comes first. In float32 or
    wider.

    Σ ⌈R/2⌉·⌊R/2⌋·d MACs per crop over the rounds.

    Args:
        features: [B, n, d], in front of the connector.
        scores: [B, n], attention that each receives.
        count: Tokens to keep.
        important: Those of them that scores choose.

    Raises:
        InvalidInput: There are not that many tokens, or a round would have to drop more than every
            other token that is left.
    """
    import torch

    tokens = features.shape[1]
    check_count("count", count, tokens)
    check_count("important", important, count)
    diverse = count - important
    rows = unit(features)
    order = scores.sort(dim=1, descending=True, stable=True).indices
    left = order[:, important:]
    while left.shape[1] > diverse:
        remaining = left.shape[1]
        dropped = min(ROUND, remaining - diverse)
        if dropped > (remaining + 1) // 2:
            problem = f"is too few for a round to drop {dropped} of {remaining} tokens"
            raise InvalidInput("count", count, problem, "keep more tokens")
        compared, between = left[:, ::2], left[:, 1::2]
        alike = (take(rows, compared) @ take(rows, between).mT).amax(dim=2)
        order_of_likeness = alike.sort(dim=1, descending=True, stable=True).indices
        left = torch.cat([compared.gather(1, order_of_likeness[:, dropped:]), between], dim=1)
    return torch.cat([order[:, :important], left], dim=1).sort(dim=1).values
