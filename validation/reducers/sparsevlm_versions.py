"""SparseVLM 1.0 and 2.0: the rank of the raters' rows; corrected rows of the heads that see most.

What the versions share with that of the proceedings is in `sparsevlm`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import attention_rows, take, top_indices, widen

if TYPE_CHECKING:
    from torch import Tensor

#: Heads that version 2.0 listens to.
PRIORITY_HEADS = 14


def relation(
    query: Tensor,
    key: Tensor,
    scaling: float,
    raters: Tensor,
    visual: Tensor,
    mask: Tensor | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Return the raters' attention to visual tokens [B, N, m], mean over heads.

    The rows of text tokens that do not rate are 0. N·n·h·d_h MACs per sequence, in float32 or
    wider.

    Args:
        query: [B, h, N, d_h], of the text tokens after rotary embedding.
        key: [B, h_kv, n, d_h], of all tokens after rotary embedding.
        scaling: Factor of the products before the softmax.
        raters: [B, N], bool.
        visual: [B, m], where the visual tokens are among the n.
        mask: As in `attention_rows`.
        softcap: As in `attention_rows`.
    """
    rows = attention_rows(query, key, scaling, mask, softcap).mean(dim=1)
    seen = rows.gather(2, visual[:, None].expand(-1, rows.shape[1], -1))
    return seen.masked_fill(~raters[:, :, None], 0)


def mean_over_raters(rows: Tensor, raters: Tensor) -> Tensor:
    """Return the mean [B, m] of the raters' rows [B, N, m], the other rows being 0."""
    mean: Tensor = rows.sum(dim=1) / raters.sum(dim=1, keepdim=True)
    return mean


def rank(matrix: Tensor) -> Tensor:
    """Return the numerical rank [B] of matrices [B, N, m].

    Singular values count from max(N, m)·2⁻²³ times the largest on, the usual bound in float32.
    They are the roots of the eigenvalues of the product of the shorter side with itself, in
    float64, in which squaring loses nothing that the bound would not: N·m·min(N, m) MACs per
    sequence, besides the eigenvalues, which wait for the device on CUDA.
    """
    import torch

    rows = matrix.double()
    if rows.shape[1] > rows.shape[2]:
        rows = rows.mT
    squares = torch.linalg.eigvalsh(rows @ rows.mT)
    bound = max(rows.shape[1:]) * torch.finfo(torch.float32).eps
    largest = squares[:, -1:]
    counted: Tensor = (squares > bound**2 * largest) & (squares > 0)
    return counted.sum(dim=1)


def position_bias(query: Tensor, key: Tensor) -> Tensor:
    """Return what distance alone makes of attention [B, N, m].

    It is the product of a vector of ones, rotated to the place of the query, with one rotated to
    that of the key, over √d_h. N·m·d_h MACs per sequence: heads have it in common.

    Args:
        query: [B, N, d_h], ones rotated to the places of the text tokens.
        key: [B, m, d_h], ones rotated to those of the visual tokens.
    """
    width: float = key.shape[-1] ** 0.5
    return (widen(query) @ widen(key).mT) / width


def priority_scores(
    query: Tensor,
    key: Tensor,
    scaling: float,
    raters: Tensor,
    visual: Tensor,
    bias: Tensor,
    mask: Tensor | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Return the attention [B, m] of the raters in the heads that see most of the image.

    Attention is divided by the position bias. The heads of the largest sum over raters and visual
    tokens count, 14 or all; the mean is over them and the raters. Which heads they are is known
    when the rows of all heads are: N·n·h·d_h MACs per sequence, in float32 or wider.

    Args:
        query: [B, h, N, d_h], of the text tokens after rotary embedding.
        key: [B, h_kv, n, d_h], of all tokens after rotary embedding.
        scaling: Factor of the products before the softmax.
        raters: [B, N], bool.
        visual: [B, m], where the visual tokens are among the n.
        bias: [B, N, m], from `position_bias`.
        mask: As in `attention_rows`.
        softcap: As in `attention_rows`.
    """
    rows = attention_rows(query, key, scaling, mask, softcap)
    seen = rows.gather(3, visual[:, None, None].expand(-1, *rows.shape[1:3], -1))
    # Of the raters alone, because attention of 0 over a bias of 0 would be no number.
    corrected = (seen / bias[:, None]).masked_fill(~raters[:, None, :, None], 0)
    best = top_indices(corrected.sum(dim=(2, 3)), min(PRIORITY_HEADS, rows.shape[1]))
    return mean_over_raters(take(corrected, best).mean(dim=1), raters)
