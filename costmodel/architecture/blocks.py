"""What one layer is: attention, feed-forward, norms; and stacks of layers."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, StrictBool, model_validator

from ..errors import InvalidInput
from ..kinds import Kinds, lazily, lazily_all
from ..numeric import Converted, Count, Positive, Spec
from ..operators import Attention as AttentionOperator
from ..operators import Linear, Operator, Part
from .places import Execution as Execution
from .places import Place as Place
from .places import Tokens as Tokens

if TYPE_CHECKING:
    from .adapters import Adapter
    from .variants import CrossAttention, ExtraParameters, Variant
else:  # pydantic resolves names when it builds a spec; most models have none of these
    Adapter = CrossAttention = ExtraParameters = Variant = Any

Sources = Annotated[tuple[str, ...], Field(min_length=1)]
#: LayerNorm with scale and bias, LayerNorm with a scale alone, RMSNorm.
Norm = Literal["layer", "layer without bias", "rms"]

ATTENTIONS = Kinds(
    "attention",
    {"heads": ".architecture.blocks:Attention", "latent": ".architecture.latent:LatentAttention"},
    default="heads",
)
FEED_FORWARDS = Kinds(
    "feed-forward network",
    {
        "dense": ".architecture.blocks:FeedForward",
        "experts": ".architecture.experts:Experts",
    },
    default="dense",
)


def linear_parameters(c_in: int, c_out: int, bias: bool) -> int:
    """Return c_in · c_out weights, and c_out biases if there are any."""
    return c_in * c_out + bias * c_out


def norm_parameters(norm: Norm, width: int) -> int:
    """Return width scales, and as many biases in a LayerNorm that has them."""
    return width * (2 if norm == "layer" else 1)


def undivided(key_value_heads: int, heads: int) -> InvalidInput:
    """Return the error that key/value heads do not divide the query heads."""
    return InvalidInput(
        "num_key_value_heads",
        key_value_heads,
        f"does not divide num_attention_heads {heads}",
        "give a divisor of it",
    )


def unadaptable(field: str) -> InvalidInput:
    """Return the error that a layer lacks the linears that low-rank adapters stand beside."""
    return InvalidInput(
        field,
        None,
        "stands beside something else than self-attention of kind heads and a "
        "feed-forward network of kind dense in some layer",
        "leave it out, and name its weights in extra_parameters",
    )


def _head_norms(value: object) -> object:
    """Return which norms queries and keys have; a union's complaint would name its members."""
    if isinstance(value, bool) or (isinstance(value, str) and value == "all heads"):
        return value
    raise InvalidInput("", value, "is not a choice", "choose from true, false, all heads")


class Attention(Spec):
    """Self-attention of one block: MHA when both head counts agree, else GQA.

    Attributes:
        num_attention_heads: Query heads h.
        num_key_value_heads: Key/value heads h_kv; divides h.
        head_dim: Head size d_h; h·d_h need not be the hidden size.
        qkv_bias, output_bias: Whether the projections have biases (parameters only).
        qk_norm: Whether queries and keys are normalised (parameters only): per head, or over all
            heads together ("all heads").
    """

    part: ClassVar[str] = ATTENTIONS.part

    kind: str = "heads"
    num_attention_heads: Positive
    num_key_value_heads: Positive
    head_dim: Positive
    qkv_bias: StrictBool
    output_bias: StrictBool
    qk_norm: Annotated[bool | Literal["all heads"], Converted(_head_norms)] = False

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.num_attention_heads % self.num_key_value_heads:
            raise undivided(self.num_key_value_heads, self.num_attention_heads)
        return self

    @property
    def query_width(self) -> int:
        """Features of all query heads: h · d_h."""
        return self.num_attention_heads * self.head_dim

    @property
    def key_width(self) -> int:
        """Features of all key heads: h_kv · d_h."""
        return self.num_key_value_heads * self.head_dim

    def cached_values(self, execution: Execution) -> int:
        """Return the values that one token leaves in a layer's cache: 2 · h_kv · d_h."""
        return 2 * self.key_width

    def query_projections(
        self, place: Place, hidden: int, tokens: int, part: Part
    ) -> Iterator[Linear]:
        """Yield what turns hidden states into queries."""
        yield place.linear(part, "query", tokens, hidden, self.query_width)

    def key_projections(
        self, place: Place, hidden: int, tokens: int, part: Part
    ) -> Iterator[Operator]:
        """Yield what turns hidden states into keys."""
        yield place.linear(part, "key", tokens, hidden, self.key_width)

    def operators(self, place: Place, hidden: int, tokens: Tokens) -> Iterator[Operator]:
        """Yield query, key, value, scores and values, output."""
        return head_operators(self, place, hidden, hidden, tokens)

    def parameters(self, hidden: int, norm: Norm) -> int:
        """Return the weights and biases of four projections, and the norms of query and key."""
        total = head_parameters(self, hidden, hidden)
        if self.qk_norm == "all heads":
            total += norm_parameters(norm, self.query_width) + norm_parameters(norm, self.key_width)
        elif self.qk_norm:
            total += 2 * norm_parameters(norm, self.head_dim)
        return total


def head_operators(
    heads: Attention | CrossAttention,
    place: Place,
    hidden: int,
    source: int,
    tokens: Tokens,
    name: str = "",
) -> Iterator[Operator]:
    """Yield query, key, value, scores and values, output; `name` stands before theirs.

    Keys and values come from `source` features; without tokens to project they are cached.
    """
    part: Part = "attention projections"
    yield place.linear(part, f"{name}query", tokens.query, hidden, heads.query_width)
    if tokens.key:
        yield place.linear(part, f"{name}key", tokens.key, source, heads.key_width)
        yield place.linear(part, f"{name}value", tokens.key, source, heads.key_width)
    yield AttentionOperator(
        component=place.component,
        layers=place.layers,
        part="attention scores",
        name=f"{name}scores and values",
        queries=tokens.query,
        keys=tokens.keys_read,
        pairs=tokens.pairs,
        heads=heads.num_attention_heads,
        query_key_size=heads.head_dim,
        value_size=heads.head_dim,
    )
    yield place.linear(part, f"{name}output", tokens.query, heads.query_width, hidden)


def head_parameters(heads: Attention | CrossAttention, hidden: int, source: int) -> int:
    """Return the weights and biases of the four projections."""
    total = linear_parameters(hidden, heads.query_width, heads.qkv_bias)
    total += 2 * linear_parameters(source, heads.key_width, heads.qkv_bias)
    return total + linear_parameters(heads.query_width, hidden, heads.output_bias)


class FeedForward(Spec):
    """Feed-forward network: two matrices, or three when gated (gate, up, down)."""

    part: ClassVar[str] = FEED_FORWARDS.part

    kind: str = "dense"
    intermediate_size: Positive
    gated: StrictBool
    bias: StrictBool

    @property
    def active_intermediate_size(self) -> int:
        """The m of the published conventions: the width that one token passes."""
        return self.intermediate_size

    def operators(self, place: Place, hidden: int, tokens: int) -> Iterator[Operator]:
        """Yield gate (if gated), up and down."""
        part: Part = "feed-forward"
        if self.gated:
            yield place.linear(part, "gate", tokens, hidden, self.intermediate_size)
        yield place.linear(part, "up", tokens, hidden, self.intermediate_size)
        yield place.linear(part, "down", tokens, self.intermediate_size, hidden)

    def parameters(self, hidden: int) -> int:
        """Return the weights and biases of two or three matrices."""
        total = (2 if self.gated else 1) * linear_parameters(
            hidden, self.intermediate_size, self.bias
        )
        return total + linear_parameters(self.intermediate_size, hidden, self.bias)


class Block(NamedTuple):
    """What one layer of a stack is.

    Attributes:
        attention: Self-attention, if it has any.
        cross_attention: Attention to another sequence, if it has any.
        cross_feed_forward: A feed-forward network of the cross-attention's own.
        feed_forward: The layer's feed-forward network.
        norms: Norms over hidden_size.
        extra_parameters: Parameters that belong to none of these.
    """

    attention: Attention | None
    cross_attention: CrossAttention | None
    cross_feed_forward: FeedForward | None
    feed_forward: FeedForward
    norms: int
    extra_parameters: int

    @property
    def adaptable(self) -> bool:
        """Whether it has the linears that an adapter stands beside."""
        attends = self.attention is not None and self.attention.kind == "heads"
        return attends and self.feed_forward.kind == "dense"

    def operators(
        self, place: Place, hidden: int, tokens: Tokens, adapter: Adapter | None = None
    ) -> Iterator[Operator]:
        """Yield the operators of the block."""
        if self.attention is not None:
            yield from self.attention.operators(place, hidden, tokens)
        if self.cross_attention is not None:
            yield from self.cross_attention.operators(place, hidden, tokens)
        if self.cross_feed_forward is not None:
            yield from self.cross_feed_forward.operators(place, hidden, tokens.query)
        yield from self.feed_forward.operators(place, hidden, tokens.ffn)
        if adapter is not None and place.execution.adapters == "active":
            yield from adapter.operators(self, place, hidden, tokens)

    def parameters(self, hidden: int, norm: Norm, adapter: Adapter | None = None) -> int:
        """Return the block's parameters."""
        total = self.feed_forward.parameters(hidden) + self.extra_parameters
        total += self.norms * norm_parameters(norm, hidden)
        if self.attention is not None:
            total += self.attention.parameters(hidden, norm)
        if self.cross_attention is not None:
            total += self.cross_attention.parameters(hidden, norm)
        if self.cross_feed_forward is not None:
            total += self.cross_feed_forward.parameters(hidden)
        if adapter is not None:
            total += adapter.parameters(self, hidden)
        return total


class Transformer(Spec):
    """A stack of pre-norm blocks of one hidden size: alike, but for the variants.

    Attributes:
        model_type: transformers' name of the part, from which validation builds it.
        norms_per_block: Norms over hidden_size in each block.
        variants: What layers have instead of the stack's attention and feed-forward network.
        adapter: Low-rank adapters beside the linears of every block.
        extra_parameters: Parameters outside the blocks that no other field describes.
    """

    model_type: str
    hidden_size: Positive
    num_hidden_layers: Positive
    attention: Annotated[Attention, Converted(ATTENTIONS.build)]
    feed_forward: Annotated[FeedForward, Converted(FEED_FORWARDS.build)]
    norm: Norm
    norms_per_block: Count = 2
    variants: Annotated[
        tuple[Variant, ...], Converted(lazily_all(".architecture.variants:Variant"))
    ] = ()
    adapter: Annotated[Adapter | None, Converted(lazily(".architecture.adapters:Adapter"))] = None
    extra_parameters: Annotated[
        tuple[ExtraParameters, ...], Converted(lazily_all(".architecture.variants:ExtraParameters"))
    ] = ()
    source: Sources

    @model_validator(mode="after")
    def _variants_exist(self) -> Self:
        seen: set[int] = set()
        for place, variant in enumerate(self.variants):
            for layer in variant.layers:
                problem = "does not exist" if layer >= self.num_hidden_layers else ""
                if layer in seen:
                    problem = "is in two variants"
                if problem:
                    raise InvalidInput(
                        f"variants.{place}.layers",
                        None,
                        f"cannot be priced, because layer {layer} {problem}",
                        f"name each layer from 0 to {self.num_hidden_layers - 1} once at most",
                    )
                seen.add(layer)
        if self.adapter is not None and not all(block.adaptable for block in self.blocks):
            raise unadaptable("adapter")
        return self

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Every layer's block; equal layers share one."""
        usual = self.usual_block
        blocks = [usual] * self.num_hidden_layers
        for variant in self.variants:
            block = self._block(variant)
            for layer in variant.layers:
                blocks[layer] = block
        return tuple(blocks)

    @property
    def usual_block(self) -> Block:
        """The block of the layers that no variant names."""
        return Block(
            self.attention, None, None, self.feed_forward, self.norms_per_block, self._scales
        )

    def _block(self, variant: Variant) -> Block:
        own = None if variant.self_attention is False else variant.attention or self.attention
        return Block(
            attention=own,
            cross_attention=variant.cross_attention,
            cross_feed_forward=variant.cross_feed_forward,
            feed_forward=variant.feed_forward or self.feed_forward,
            norms=self.norms_per_block if variant.norms is None else variant.norms,
            extra_parameters=self._scales + variant.extra_parameters,
        )

    @property
    def _scales(self) -> int:
        """Learned scales of the residual branches of one block."""
        return 0

    def layer_parameters(self, layer: int) -> int:
        """Return the parameters of one layer."""
        return self.blocks[layer].parameters(self.hidden_size, self.norm, self.adapter)

    @property
    def extra(self) -> int:
        """Parameters outside the blocks that no other field describes."""
        return sum(extra.count for extra in self.extra_parameters)
