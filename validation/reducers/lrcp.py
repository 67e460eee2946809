"""LRCP: keep the tokens that a low-rank subspace explains worst, and merge the others into them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import add_rows, check_count, other_indices, take, top_indices, unit, widen

if TYPE_CHECKING:
    from torch import Tensor

#: Singular vectors that span the subspace.
RANK = 4


def residuals(tokens: Tensor, rank: int = RANK) -> Tensor:
    """Return the squared length [B, n] of what tokens [B, n, d] have outside the subspace.

    Tokens are centred; the subspace is that of the `rank` right singular vectors of largest
    singular value. They come from the eigenvectors of the smaller of XXᵀ and XᵀX. In float32 or
    wider. Of tied singular values, which vectors span the subspace is the routine's choice.

    n·d·min(n, d) MACs per sequence for XXᵀ or XᵀX, and 2·rank·n·d for the projection and what it
    leaves. The eigenvectors of a matrix of min(n, d) rows are no products, and on CUDA torch waits
    for them.
    """
    import torch

    centred = widen(tokens) - widen(tokens).mean(dim=1, keepdim=True)
    _, count, width = centred.shape
    if count <= width:
        left = torch.linalg.eigh(centred @ centred.mT).eigenvectors[..., -rank:]
        # Rows of the projection: UUᵀX, U being orthonormal.
        explained = left @ (left.mT @ centred)
    else:
        right = torch.linalg.eigh(centred.mT @ centred).eigenvectors[..., -rank:]
        explained = (centred @ right) @ right.mT
    left_over: Tensor = centred - explained
    return left_over.square().sum(dim=2)


def lrcp(tokens: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return what stays [B, count], ascending, and what becomes of it, [B, count, d].

    The tokens of largest residual stay. Each of the others goes to the kept token of largest
    cosine, and each kept token becomes the mean of itself and those. Equal residuals and cosines go
    to the lowest index. Beside `residuals`, (n − count)·count·d MACs per sequence.

    Args:
        tokens: [B, n, d].
        count: Tokens to keep, 1 to n.

    Raises:
        InvalidInput: There are fewer than `count` tokens.
    """
    batch, total, _ = tokens.shape
    check_count("count", count, total, least=1)
    kept = top_indices(residuals(tokens), count)
    dropped = other_indices(kept, total)
    wide, directions = widen(tokens), unit(tokens)
    stay, leave = take(wide, kept), take(wide, dropped)
    nearest = (take(directions, dropped) @ take(directions, kept).mT).argmax(dim=2)
    sums = add_rows(stay, nearest, leave)
    sizes = add_rows(stay.new_ones(batch, count, 1), nearest, leave.new_ones(*leave.shape[:2], 1))
    return kept, (sums / sizes).to(tokens.dtype)
