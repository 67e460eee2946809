"""Learned queries that read a crop by cross-attention: resamplers and perceivers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import StrictBool, model_validator

from ..architecture.blocks import (
    FEED_FORWARDS,
    FeedForward,
    Norm,
    Place,
    Tokens,
    norm_parameters,
)
from ..architecture.variants import CrossAttention
from ..errors import InvalidInput
from ..kinds import optional
from ..numeric import Converted, Count, Positive
from ..operators import Operator
from ..tokens.base import Size
from .base import Flow, Stage


class ResamplerStage(Stage):
    """num_queries tokens per crop, whatever its size n: layers of cross-attention to the crop.

    With Q queries of d features, h heads and h_kv key/value heads of size d_h, and k = n keys
    (n + Q where the queries are keys too), MACs of one layer and crop:

        Q·d·h·d_h + 2·k·d·h_kv·d_h + 2·Q·k·h·d_h + Q·h·d_h·d + FFN(Q)

    Projections of the crop's features to d, and of the queries behind the resampler, are linear
    stages of their own. Queries are learned, yet implementations repeat them for every crop before
    they project them, so their projection counts once per crop: torch's MultiheadAttention in
    Qwen-VL, MiniCPM-V and LLaVA-UHD, the perceivers of Idefics2 and OpenFlamingo. Crops of several
    sizes arrive padded to one by the token rules of MiniCPM-V and Idefics2, as their code pads.
    Sources: Flamingo (arXiv 2204.14198), Qwen-VL (arXiv 2308.12966), and the code of the models
    named, transformers 5.23 modeling_idefics2.py among it.

    Attributes:
        hidden_size: Features d of queries and crop.
        num_queries: Queries Q.
        num_hidden_layers: Layers; each reads the crop again.
        attention: Cross-attention of a layer; its `norms` are those of the queries.
        latents_are_keys: Whether keys and values are those of the crop and of the queries.
        feed_forward: Feed-forward network of a layer, with a norm before it.
        norm: The kind of all its norms.
        final_norm: Whether a norm follows the last layer.
        position_embeddings: Stored positions of hidden_size.
    """

    per_token = False

    kind: Literal["resampler"] = "resampler"
    hidden_size: Positive
    num_queries: Positive
    num_hidden_layers: Positive = 1
    attention: CrossAttention
    latents_are_keys: StrictBool = False
    feed_forward: Annotated[FeedForward | None, Converted(optional(FEED_FORWARDS))] = None
    norm: Norm
    final_norm: StrictBool = False
    position_embeddings: Count = 0

    @model_validator(mode="after")
    def _keys_alike(self) -> Self:
        source = self.attention.source_size or self.hidden_size
        if self.latents_are_keys and source != self.hidden_size:
            raise InvalidInput(
                "latents_are_keys",
                None,
                f"needs attention.source_size {self.hidden_size}, not {source}",
                "project the crop to hidden_size in a linear stage before",
            )
        return self

    @property
    def text(self) -> str:
        """The stage in words, for tables."""
        layers = f"{self.num_hidden_layers} layer{'s' if self.num_hidden_layers > 1 else ''}"
        keys = "crop and queries" if self.latents_are_keys else "crop"
        heads, size = self.attention.num_attention_heads, self.attention.head_dim
        return (
            f"resampler: {self.num_queries} queries of {self.hidden_size}, {layers}, "
            f"{heads} heads of {size}, keys of the {keys}"
        )

    def grid(self, grid: Size) -> Size:
        """Return the queries as one row."""
        return 1, self.num_queries

    def leaving(self, width: int) -> int:
        """Return hidden_size."""
        source = self.attention.source_size or self.hidden_size
        if width != source:
            raise ValueError(f"takes {source} features but gets {width}")
        return self.hidden_size

    def operators(self, name: str, flow: Flow) -> Iterator[Operator]:
        """Yield every layer's cross-attention and feed-forward network."""
        crops = [(math.prod(grid), flow.batch * count) for grid, count in flow.grids.items()]
        latents = self.num_queries * self.latents_are_keys
        queries = self.num_queries * flow.crops
        keys = sum((tokens + latents) * count for tokens, count in crops)
        tokens = Tokens(
            query=queries,
            key=0,
            ffn=queries,
            keys_read=0,
            pairs=0,
            cross_projected=keys,
            cross_keys=keys,
            cross_pairs=self.num_queries * keys,
        )
        for layer in range(self.num_hidden_layers):
            place = Place("connector", ())
            found = [*self.attention.operators(place, self.hidden_size, tokens)]
            if self.feed_forward is not None:
                found += self.feed_forward.operators(place, self.hidden_size, queries)
            where = f"{name} layer {layer}" if self.num_hidden_layers > 1 else name
            for operator in found:
                yield operator._replace(part="connector", name=f"{where} {operator.name}")

    def parameters(self) -> int:
        """Return queries, stored positions, layers and the last norm."""
        hidden = self.hidden_size
        layer = self.attention.parameters(hidden, self.norm)
        if self.feed_forward is not None:
            layer += self.feed_forward.parameters(hidden) + norm_parameters(self.norm, hidden)
        total = (self.num_queries + self.position_embeddings) * hidden
        total += self.num_hidden_layers * layer
        return total + (norm_parameters(self.norm, hidden) if self.final_norm else 0)
