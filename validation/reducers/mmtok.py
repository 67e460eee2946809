"""MMTok: keep the visual tokens that cover both the text and all visual tokens best.

As in the released code (Ironieser/MMTok, commit d1522cd; arXiv 2508.18264).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import check_count, inner_products, unit

if TYPE_CHECKING:
    from torch import Tensor

#: Temperatures of text against visual tokens and of visual tokens against one another, and what
#: covering the latter weighs beside covering the former.
TEXT_TEMPERATURE, VISUAL_TEMPERATURE, VISUAL_WEIGHT = 0.02, 0.2, 0.5


def coverage(text: Tensor, features: Tensor, states: Tensor) -> Tensor:
    """Return how well each visual token covers each text and visual token, [X, N + n, n].

    Cosines, made to shares of 1 over the visual tokens by a softmax, and averaged over the N text
    tokens and over the n visual ones; the latter weigh half. N·d·n + n²·d_e MACs per crop, in
    float32 or wider.

    Args:
        text: [X, N, d], embeddings of the text.
        features: [X, n, d], visual tokens behind the connector.
        states: [X, n, d_e], the encoder's features of the same tokens.
    """
    import torch

    of_text = (unit(text) @ unit(features).mT / TEXT_TEMPERATURE).softmax(dim=2)
    of_visual = (inner_products(unit(states)) / VISUAL_TEMPERATURE).softmax(dim=2)
    rows = [of_text / text.shape[1], VISUAL_WEIGHT * of_visual / states.shape[1]]
    return torch.cat(rows, dim=1)


def greedy_cover(covered: Tensor, count: int) -> Tensor:
    """Return the indices [X, count] of tokens that together cover most, in the order of choice.

    A row is covered as well as by the best of the chosen tokens; each round takes the token that
    adds most, and of equal ones, as computed, the lowest index. No products: `count` rounds of
    O((N + n)·n).

    Args:
        covered: [X, N + n, n], not negative.
        count: Tokens to keep.

    Raises:
        InvalidInput: There are fewer than `count` tokens.
    """
    import torch

    crops, _, tokens = covered.shape
    check_count("count", count, tokens)
    best = covered.new_zeros(covered.shape[:2])
    open_ = covered.new_zeros(crops, tokens)
    picks = covered.new_empty(crops, count, dtype=torch.int64)
    for step in range(count):
        gains = (covered - best[:, :, None]).clamp(min=0).sum(dim=1) + open_
        pick = gains.argmax(dim=1, keepdim=True)
        picks[:, step] = pick[:, 0]
        columns = pick[:, None].expand(-1, covered.shape[1], -1)
        best = best.maximum(covered.gather(2, columns)[:, :, 0])
        open_ = open_.scatter(1, pick, float("-inf"))
    return picks
