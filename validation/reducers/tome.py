"""ToMe: merge an encoder's most similar tokens pairwise, between attention and feed-forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .common import add_rows, check_count, other_indices, take, top_indices, unit

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Matching:
    """Which even tokens merge into which odd ones.

    Attributes:
        merged: [B, r], indices into the even tokens, ascending.
        partner: [B, r], indices into the odd tokens, which may repeat.
        unmerged: [B, ⌈n/2⌉ − r], the other even tokens, ascending.
    """

    merged: Tensor
    partner: Tensor
    unmerged: Tensor


def match(metric: Tensor, merged: int, class_token: bool) -> Matching:
    """Return the `merged` even tokens that are most similar to an odd token.

    Similarity is the cosine, in float32 or wider; of equal ones the lowest index is taken, both
    among the odd tokens and among the even. ⌈n/2⌉·⌊n/2⌋·d_k MACs per crop.

    Args:
        metric: [B, n, d_k], what is compared: keys averaged over heads.
        merged: Tokens to merge away.
        class_token: Whether token 0 is a class token, which never merges into another.

    Raises:
        InvalidInput: `merged` exceeds half the tokens, a class token left out.
    """
    check_count("merged", merged, (metric.shape[1] - int(class_token)) // 2)
    even, odd = unit(metric[:, ::2]), unit(metric[:, 1::2])
    similarity, partner = (even @ odd.mT).max(dim=2)
    if class_token:
        similarity[:, 0] = float("-inf")
    chosen = top_indices(similarity, merged)
    return Matching(chosen, partner.gather(1, chosen), other_indices(chosen, even.shape[1]))


def merge(states: Tensor, sizes: Tensor, matching: Matching) -> tuple[Tensor, Tensor]:
    """Return states [B, n − r, c] and float32 sizes [B, n − r] after merging.

    A merged token is the mean of its parts, weighted by their sizes. The unmerged even tokens come
    first, in order, then the odd ones. O(B·n·c).
    """
    import torch

    weights = sizes[:, :, None]
    weighted = states * weights  # in float32 or wider, as the sizes are
    totals = add_rows(weights[:, 1::2], matching.partner, take(weights[:, ::2], matching.merged))
    sums = add_rows(weighted[:, 1::2], matching.partner, take(weighted[:, ::2], matching.merged))
    means = (sums / totals).to(states.dtype)
    return (
        torch.cat([take(states[:, ::2], matching.unmerged), means], dim=1),
        torch.cat([take(sizes[:, ::2], matching.unmerged), totals[:, :, 0]], dim=1),
    )


def tome(
    states: Tensor, sizes: Tensor, metric: Tensor, merged: int, class_token: bool
) -> tuple[Tensor, Tensor]:
    """Return the states [B, n − merged, c] and sizes [B, n − merged] that go on from attention.

    ⌈n/2⌉·⌊n/2⌋·d_k MACs per crop; with merged = 0 nothing is computed and the arguments come back.

    Args:
        states: [B, n, c].
        sizes: [B, n], how many of the first block's tokens each one stands for, in float32.
        metric: [B, n, d_k], the block's keys averaged over heads.
        merged: Tokens to merge away, at most half of those that are not the class token.
        class_token: Whether token 0 is a class token, which never merges into another.

    Raises:
        InvalidInput: `merged` is out of range.
    """
    if merged == 0:
        return states, sizes
    return merge(states, sizes, match(metric, merged, class_token))


def proportional_bias(sizes: Tensor) -> Tensor:
    """Return log(sizes) as a mask [B, 1, 1, n]: attention to a token grows with its size."""
    return sizes.log()[:, None, None]
