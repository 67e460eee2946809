"""What some layers or stacks have besides: cross-attention, further parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, StrictBool, model_validator

from ..errors import InvalidInput
from ..kinds import lazily, optional
from ..numeric import Converted, Count, Positive, Spec
from ..operators import Operator
from .blocks import (
    ATTENTIONS,
    FEED_FORWARDS,
    Attention,
    FeedForward,
    Norm,
    Place,
    Tokens,
    head_operators,
    head_parameters,
    norm_parameters,
    undivided,
)


class ExtraParameters(Spec):
    """Parameters that no other field describes.

    Attributes:
        name: What they are.
        count: How many there are.
    """

    name: str
    count: int = Field(strict=True, ge=0)


class CrossAttention(Spec):
    """Attention from a block's tokens to the keys and values of another sequence.

    Attributes:
        num_attention_heads, num_key_value_heads, head_dim: As in self-attention.
        source_size: Features of the other sequence; None is the stack's hidden_size.
        qkv_bias, output_bias, qk_norm: As in self-attention.
        norms: Norms over hidden_size that belong to it.
        source_norm: Whether the other sequence is normalised first (parameters only).
        gates: Learned scalars.
        cached: Whether a decode forward finds keys and values in a cache, or projects them again.
    """

    num_attention_heads: Positive
    num_key_value_heads: Positive
    head_dim: Positive
    source_size: Positive | None = None
    qkv_bias: StrictBool = False
    output_bias: StrictBool = False
    qk_norm: StrictBool = False
    norms: Count = 0
    source_norm: StrictBool = False
    gates: Count = 0
    cached: StrictBool = True

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.num_attention_heads % self.num_key_value_heads:
            raise undivided(self.num_key_value_heads, self.num_attention_heads)
        return self

    @property
    def query_width(self) -> int:
        """Features of all query heads."""
        return self.num_attention_heads * self.head_dim

    @property
    def key_width(self) -> int:
        """Features of all key heads."""
        return self.num_key_value_heads * self.head_dim

    def cached_values(self) -> int:
        """Return the values that one key leaves in a layer's cache: 2 · h_kv · d_h."""
        return 2 * self.key_width

    def operators(self, place: Place, hidden: int, tokens: Tokens) -> Iterator[Operator]:
        """Yield query, key, value, scores and values, output."""
        crossing = Tokens(
            query=tokens.query,
            key=tokens.cross_projected,
            ffn=0,
            keys_read=tokens.cross_keys,
            pairs=tokens.cross_pairs,
        )
        source = self.source_size or hidden
        return head_operators(self, place, hidden, source, crossing, "cross ")

    def parameters(self, hidden: int, norm: Norm) -> int:
        """Return the weights and biases of four projections, norms and gates."""
        source = self.source_size or hidden
        total = head_parameters(self, hidden, source) + self.gates
        total += self.norms * norm_parameters(norm, hidden)
        total += 2 * norm_parameters(norm, self.head_dim) if self.qk_norm else 0
        return total + (norm_parameters(norm, source) if self.source_norm else 0)


class Variant(Spec):
    """What some layers of a stack have instead of its usual parts.

    Attributes:
        layers: The layers (0-based).
        attention: Self-attention of another shape.
        self_attention: False where cross-attention stands in its place.
        cross_attention: Attention to another sequence.
        cross_feed_forward: A feed-forward network that belongs to the cross-attention.
        feed_forward: A feed-forward network of another shape.
        norms: Norms over hidden_size; None as in the other layers.
        extra_parameters: Parameters of each layer that no other field describes.
    """

    layers: Annotated[tuple[Count, ...], Field(min_length=1)]
    attention: Annotated[Attention | None, Converted(optional(ATTENTIONS))] = None
    self_attention: StrictBool = True
    cross_attention: Annotated[
        CrossAttention | None, Converted(lazily(".architecture.variants:CrossAttention"))
    ] = None
    cross_feed_forward: Annotated[FeedForward | None, Converted(optional(FEED_FORWARDS))] = None
    feed_forward: Annotated[FeedForward | None, Converted(optional(FEED_FORWARDS))] = None
    norms: Count | None = None
    extra_parameters: Count = 0

    @model_validator(mode="after")
    def _parts_belong_together(self) -> Self:
        crosses = self.cross_attention is not None
        if not crosses and self.cross_feed_forward is not None:
            raise InvalidInput(
                "cross_feed_forward",
                None,
                "is given without cross_attention, to which it belongs",
                "add cross_attention, or call it feed_forward",
            )
        if not crosses and not self.self_attention:
            raise InvalidInput(
                "self_attention", False, "leaves layers without attention", "add cross_attention"
            )
        if self.attention is not None and not self.self_attention:
            raise InvalidInput(
                "attention",
                None,
                "is given, but self_attention is false",
                "leave one of the two out",
            )
        return self
