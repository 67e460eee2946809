"""DyCoke: in groups of four frames, three keep what is least like an earlier one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import check_count, top_indices, unit

if TYPE_CHECKING:
    from torch import Tensor


def compared(frames: int) -> list[tuple[int, int]]:
    """Return which frames lose tokens, each with the frame that it is compared with.

    Every second frame with the one before it, and the third of every four with the first, but not
    in the last group, whole or not: ⌊F/2⌋ + ⌊(F − 1)/4⌋ of them, in order.

    >>> compared(8)
    [(1, 0), (2, 0), (3, 2), (5, 4), (7, 6)]
    """
    seconds = [(later, later - 1) for later in range(1, frames, 2)]
    thirds = [(first + 2, first) for first in range(0, frames - 4, 4)]
    return sorted(seconds + thirds)


def dycoke(frames: Tensor, left: int) -> Tensor:
    """Return the indices [B, k] of the tokens F·n that stay, ascending.

    Of `compared` frames those `left` tokens stay whose cosines with the same places of the other
    frame are lowest, the lowest index first; of the others all. Compared frames are whole, also
    where the earlier one loses tokens itself: frame 3 is compared with all of frame 2. The
    released code hands a second frame the choice of the pair before it, and drops the last of an
    odd number of frames; here each has its own, and the last one stays.

    (⌊F/2⌋ + ⌊(F − 1)/4⌋)·n·d MACs per sequence, in float32 or wider.
    Source: arXiv 2411.15024; KD-TAO/DyCoke commit 26dc6f4, llava_arch.py.

    Args:
        frames: [B, F, n, d].
        left: Tokens that stay of a compared frame.

    Raises:
        InvalidInput: A frame has fewer tokens.
    """
    import torch

    batch, count, tokens, _ = frames.shape
    check_count("left", left, tokens)
    place = torch.arange(tokens, device=frames.device).expand(batch, -1)
    stays = dict.fromkeys(range(count), place)
    pairs = compared(count)
    if pairs:
        rows = unit(frames)
        later, earlier = (rows[:, list(of_all)] for of_all in zip(*pairs, strict=True))
        cosines = (later[..., None, :] @ earlier[..., None])[..., 0, 0]
        for index, (frame, _) in enumerate(pairs):
            stays[frame] = top_indices(-cosines[:, index], left)
    return torch.cat([tokens * frame + kept for frame, kept in stays.items()], dim=1)
