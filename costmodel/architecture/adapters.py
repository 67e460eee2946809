"""Low-rank adapters (LoRA): one for all tokens of a stack, or each crop's own in an encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic import StrictBool

from ..numeric import Positive, Spec
from ..operators import Operator, Part
from .blocks import Block, Place, Tokens


class _Beside(NamedTuple):
    """What an adapter stands beside: the features that enter and those that leave."""

    part: Part
    name: str
    c_in: int
    c_out: int

    def operators(self, place: Place, tokens: int, rank: int) -> Iterator[Operator]:
        """Yield both factors."""
        yield place.linear(self.part, f"{self.name} adapter in", tokens, self.c_in, rank)
        yield place.linear(self.part, f"{self.name} adapter out", tokens, rank, self.c_out)


def _beside_attention(block: Block, hidden: int) -> list[_Beside]:
    """Return the input projection, taken as one, and the output projection."""
    part: Part = "attention projections"
    attention = block.attention
    assert attention is not None, "an adapter stands beside self-attention"
    projected = attention.query_width + 2 * attention.key_width
    return [
        _Beside(part, "query-key-value", hidden, projected),
        _Beside(part, "output", attention.query_width, hidden),
    ]


def _widths(linears: list[_Beside]) -> int:
    """Return the parameters of adapters of rank 1: Σ (in + out)."""
    return sum(linear.c_in + linear.c_out for linear in linears)


class Adapter(Spec):
    """Low-rank adapters beside query-key-value, output, gate-up and down of every block.

    MACs per token: rank · Σ (in + out) over these linears; query, key and value share one adapter,
    gate and up another.

    Attributes:
        rank: Rank of the adapter that runs.
        stored_ranks: Ranks of all adapters that are stored.
    """

    rank: Positive
    stored_ranks: tuple[Positive, ...]

    def _beside_feed_forward(self, block: Block, hidden: int) -> list[_Beside]:
        part: Part = "feed-forward"
        ffn = block.feed_forward
        width = ffn.intermediate_size
        return [
            _Beside(part, "gate-up", hidden, 2 * width if ffn.gated else width),
            _Beside(part, "down", width, hidden),
        ]

    def operators(
        self, block: Block, place: Place, hidden: int, tokens: Tokens
    ) -> Iterator[Operator]:
        """Yield both factors of each adapter."""
        for linear in _beside_attention(block, hidden):
            yield from linear.operators(place, tokens.query, self.rank)
        for linear in self._beside_feed_forward(block, hidden):
            yield from linear.operators(place, tokens.ffn, self.rank)

    def parameters(self, block: Block, hidden: int) -> int:
        """Return the stored weights: Σ ranks · Σ (in + out)."""
        linears = _beside_attention(block, hidden) + self._beside_feed_forward(block, hidden)
        return sum(self.stored_ranks) * _widths(linears)


class CropAdapters(Spec):
    """Low-rank adapters that some crops of an image have in every block, each crop its own.

    They stand beside query-key-value, output and the whole feed-forward network. MACs per token of
    such a crop, with the ranks r of attention and r_f of the feed-forward network:

        r · (hidden + (h + 2·h_kv)·d_h) + r · (h·d_h + hidden) + r_f · 2·hidden

    No weights are those of all crops, so that none of them can be merged into the block's. Source:
    Monkey (arXiv 2311.06607); `Lora_Adapter` and `VisualAttentionBlock` of its code.

    Attributes:
        crops: How many crops of an image have adapters, from the first on.
        attention_rank: Rank beside query-key-value and beside output.
        feed_forward_rank: Rank beside the feed-forward network.
        scaled: Whether each adapter has a learned scale (parameters only).
    """

    crops: Positive
    attention_rank: Positive
    feed_forward_rank: Positive
    scaled: StrictBool = False

    def _linears(self, block: Block, hidden: int) -> list[_Beside]:
        feed_forward = _Beside("feed-forward", "feed-forward", hidden, hidden)
        return [*_beside_attention(block, hidden), feed_forward]

    def tokens(self, count: int, crops: Sequence[int], crops_per_image: Sequence[int]) -> int:
        """Return how many of the `count` tokens of a layer are in crops with adapters.

        `crops` are the tokens of each crop before any merging, which takes as many from each.
        """
        merged = (sum(crops) - count) // len(crops)
        found, start = 0, 0
        for own in crops_per_image:
            adapted = crops[start : start + min(own, self.crops)]
            found += sum(tokens - merged for tokens in adapted)
            start += own
        return found

    def operators(
        self, block: Block, place: Place, hidden: int, query: int, ffn: int
    ) -> Iterator[Operator]:
        """Yield both factors of each adapter, for the tokens that attention and the FFN see."""
        *attention, feed_forward = self._linears(block, hidden)
        for linear in attention:
            yield from linear.operators(place, query, self.attention_rank)
        yield from feed_forward.operators(place, ffn, self.feed_forward_rank)

    def parameters(self, block: Block, hidden: int) -> int:
        """Return the weights and scales of all crops' adapters."""
        *attention, feed_forward = linears = self._linears(block, hidden)
        weights = self.attention_rank * _widths(attention)
        weights += self.feed_forward_rank * _widths([feed_forward])
        return self.crops * (weights + self.scaled * len(linears))
