"""LearnPruner: a scorer's best encoder features and some unlike them; then the text's rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .common import attention_rows, check_count, other_indices, take, top_indices, unit

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Scorer:
    """Two linear layers, c to ⌊c/2⌋ to 1, with biases.

    Attributes:
        hidden: Weights [⌊c/2⌋, c] and biases [⌊c/2⌋] of the first.
        output: Weights [1, ⌊c/2⌋] and bias [1] of the second.
    """

    hidden: tuple[Tensor, Tensor]
    output: tuple[Tensor, Tensor]


def random_scorer(like: Tensor) -> Scorer:
    """Return a scorer for features [..., c] with random weights; trained ones are not released."""
    import torch

    width = like.shape[-1]
    made = torch.Generator().manual_seed(0)

    def layer(rows: int, columns: int) -> tuple[Tensor, Tensor]:
        weights = torch.randn(rows, columns, generator=made) / columns**0.5
        biases = torch.randn(rows, generator=made)
        return weights.to(like), biases.to(like)

    return Scorer(layer(width // 2, width), layer(1, width // 2))


def scores(features: Tensor, scorer: Scorer) -> Tensor:
    """Return the score [B, n] of each of features [B, n, c]; n·c·⌊c/2⌋ + n·⌊c/2⌋ MACs."""
    from torch.nn.functional import gelu, linear

    hidden = gelu(linear(features, *scorer.hidden))
    scored: Tensor = linear(hidden, *scorer.output)
    return scored[..., 0]


def diverse_choice(features: Tensor, ranked: Tensor, count: int) -> Tensor:
    """Return which features stay, as indices [B, count], ascending.

    ⌊count/10⌋ places are for variety, the others for the highest scores. One by one, the feature
    whose largest cosine with what is kept is lowest joins it. Equal ones go to the lowest index.
    For k = count − ⌊count/10⌋ < count, (n − k)·(count − 1)·c MACs per sequence, in rounds of
    which each adds one row.

    Args:
        features: [B, n, c].
        ranked: [B, n], scores.
        count: Features to keep.

    Raises:
        InvalidInput: There are fewer.
    """
    import torch

    tokens, varied = features.shape[1], count // 10
    check_count("count", count, tokens)
    best = top_indices(ranked, count - varied)
    if not varied:
        return best
    others = other_indices(best, tokens)
    rows = unit(features)
    candidates = take(rows, others)
    alike = (candidates @ take(rows, best).mT).amax(dim=2)
    picks = []
    for step in range(varied):
        pick = alike.argmin(dim=1, keepdim=True)
        picks.append(pick)
        if step + 1 < varied:
            alike = alike.maximum((candidates @ take(candidates, pick).mT)[..., 0])
            alike = alike.scatter(1, torch.cat(picks, dim=1), float("inf"))
    chosen = others.gather(1, torch.cat(picks, dim=1))
    return torch.cat([best, chosen], dim=1).sort(dim=1).values


def text_scores(
    query: Tensor,
    key: Tensor,
    scaling: float,
    visual: Tensor,
    mask: Tensor | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Return the attention [B, m] that visual tokens receive, mean over text tokens and heads.

    N·n·h·d_h MACs per sequence, in float32 or wider.

    Args:
        query: [B, h, N, d_h], of the text tokens after rotary embedding.
        key: [B, h_kv, n, d_h], of all tokens after rotary embedding.
        scaling: Factor of the products before the softmax.
        visual: [B, m], where the visual tokens are among the n.
        mask: As in `attention_rows`.
        softcap: As in `attention_rows`.
    """
    return take(attention_rows(query, key, scaling, mask, softcap).mean(dim=(1, 2)), visual)
