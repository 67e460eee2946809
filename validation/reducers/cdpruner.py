"""CDPruner: keep tokens of large determinant, weighted by how relevant CLIP finds them.

As in the released code (Theia-4869/CDPruner, commit ed9c12d; arXiv 2506.10967).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import check_count, inner_products, take, unit
from .text_tower import cosines, project

if TYPE_CHECKING:
    from torch import Tensor

#: Keeps the least relevant patch above zero, and a range of zero from dividing.
_LEAST = 1e-6
#: Keeps the root of a gain that rounding made zero or negative from dividing by zero.
_LEAST_GAIN = 1e-12


def relevance(patches: Tensor, question: Tensor) -> Tensor:
    """Return the relevance [B, P] of patches to the question, from about 0 to 1.

    The cosines in CLIP's joint space, averaged over the question's segments and negated as the
    released code does, and brought to the range from 0 to 1 over all patches of a request.
    P·d_e·768 + P·768·s MACs per sequence.

    Args:
        patches: [B, P, d_e], behind the encoder's final norm.
        question: [B, s, 768], its segments pooled and projected.
    """
    raw = -cosines(project(patches), question).mean(dim=2)
    lowest, highest = raw.amin(dim=1, keepdim=True), raw.amax(dim=1, keepdim=True)
    return (raw - lowest + _LEAST) / (highest - lowest).clamp(min=_LEAST)


def conditional_kernel(features: Tensor, relevant: Tensor) -> Tensor:
    """Return the cosines of tokens with one another, times the relevance of both: [X, n, n].

    n²·d MACs per crop, in float32 or wider.

    Args:
        features: [X, n, d], the tokens behind the connector.
        relevant: [X, n].
    """
    return relevant[:, :, None] * inner_products(unit(features)) * relevant[:, None, :]


def greedy_determinant(kernel: Tensor, count: int) -> Tensor:
    """Return the indices [X, count] of tokens whose kernel has a large determinant, ascending.

    Each round takes the token that multiplies the determinant most; of equal gains, as computed,
    the lowest index is taken. Between two choices the Cholesky factor grows by a row (the released
    code adds one behind the last choice, too, which decides nothing). n·(count − 1)·(count − 2)/2
    MACs per crop.

    Args:
        kernel: [X, n, n], symmetric.
        count: Tokens to keep.

    Raises:
        InvalidInput: There are fewer than `count` tokens.
    """
    import torch

    crops, tokens, _ = kernel.shape
    check_count("count", count, tokens)
    factor = kernel.new_zeros(crops, count, tokens)
    gains = kernel.diagonal(dim1=1, dim2=2)
    picks = kernel.new_empty(crops, count, dtype=torch.int64)
    for step in range(count):
        pick = gains.argmax(dim=1, keepdim=True)
        picks[:, step] = pick[:, 0]
        if step + 1 == count:
            break
        row = take(kernel, pick)
        if step:
            done = factor[:, :step]
            of_pick = done.gather(2, pick[:, None].expand(-1, step, -1))
            row = row - of_pick.mT @ done
        root = gains.gather(1, pick).clamp(min=_LEAST_GAIN).sqrt()
        factor[:, step] = row[:, 0] / root
        gains = (gains - factor[:, step].square()).scatter(1, pick, float("-inf"))
    return picks.sort(dim=1).values
