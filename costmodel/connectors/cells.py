"""Attention inside small cells of the grid: one query per cell."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, Self

from pydantic import StrictBool, model_validator

from ..architecture.blocks import linear_parameters, norm_parameters
from ..errors import InvalidInput
from ..numeric import Count, Positive
from ..operators import Attention, Operator
from ..tokens.base import Size
from .base import Flow, Stage


def _attention(name: str, queries: int, keys: int, heads: int, head_dim: int) -> Attention:
    """Return scores and values where every key belongs to the cell of one query."""
    return Attention(
        component="connector",
        layers=(),
        part="connector",
        name=f"{name} scores and values",
        queries=queries,
        keys=keys,
        pairs=keys,
        heads=heads,
        query_key_size=head_dim,
        value_size=head_dim,
    )


class AttentionPoolStage(Stage):
    """Each size×size window becomes the token with which its mean attends to it (Molmo).

    MACs per window with w = h · d_h: in·w + 2·size²·in·w + 2·size²·w + w·out. Incomplete windows
    are padded with zeros, as Molmo's code does. Source: Molmo (arXiv 2409.17146) and its
    checkpoints' modeling_molmo.py, image_pooling_2d "attention_meanq".

    Attributes:
        size: Side of a window.
        in_features: Features of the encoder's tokens.
        out_features: Features of the pooled tokens.
        num_attention_heads, head_dim: Heads h and their size d_h.
        bias: Whether the four projections have biases.
        padding_embeddings: Learned vectors of in_features that mark padding (parameters only).
    """

    per_token = False

    kind: Literal["attention-pool"] = "attention-pool"
    size: Positive
    in_features: Positive
    out_features: Positive
    num_attention_heads: Positive
    head_dim: Positive
    bias: StrictBool
    padding_embeddings: Count = 0

    @property
    def factor(self) -> int:
        """Side of a window."""
        return self.size

    def grid(self, grid: Size) -> Size:
        """Return the grid of windows, incomplete ones included."""
        return math.ceil(grid[0] / self.size), math.ceil(grid[1] / self.size)

    def leaving(self, width: int) -> int:
        """Return out_features."""
        if width != self.in_features:
            raise ValueError(f"takes {self.in_features} features but gets {width}")
        return self.out_features

    def operators(self, name: str, flow: Flow) -> Iterator[Operator]:
        """Yield query, key, value, scores and values, output."""
        windows = self.flow(flow).tokens
        tokens, width = windows * self.size**2, self.num_attention_heads * self.head_dim
        yield flow.linear(f"{name} query", windows, self.in_features, width)
        yield flow.linear(f"{name} key", tokens, self.in_features, width)
        yield flow.linear(f"{name} value", tokens, self.in_features, width)
        yield _attention(name, windows, tokens, self.num_attention_heads, self.head_dim)
        yield flow.linear(f"{name} output", windows, width, self.out_features)

    def parameters(self) -> int:
        """Return four projections and the padding embeddings."""
        width = self.num_attention_heads * self.head_dim
        total = 3 * linear_parameters(self.in_features, width, self.bias)
        total += linear_parameters(width, self.out_features, self.bias)
        return total + self.padding_embeddings * self.in_features


class TokenPackerStage(Stage):
    """Each cell of scale×scale tokens becomes one query that attends to the cell (TokenPacker).

    Queries come from one layer's map, shrunk by interpolation; keys and values from several
    layers' maps, concatenated. The stage takes both: query_features + source_features. MACs for n
    tokens, q = n / scale² queries and d = hidden_size:

        q·query_features·d + 2·n·(source_features·d + d²) + (2·q + 2·n)·d² + 2·n·d

    The MLP behind it is two linear stages. Source: TokenPacker (arXiv 2407.02392) and its
    repository's multimodal_projector/builder.py.

    Attributes:
        scale: Side of a cell s.
        query_features: Features of the map that queries come from.
        source_features: Features of the concatenated maps that keys and values come from.
        hidden_size: Features d of queries, keys, values and output.
        num_attention_heads: Heads; they divide hidden_size.
    """

    per_token = False

    kind: Literal["token-packer"] = "token-packer"
    scale: Positive
    query_features: Positive
    source_features: Positive
    hidden_size: Positive
    num_attention_heads: Positive

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise InvalidInput(
                "num_attention_heads",
                self.num_attention_heads,
                f"does not divide hidden_size {self.hidden_size}",
                "give a divisor of it",
            )
        return self

    @property
    def factor(self) -> int:
        """Side of a cell."""
        return self.scale

    def grid(self, grid: Size) -> Size:
        """Return the grid of cells; a remainder is cut off."""
        return grid[0] // self.scale, grid[1] // self.scale

    def leaving(self, width: int) -> int:
        """Return hidden_size."""
        taken = self.query_features + self.source_features
        if width != taken:
            raise ValueError(
                f"takes {self.query_features} + {self.source_features} = {taken} features "
                f"but gets {width}"
            )
        return self.hidden_size

    def operators(self, name: str, flow: Flow) -> Iterator[Operator]:
        """Yield the projections of queries, keys and values, and attention in cells."""
        queries, hidden = self.flow(flow).tokens, self.hidden_size
        yield flow.linear(f"{name} query", queries, self.query_features, hidden)
        for side in ("key", "value"):
            yield flow.linear(f"{name} {side} 1", flow.tokens, self.source_features, hidden)
            yield flow.linear(f"{name} {side} 2", flow.tokens, hidden, hidden)
        # The attention projects all three once more.
        yield flow.linear(f"{name} attention query", queries, hidden, hidden)
        yield flow.linear(f"{name} attention key", flow.tokens, hidden, hidden)
        yield flow.linear(f"{name} attention value", flow.tokens, hidden, hidden)
        heads = self.num_attention_heads
        yield _attention(name, queries, queries * self.scale**2, heads, hidden // heads)
        yield flow.linear(f"{name} output", queries, hidden, hidden)

    def parameters(self) -> int:
        """Return the projections before attention, those of attention, and three norms."""
        hidden = self.hidden_size
        total = linear_parameters(self.query_features, hidden, bias=False)
        total += 2 * linear_parameters(self.source_features, hidden, bias=True)
        total += 2 * linear_parameters(hidden, hidden, bias=True)
        total += 4 * linear_parameters(hidden, hidden, bias=True)
        return total + 3 * norm_parameters("layer", hidden)


class PatchMiningStage(Stage):
    """Each token attends to its cell of a second encoder's map and adds what it finds (MGM).

    With M = cell_size, d = hidden_size and a = source_features, MACs per token:
    d² + 2·M²·a·d + 2·M²·d. Every token has M² cells of its own, whatever the second encoder's
    size: Mini-Gemini-HD cuts its one large map into those of the crops, and shrinks it to another
    for the whole image. Source: Mini-Gemini (arXiv 2403.18814) and its repository's mgm_arch.py.

    Attributes:
        hidden_size: Features d of the tokens.
        source_features: Features a of the second encoder's map.
        cell_size: Side M of a token's cell in positions of that map.
    """

    per_token = False

    kind: Literal["patch-mining"] = "patch-mining"
    hidden_size: Positive
    source_features: Positive
    cell_size: Positive

    def leaving(self, width: int) -> int:
        """Return hidden_size."""
        if width != self.hidden_size:
            raise ValueError(f"takes {self.hidden_size} features but gets {width}")
        return self.hidden_size

    def operators(self, name: str, flow: Flow) -> Iterator[Operator]:
        """Yield query, key, value, scores and values; one head, and no output projection."""
        hidden, cells = self.hidden_size, flow.tokens * self.cell_size**2
        yield flow.linear(f"{name} query", flow.tokens, hidden, hidden)
        yield flow.linear(f"{name} key", cells, self.source_features, hidden)
        yield flow.linear(f"{name} value", cells, self.source_features, hidden)
        yield _attention(name, flow.tokens, cells, 1, hidden)

    def parameters(self) -> int:
        """Return three linears, each behind a LayerNorm."""
        hidden, source = self.hidden_size, self.source_features
        total = linear_parameters(hidden, hidden, bias=True) + norm_parameters("layer", hidden)
        other = linear_parameters(source, hidden, bias=True) + norm_parameters("layer", source)
        return total + 2 * other
