"""VisionTrim: keep the patches that are attended to, and merge others by way of the question.

As the released code ranks and merges (hanxunyu/VisionTrim, commit 360ce81, clip_encoder.py; arXiv
2601.22674). It also computes distances to neighbours, which the paper ranks by, but ranks by class
attention and attention received alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import (
    attention_rows,
    check_count,
    mean_rows,
    other_indices,
    take,
    top_indices,
    unit,
    widen,
)
from .text_tower import cosines, project

if TYPE_CHECKING:
    from torch import Tensor

#: Rounds of merging.
ROUNDS = 3


def attended_scores(query: Tensor, key: Tensor, scaling: float, class_token: bool) -> Tensor:
    """Return how much each patch is attended to, [X, n].

    The mean over heads of the class token's row and of what the other patches give, each brought
    to length 1 over the crop's patches, half and half; without class token the latter alone.
    E²·h·d_h MACs per crop of E tokens, in float32 or wider.

    Args:
        query: [X, h, E, d_h], of all tokens, the class token first.
        key: [X, h_kv, E, d_h].
        scaling: Factor of the products before the softmax.
        class_token: Whether there is a class token; n is then E − 1.
    """
    weights = attention_rows(query, key, scaling).mean(dim=1)
    first = int(class_token)
    among = weights[:, first:, first:]
    own = among.diagonal(dim1=1, dim2=2)
    received = unit(among.sum(dim=1) - own)  # the mean is as long, brought to 1
    return (unit(weights[:, 0, 1:]) + received) / 2 if class_token else received


def merge_by_question(others: Tensor, question: Tensor, count: int) -> Tensor:
    """Return tokens [X, count, c] that the patches which are not kept become.

    The patches of the highest mean cosine with the question's tokens are targets. In each of three
    rounds every other patch goes to the target whose cosines with the question agree most with its
    own (their inner product over the question's tokens), and the mean of what went there is added
    to the target; a target that none went to stays. Equal values go to the lowest index. With r
    patches, t tokens in the question and k = count: r·d_e·768 + r·768·t + 3·(k·d_e·768 + k·768·t +
    (r − k)·t·k) MACs per crop.

    Args:
        others: [X, r, c], in the order of the image.
        question: [X, t, 768], its tokens projected.
        count: Tokens to merge into.

    Raises:
        InvalidInput: There are fewer patches than that.
    """
    check_count("merged", count, others.shape[1])
    likeness = cosines(project(others), question)
    chosen = top_indices(likeness.mean(dim=2), count)
    rest = other_indices(chosen, others.shape[1])
    targets, sources = widen(take(others, chosen)), widen(take(others, rest))
    of_sources = take(likeness, rest)
    if not count or not rest.shape[1]:
        return targets.to(others.dtype)
    for _ in range(ROUNDS):
        of_targets = cosines(project(targets.to(others.dtype)), question)
        assignment = (of_sources @ of_targets.mT).argmax(dim=2)
        targets = targets + mean_rows(assignment, sources, count)
    return targets.to(others.dtype)


def visiontrim(
    states: Tensor, scores: Tensor, question: Tensor, kept: int, merged: int
) -> tuple[Tensor, Tensor]:
    """Return the patches of highest score and then the merged ones, and where the former were.

    Equal scores go to the lowest index; the products are those of `merge_by_question`.

    Args:
        states: [X, n, c].
        scores: [X, n], from `attended_scores`.
        question: [X, t, 768], its tokens projected.
        kept: Patches that stay as they are.
        merged: Tokens that the others become, 0 for none.

    Returns:
        Tokens [X, kept + merged, c] and indices [X, kept], ascending.

    Raises:
        InvalidInput: There are not that many patches.
    """
    import torch

    best = top_indices(scores, kept)
    chosen = take(states, best)
    if not merged:
        return chosen, best
    others = take(states, other_indices(best, states.shape[1]))
    return torch.cat([chosen, merge_by_question(others, question, merged)], dim=1), best
