"""FreeVA: all tokens of a few frames, the maxima of neighbouring ones, or the frames' mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...costmodel import InvalidInput
from .common import widen

if TYPE_CHECKING:
    from torch import Tensor


def freeva(frames: Tensor, count: int) -> tuple[Tensor, int]:
    """Return the tokens [B, count, c] of frames, and how many of a frame's each one stands for.

    F·n: all as they are. F·⌊n/2⌋: of each frame the maximum of tokens 2i and 2i + 1, channel by
    channel; an odd last one is dropped. n: the mean over frames. Frame by frame; no product.
    Source: arXiv 2405.07798; whwu95/FreeVA commit 15707fc, temporal_aggregation.

    Args:
        frames: [B, F, n, c].
        count: Tokens that are to be left.

    Raises:
        InvalidInput: None of the three ways leaves as many.
    """
    batch, number, tokens, width = frames.shape
    if count == number * tokens:
        return frames.flatten(1, 2), 1
    half = tokens // 2
    if count == number * half:
        pairs = frames[:, :, : 2 * half].reshape(batch, number, half, 2, width)
        return pairs.amax(dim=3).flatten(1, 2), 2
    if count == tokens:
        return widen(frames).mean(dim=1).to(frames.dtype), 1
    ways = f"{number * tokens}, {number * half} or {tokens}"
    raise InvalidInput(
        "reduction.compressed",
        count,
        f"is no way to aggregate {number} frames of {tokens} tokens",
        f"give {ways}",
    )
