"""LLaVA-PruMerge: outliers of attention take in what resembles them; one token of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import check_count, other_indices, take, unit, widen

if TYPE_CHECKING:
    from torch import Tensor

#: Tokens that each kept one takes in.
NEIGHBOURS = 32


def outliers(scores: Tensor, count: int) -> Tensor:
    """Return the indices [B, count] of the highest scores [B, n], the highest first.

    The released code keeps the scores above the third quartile by 1.5 interquartile ranges, as many
    as there are; here the number is given. Equal scores go to the lowest index.

    Raises:
        InvalidInput: There are fewer than `count` tokens.
    """
    check_count("count", count, scores.shape[1])
    return scores.sort(dim=1, descending=True, stable=True).indices[:, :count]


def outliers_and_grid(scores: Tensor, count: int) -> Tensor:
    """Return the indices [B, count] of ⌊count/4⌋ outliers and of samples between, in this order.

    The released code samples every ⌊⌊n/outliers⌋/3⌋-th token that is no outlier, about three to an
    outlier; their number depends on the image. Here the number is given, and the samples are spaced
    evenly over the tokens that are no outliers, the i-th at ⌊i·rest/samples⌋ of them.

    Raises:
        InvalidInput: There are fewer than `count` tokens.
    """
    import torch

    check_count("count", count, scores.shape[1])
    best = outliers(scores, count // 4)
    rest = other_indices(best, scores.shape[1])
    samples, between = count - count // 4, rest.shape[1]
    places = [index * between // samples for index in range(samples)]
    grid = rest[:, torch.tensor(places, device=rest.device, dtype=torch.int64)]
    return torch.cat([best, grid], dim=1)


def merge(states: Tensor, scores: Tensor, keys: Tensor, kept: Tensor, at_once: int = 16) -> Tensor:
    """Return the kept tokens with what they take in, and a token of the rest: [B, k + 1, c].

    A kept token becomes its state plus Σ score·state over the 32 others whose keys resemble its own
    most, kept ones among them; the last token is Σ score·state over all that are not kept. Equal
    cosines, as computed, go to the lowest index. In float32 or wider.

    k·(n − 1)·d_k MACs per crop: each kept token's key with all others.

    Args:
        states: [B, n, c].
        scores: [B, n], weights of the sums.
        keys: [B, n, d_k], what is compared by cosine.
        kept: [B, k], in the order in which they come out.
        at_once: Kept tokens to process together; B·at_once·n·d_k numbers are held for them.
    """
    import torch

    batch, tokens, width = keys.shape
    rows, weighted = unit(keys), widen(states) * widen(scores)[..., None]
    places = torch.arange(tokens - 1, device=keys.device)
    merged = []
    for own in torch.split(kept, at_once, dim=1) if kept.shape[1] else ():
        others = places + (places >= own[..., None]).long()  # [B, k, n − 1], without their own
        compared = take(rows, others.flatten(1)).view(batch, *others.shape[1:], width)
        likeness = (compared @ take(rows, own)[..., None])[..., 0]
        order = likeness.sort(dim=2, descending=True, stable=True).indices[..., :NEIGHBOURS]
        nearest = others.gather(2, order)
        taken_in = take(weighted, nearest.flatten(1)).view(*nearest.shape, -1).sum(dim=2)
        merged.append(widen(take(states, own)) + taken_in)
    rest = take(weighted, other_indices(kept, tokens)).sum(dim=1, keepdim=True)
    return torch.cat([*merged, rest], dim=1).to(states.dtype)
