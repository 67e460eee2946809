"""HoloV: runs of the raster get shares by attention and variety, and spend them by attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...costmodel import InvalidInput
from .common import check_count, widen

if TYPE_CHECKING:
    from torch import Tensor

#: Runs that a sequence is cut into, the longer ones first.
RUNS = 16
#: Weight of variety beside attention, the factor of attention, and what keeps quotients finite.
VARIETY, ATTENTION, TINY = 0.09, 1e3, 1e-6


class Chosen(NamedTuple):
    """What goes on from a sequence.

    Attributes:
        kept: [B, count], run by run; where nothing is left to choose, the last token's.
        filled: [B, count], whether a token stands there; a zero vector otherwise.
    """

    kept: Tensor
    filled: Tensor


def run_lengths(tokens: int) -> list[int]:
    """Return the lengths of the runs, which differ by 1 at most.

    Raises:
        InvalidInput: Runs of fewer than 2 tokens, which have no variety.

    >>> run_lengths(35)[:4]
    [3, 3, 3, 2]
    """
    if tokens < 2 * RUNS:
        problem = f"make no {RUNS} runs of at least 2"
        raise InvalidInput("visual_tokens", tokens, problem, "choose a larger image")
    length, longer = divmod(tokens, RUNS)
    return [length + (run < longer) for run in range(RUNS)]


def run_scores(tokens: Tensor, attention: Tensor) -> Tensor:
    """Return the mean score [B, runs] of tokens in runs of one length.

    A token's score is 1000·attention + 0.09·v, where v is the variance of its cosines with the
    run's tokens, its own taken as 0 and n − 1 the divisor of mean and variance, scaled so that the
    run's mean v is its mean attention. n²·d MACs per run, in float32 or wider.

    Args:
        tokens: [B, runs, n, d].
        attention: [B, runs, n].
    """
    tokens, attention = widen(tokens), widen(attention) * ATTENTION
    rows = tokens / (tokens.norm(dim=3, keepdim=True) + TINY)
    cosines = rows @ rows.mT
    cosines.diagonal(dim1=2, dim2=3).zero_()
    others = cosines.shape[3] - 1
    mean = cosines.sum(dim=3, keepdim=True) / others
    variance = (cosines - mean).square().sum(dim=3) / others
    scale = attention.mean(dim=2, keepdim=True) / (variance.mean(dim=2, keepdim=True) + TINY)
    score: Tensor = (attention + VARIETY * variance * scale).mean(dim=2)
    return score


def shares(scores: Tensor, count: int) -> Tensor:
    """Return how many of `count` tokens each run [B, runs] may keep.

    ⌊count·score/Σ scores⌋, and one more for the runs of highest score until nothing is left; of
    equal ones, the first.
    """
    weights = scores / (scores.sum(dim=1, keepdim=True) + TINY)
    whole = (weights * count).floor().long()
    rank = weights.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    more: Tensor = whole + (rank < count - whole.sum(dim=1, keepdim=True)).long()
    return more


def holov(tokens: Tensor, attention: Tensor, count: int) -> Chosen:
    """Choose `count` tokens of a sequence.

    It is cut into 16 runs, the first n mod 16 of them longer by one. A run keeps its tokens of most
    attention, the best first, or all of them in their order if its share is not smaller; what a run
    cannot fill is left to zero vectors at the end. Equal attention goes to the lowest index.

    Σ length²·d MACs per sequence over the runs.

    Args:
        tokens: [B, n, d], behind the connector.
        attention: [B, n], what each receives, mean over heads.
        count: Tokens to go on with.

    Raises:
        InvalidInput: There are fewer than `count` tokens, or too few for 16 runs.
    """
    import torch

    batch, length, width = tokens.shape
    check_count("count", count, length)
    lengths = run_lengths(length)
    longer = length % RUNS
    cut = longer * lengths[0]  # behind the longer runs
    scores = []
    for part, runs in ((slice(0, cut), longer), (slice(cut, None), RUNS - longer)):
        if runs:
            rows = tokens[:, part].reshape(batch, runs, -1, width)
            scores.append(run_scores(rows, attention[:, part].reshape(batch, runs, -1)))
    share = shares(torch.cat(scores, dim=1), count)
    places, start = [], 0
    for run, size in enumerate(lengths):
        own = share[:, run : run + 1]
        order = attention[:, start : start + size].argsort(dim=1, descending=True, stable=True)
        rank = order.argsort(dim=1)
        inside = torch.arange(size, device=tokens.device).expand_as(rank)
        place = start + torch.where(own >= size, inside, rank)
        # What does not stay is placed behind all that does.
        places.append(torch.where(rank < own, place, length + start + inside))
        start += size
    index = torch.cat(places, dim=1).argsort(dim=1)[:, :count]
    kept = torch.minimum(share, share.new_tensor(lengths)).sum(dim=1, keepdim=True)
    filled = torch.arange(count, device=tokens.device) < kept
    return Chosen(index.masked_fill(~filled, length - 1), filled)
