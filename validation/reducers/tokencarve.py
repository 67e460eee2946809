"""TokenCarve: keep what adds most to the singular values and is seen most, then merge the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import add_rows, check_count, take, unit, widen

if TYPE_CHECKING:
    from torch import Tensor


def contributions(states: Tensor) -> Tensor:
    """Return what tokens [B, n, d] add to the singular values: Σ_j |U_ij|·σ_j, [B, n], in float64.

    U are the left singular vectors of the states as they are, not centred. UΣ comes from the
    eigenvectors of XXᵀ, or is XV with those of XᵀX where there are more tokens than channels. In
    float64, because small singular values drown in the rounding of float32.

    n·d·min(n, d) MACs per sequence, and n·d² more where n > d. The eigenvectors are no products,
    and on CUDA torch waits for them.
    """
    import torch

    exact = states.double()
    if states.shape[1] <= states.shape[2]:
        values, left = torch.linalg.eigh(exact @ exact.mT)
        scaled = left * values.clamp(min=0).sqrt()[:, None]
    else:
        scaled = exact @ torch.linalg.eigh(exact.mT @ exact).eigenvectors
    total: Tensor = scaled.abs().sum(dim=2)
    return total


def fused(attention: Tensor, contribution: Tensor) -> Tensor:
    """Return the sum [B, n] of a token's ranks by two scores [B, n]; n is the best rank of each.

    Equal scores go to the lowest index.
    """
    import torch

    tokens = attention.shape[1]
    ranks = torch.arange(tokens, 0, -1, device=attention.device)
    total = torch.zeros_like(attention, dtype=torch.int64)
    for scores in (attention, contribution):
        order = scores.sort(dim=1, descending=True, stable=True).indices
        total = total.scatter_add(1, order, ranks.expand_as(order))
    return total


def tokencarve(states: Tensor, attention: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return what stays [B, count], ascending, and what becomes of it, [B, count, d].

    Of r = ⌊1.5·count⌋ tokens of the best fused rank, the first ⌊r/2⌋ are set A, the others set B.
    The ⌊count/2⌋ tokens of B that are most like one of A, by cosine, are merged into that one: each
    of A becomes the mean of itself and what is merged into it. Ties go to the better rank.

    Beside `contributions`, ⌈r/2⌉·⌊r/2⌋·d MACs per sequence.

    Args:
        states: [B, n, d].
        attention: [B, n], what each token receives.
        count: Tokens to keep, 1 to two thirds of n.

    Raises:
        InvalidInput: There are fewer than r tokens.
    """
    import torch

    batch, tokens, _ = states.shape
    check_count("count", count, (2 * tokens + 1) // 3, least=1)
    first = 3 * count // 2
    scores = fused(attention, contributions(states))
    best = scores.sort(dim=1, descending=True, stable=True).indices[:, :first]
    ours, theirs = best[:, : first // 2], best[:, first // 2 :]
    stay = take(widen(states), ours)
    if not first // 2:  # a single token has nothing to merge
        return best, take(states, best)
    directions = unit(states)
    likeness, nearest = (take(directions, theirs) @ take(directions, ours).mT).max(dim=2)
    order = likeness.sort(dim=1, descending=True, stable=True).indices
    merged, spared = order[:, : count // 2], order[:, count // 2 :]
    rows = take(widen(states), theirs.gather(1, merged))
    target = nearest.gather(1, merged)
    sums = add_rows(stay, target, rows)
    sizes = add_rows(stay.new_ones(batch, first // 2, 1), target, rows.new_ones(*target.shape, 1))
    left = theirs.gather(1, spared)
    kept = torch.cat([ours, left], dim=1)
    made = torch.cat([(sums / sizes).to(states.dtype), take(states, left)], dim=1)
    order = kept.argsort(dim=1)
    return kept.gather(1, order), take(made, order)
