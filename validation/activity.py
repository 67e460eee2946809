"""Which visual tokens a decoder layer works on, where that is more than a sequence that shrinks.

Tokens that a layer leaves out may come back in a later one; tokens may be keys without being
updated, or pass no feed-forward network. All of them stay at hand as long as a later layer wants
them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from ..costmodel import InvalidInput
from ..costmodel.plan import TokenPlan
from .sequence import VISUAL, Tokens

if TYPE_CHECKING:
    from torch import Tensor


class Active(NamedTuple):
    """Visual tokens of every decoder layer that attention updates, that are keys, in the FFN."""

    query: tuple[int, ...]
    key: tuple[int, ...]
    ffn: tuple[int, ...]

    @classmethod
    def of(cls, plan: TokenPlan) -> Active | None:
        """Return what a plan says, or None where tokens only ever become fewer.

        Raises:
            InvalidInput: A share of the pairs, which no dense kernel scores, or a model that keeps
                images out of the LLM's sequence.
        """
        if any(
            pairs != q * k for pairs, q, k in zip(plan.pairs, plan.query, plan.key, strict=True)
        ):
            if not all(layer.crosses or layer.in_sequence for layer in plan.layout):
                return None
            raise InvalidInput(
                "layers",
                None,
                "score a share of the pairs, which no dense kernel of attention does",
                "leave `pairs` out; `tokencost ratio` prices it",
            )
        shrinks = all(later <= earlier for earlier, later in pairwise(plan.visual))
        if plan.uniform and shrinks:
            return None
        if not all(layer.in_sequence for layer in plan.layout):
            raise InvalidInput(
                "layers",
                None,
                "need images in the LLM's own sequence",
                "choose a schedule that only shrinks",
            )
        prompt = plan.structural_tokens + plan.text_tokens
        counts = (plan.query, plan.key, plan.ffn)
        return cls(*(tuple(length - prompt for length in lengths) for lengths in counts))

    def plain(self, layer: int) -> bool:
        """Whether all present tokens of a layer do everything."""
        return self.query[layer] == self.key[layer] == self.ffn[layer]


class Places(NamedTuple):
    """Where the tokens of a layer's sequence stand that do something in it, each [B, count]."""

    query: Tensor
    key: Tensor
    ffn: Tensor


def alive(visual: tuple[int, ...]) -> tuple[int, ...]:
    """Return the visual tokens that each layer or a later one works on.

    >>> alive((0, 9, 4, 6))
    (9, 9, 6, 6)
    """
    left, most = [], 0
    for count in reversed(visual):
        most = max(most, count)
        left.append(most)
    return tuple(reversed(left))


def precedence(count: int) -> list[int]:
    """Return the rank of each of so many tokens such that the first ranks lie evenly everywhere.

    The bits of a token's number, reversed, order the tokens; what is chosen for a small amount is
    part of what is chosen for a larger one.

    >>> precedence(5)
    [0, 3, 2, 4, 1]
    """
    bits = max(count - 1, 1).bit_length()
    order = sorted(range(count), key=lambda index: int(f"{index:0{bits}b}"[::-1], 2))
    ranks = [0] * count
    for rank, index in enumerate(order):
        ranks[index] = rank
    return ranks


def priority(origin: Tensor, entered: int) -> Tensor:
    """Return the rank [B, n] of tokens by where they stood among `entered` tokens at layer 0.

    Tokens that were made later (origin −1) come before all others.
    """
    import torch

    ranks = torch.tensor([*precedence(entered), -1], device=origin.device)
    return ranks[origin]


def nested(tokens: Tokens, count: int, entered: int) -> Tensor:
    """Return which visual tokens stay, [B, count], such that fewer are part of more."""
    ranks = priority(tokens.origin.gather(1, tokens.places(VISUAL)), entered)
    chosen = ranks.argsort(dim=1, stable=True)[:, :count]
    return chosen.sort(dim=1).values


def places(tokens: Tokens, active: Active, layer: int, entered: int) -> Places:
    """Return which tokens of a layer's sequence do what; those that are not visual do all."""

    def of(count: int) -> Tensor:
        kept = nested(tokens, count, entered) if count else None
        return tokens.part(kept)[1]

    return Places(of(active.query[layer]), of(active.key[layer]), of(active.ffn[layer]))
