"""TRIM: keep the patches that CLIP ranks first for the question, and one mean of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import check_count, other_indices, take, top_indices, widen
from .text_tower import project

if TYPE_CHECKING:
    from torch import Tensor


def question_scores(patches: Tensor, question: Tensor) -> Tensor:
    """Return the scores [B, P] of patches: their products with the question, negated.

    The released code (FreedomIntelligence/TRIM, commit f5a232d) ranks by the negated product of
    projected patches with the pooled question, without lengths; the paper (arXiv 2409.10994)
    writes the cosine. P·d_e·768 + P·768 MACs per sequence.

    Args:
        patches: [B, P, d_e], behind the encoder's final norm.
        question: [B, 1, 768], pooled and projected.
    """
    products = widen(project(patches)) @ widen(question).mT
    return -products[:, :, 0]


def trim(states: Tensor, scores: Tensor, shares: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Return the patches of highest score in each image, and the mean of all others.

    Equal scores go to the lowest index. No products. The paper lets the number of patches depend
    on the image (scores above the third quartile + 1.5 interquartile ranges); here it is given.

    Args:
        states: [B, P, c].
        scores: [B, P], from `question_scores`.
        shares: Per image, its patches and how many of them to keep; the patches add up to P.

    Returns:
        The kept patches [B, k, c], image by image and in order, and the mean [B, 1, c] of the
        P − k others, zeros where there are none.

    Raises:
        InvalidInput: An image has fewer patches, or the images do not add up to P.
    """
    import torch

    total = states.shape[1]
    check_count("patches", sum(patches for patches, _ in shares), total, least=total)
    places, first = [], 0
    for patches, count in shares:
        places.append(first + top_indices(scores[:, first : first + patches], count))
        first += patches
    kept = torch.cat(places, dim=1)
    others = widen(take(states, other_indices(kept, total)))
    mean = others.sum(dim=1, keepdim=True) / max(1, others.shape[1])
    return take(states, kept), mean.to(states.dtype)
