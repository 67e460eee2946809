"""VScan: what a shallow layer marks locally and a deep one globally; the rest is merged into it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from .common import check_count, mean_rows, other_indices, take, top_indices, unit, widen

if TYPE_CHECKING:
    from torch import Tensor

#: Windows along each side of a crop.
WINDOWS = 4


def windows(rows: int, columns: int) -> list[list[int]]:
    """Return the tokens of each of 4 × 4 windows of a raster, which begin at ⌊i·side/4⌋.

    >>> windows(4, 8)[:2]
    [[0, 1], [2, 3]]
    """
    down, across = (
        [side * part // WINDOWS for part in range(WINDOWS + 1)] for side in (rows, columns)
    )
    return [
        [row * columns + column for row in range(top, bottom) for column in range(left, right)]
        for top, bottom in pairwise(down)
        for left, right in pairwise(across)
    ]


def vscan(deep: Tensor, shallow: Tensor, grid: tuple[int, int], count: int) -> Tensor:
    """Return the indices [B, count] of the tokens that stay, ascending.

    The local scan takes ⌊⌊count/2⌋/16⌋ tokens of highest shallow score of each window, or all that
    it has; the global scan takes the others, of highest deep score. The released code, whose global
    scan takes count − ⌊count/2⌋, loses what the windows cannot share equally. Equal scores go to
    the lowest index. No products.

    Args:
        deep: [B, n], what tokens receive in the deep layer.
        shallow: [B, n], what they receive in the shallow one.
        grid: Rows and columns of the tokens.
        count: Tokens to keep.

    Raises:
        InvalidInput: There are fewer than `count` tokens.
    """
    import torch

    check_count("count", count, deep.shape[1])
    share = count // 2 // WINDOWS**2
    picks = [deep.new_empty(len(deep), 0, dtype=torch.int64)]
    for window in windows(*grid) if share else ():
        index = torch.tensor(window, device=deep.device, dtype=torch.int64)
        picks.append(index[top_indices(shallow[:, index], min(share, len(window)))])
    local = torch.cat(picks, dim=1)
    rest = top_indices(deep.scatter(1, local, float("-inf")), count - local.shape[1])
    return torch.cat([local, rest], dim=1).sort(dim=1).values


def merge_rest(tokens: Tensor, kept: Tensor, compared: Tensor | None = None) -> Tensor:
    """Return the kept tokens [B, k, d], each the mean of itself and what is most like it.

    A token that is not kept goes to the kept one of highest cosine, of equal ones, as computed, to
    the first. In float32 or wider. (n − k)·k·d MACs per crop.

    Args:
        tokens: [B, n, c], behind the connector.
        kept: [B, k], ascending.
        compared: [B, n, d], what cosines are of; None for the tokens themselves.
    """
    import torch

    rest = other_indices(kept, tokens.shape[1])
    rows = unit(tokens if compared is None else compared)
    nearest = (take(rows, rest) @ take(rows, kept).mT).argmax(dim=2)
    groups = torch.arange(kept.shape[1], device=kept.device).expand_as(kept)
    members = widen(take(tokens, torch.cat([kept, rest], dim=1)))
    joined = torch.cat([groups, nearest], dim=1)
    return mean_rows(joined, members, kept.shape[1]).to(tokens.dtype)
