"""FrameFusion: merge tokens into the same place of the frame before, the most alike first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .common import check_count, mean_rows, take, top_indices, unit, widen

if TYPE_CHECKING:
    from torch import Tensor


class Fusion(NamedTuple):
    """Which tokens of all frames are left, and which of them each token goes to.

    Attributes:
        kept: [B, k], indices into F·n, ascending.
        target: [B, F·n], the token that each one merges into: itself for those that are left.
    """

    kept: Tensor
    target: Tensor


def alike(frames: Tensor) -> Tensor:
    """Return cosines [B, F − 1, n] of tokens with their places in the frame before.

    (F − 1)·n·d MACs per sequence, in float32 or wider.
    """
    rows = unit(frames)
    later, earlier = rows[:, 1:], rows[:, :-1]
    cosines: Tensor = (later[..., None, :] @ earlier[..., None])[..., 0, 0]
    return cosines


def framefusion(frames: Tensor, kept: int) -> Fusion:
    """Merge the F·n − kept tokens that are most like their places in the frame before.

    A token merges into the last token at its place, or before that in the order of places, that
    does not merge itself. Places come one after another, and in each of them its frames; equal
    cosines go to the first in that order. The first token of a place has no cosine and comes behind
    all others; the very first never merges. This is the released code when the first merge finds as
    many like tokens as are to leave, which it asks of the video; here the amount is given.

    (F − 1)·n·d MACs per sequence. Source: thu-nics/FrameFusion commit 275c7e7, main.py.

    Args:
        frames: [B, F, n, d].
        kept: Tokens to be left of the whole video.

    Raises:
        InvalidInput: `kept` is not in 1 … F·n.
    """
    import torch

    batch, count, tokens, _ = frames.shape
    total = count * tokens
    check_count("count", kept, total, least=1)
    first = frames.new_full((batch, 1, tokens), -2.0, dtype=widen(frames).dtype)
    cosines = torch.cat([first, alike(frames)], dim=1)
    cosines[:, 0, 0] = -3.0
    by_place = cosines.mT.flatten(1)  # place by place, each frame by frame
    merges = torch.zeros_like(by_place, dtype=torch.int64)
    merges = merges.scatter(1, top_indices(by_place, total - kept), 1)
    order = torch.arange(total, device=frames.device)
    start = torch.where(merges == 0, order, 0).cummax(dim=1).values
    # From the order of places back to that of frames.
    start = start % count * tokens + start // count
    target = start.reshape(batch, tokens, count).mT.flatten(1)
    return Fusion(top_indices((target == order).to(torch.int8), kept), target)


def fused(tokens: Tensor, fusion: Fusion) -> Tensor:
    """Return what is left of tokens [B, F·n, c]: means of those that merged, [B, k, c]."""
    means = mean_rows(fusion.target, widen(tokens), tokens.shape[1])
    return take(means, fusion.kept).to(tokens.dtype)
