"""VisionZip: keep an encoder's dominant tokens and merge the rest into contextual ones."""

from __future__ import annotations

from dataclasses import dataclass
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

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Zipped:
    """The tokens that remain, and where they come from.

    Attributes:
        tokens: [B, dominant + contextual, c], the dominant tokens first.
        dominant: [B, dominant], indices into the n tokens, ascending.
        targets: [B, contextual], the token that each contextual one started from, ascending.
        sources: [B, n − dominant − contextual], the tokens that were merged away, ascending.
        assignment: As `sources`, the contextual token that each of them went to.

    Without contextual tokens the last three are empty: what is not dominant is dropped.
    """

    tokens: Tensor
    dominant: Tensor
    targets: Tensor
    sources: Tensor
    assignment: Tensor


def class_token_scores(query: Tensor, key: Tensor, scaling: float) -> Tensor:
    """Return the attention [B, n] of the class token, summed over heads.

    n·h·d_h MACs per crop, in float32 or wider.

    Args:
        query: [B, h, 1, d_h], of the class token.
        key: [B, h_kv, n, d_h], of all tokens, the class token included.
        scaling: Factor of the products before the softmax.
    """
    return attention_rows(query, key, scaling)[:, :, 0].sum(dim=1)


def received_scores(query: Tensor, key: Tensor, scaling: float, rows_at_once: int = 512) -> Tensor:
    """Return the attention [B, n] that tokens receive: sum over heads, mean over the n queries.

    The score of an encoder without class token. n²·h·d_h MACs per crop, in float32 or wider; the
    map is never held as a whole, only B·h·rows_at_once·n of it.

    Args:
        query: [B, h, n, d_h].
        key: [B, h_kv, n, d_h].
        scaling: Factor of the products before the softmax.
        rows_at_once: Queries to process together.
    """
    key = widen(key)
    received = key.new_zeros(len(key), key.shape[2])
    queries = query.shape[2]
    for start in range(0, queries, rows_at_once):
        rows = query[:, :, start : start + rows_at_once]
        received += attention_rows(rows, key, scaling).sum(dim=(1, 2))
    return received / queries


def visionzip(
    states: Tensor,
    scores: Tensor,
    keys: Tensor,
    dominant: int,
    contextual: int,
    class_token: bool,
) -> Zipped:
    """Keep the tokens of highest score, and merge the others into evenly spaced ones.

    Of the r tokens that are not dominant every ⌊r/contextual⌋-th becomes a target, the first
    `contextual` of them; each other one goes to the target of the most similar key, and a
    contextual token is its target plus the mean of what went there. Equal scores and equal
    similarities, as computed, go to the lowest index. (r − contextual)·contextual·d_k MACs per
    crop.

    Args:
        states: [B, n, c], the tokens to reduce.
        scores: [B, n], from `class_token_scores` or `received_scores`.
        keys: [B, n, d_k], what is compared by cosine: keys averaged over heads.
        dominant: Tokens to keep, the class token included if there is one.
        contextual: Tokens to merge the others into, or 0 to drop the others.
        class_token: Whether token 0 is a class token, which then always stays.

    Raises:
        InvalidInput: There are not that many tokens, or no place for the class token.
    """
    import torch

    protected, tokens = int(class_token), states.shape[1]
    check_count("dominant", dominant, tokens, least=protected)
    check_count("contextual", contextual, tokens - dominant)
    ranked = scores.clone()
    ranked[:, :protected] = float("inf")  # and equal scores go to the lowest index
    best = top_indices(ranked, dominant)
    remaining = other_indices(best, tokens)
    every = max(1, remaining.shape[1] // max(1, contextual))
    targets = remaining[:, ::every][:, :contextual]
    kept = take(states, best)
    if not contextual:
        return Zipped(kept, best, targets, sources=targets, assignment=targets)
    sources = other_indices(torch.cat([best, targets], dim=1), tokens)
    similarity = unit(take(keys, sources)) @ unit(take(keys, targets)).mT
    assignment = similarity.argmax(dim=2)
    means = mean_rows(assignment, widen(take(states, sources)), contextual)
    merged = widen(take(states, targets)) + means
    kept = torch.cat([kept, merged.to(states.dtype)], dim=1)
    return Zipped(kept, best, targets, sources, assignment)
