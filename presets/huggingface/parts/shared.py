"""What several readers of language models share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ....costmodel.architecture.blocks import Attention, FeedForward
from ....costmodel.architecture.decoder import Decoder
from ....costmodel.architecture.sliding import SlidingWindow
from ..fields import Fields

LAYER_TYPES = ("full_attention", "sliding_attention")


class Heads(NamedTuple):
    """Figures of grouped-query attention."""

    hidden_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int

    def attention(
        self, *, bias: bool = False, output_bias: bool = False, qk_norm: Any = False
    ) -> Attention:
        """Return the attention with these heads; `bias` is that of query, key and value."""
        return Attention(
            num_attention_heads=self.num_attention_heads,
            num_key_value_heads=self.num_key_value_heads,
            head_dim=self.head_dim,
            qkv_bias=bias,
            output_bias=output_bias,
            qk_norm=qk_norm,
        )


def read_heads(fields: Fields, *, own_head_dim: bool = True) -> Heads:
    """Return widths and heads.

    Args:
        fields: The config.
        own_head_dim: Whether head_dim may differ from hidden_size / num_attention_heads.
    """
    hidden, heads = fields.positive("hidden_size"), fields.positive("num_attention_heads")
    given = fields.value("num_key_value_heads")
    groups = heads if given is None else fields.whole("num_key_value_heads", given, 1)
    if heads % groups:
        raise fields.refusal(
            "num_key_value_heads",
            groups,
            f"does not divide num_attention_heads {heads}",
            "correct one of them",
        )
    head_dim = fields.positive_or_none("head_dim")
    if head_dim is None or not own_head_dim:
        derived = divided(fields, "hidden_size", hidden, "num_attention_heads", heads)
        if head_dim not in (None, derived):
            problem = f"is not hidden_size / num_attention_heads, {derived}"
            raise fields.refusal("head_dim", head_dim, problem, f"give {derived}")
        head_dim = derived
    return Heads(hidden, heads, groups, head_dim)


def divided(fields: Fields, name: str, total: int, by: str, parts: int) -> int:
    """Return total / parts.

    Raises:
        InvalidInput: There is a remainder.
    """
    if total % parts:
        problem = f"is no multiple of {by} {parts}"
        raise fields.refusal(name, total, problem, "correct one of them")
    return total // parts


def sliding_layers(
    fields: Fields, layers: int, otherwise: Callable[[int], bool], window: int | None
) -> tuple[int, ...]:
    """Return the layers with a window: those of `layer_types`, or as the class derives them."""
    given = fields.value("layer_types") if fields.has("layer_types") else None
    fields.ignore("layer_types")
    if given is None:
        return tuple(layer for layer in range(layers) if otherwise(layer))
    if not isinstance(given, list | tuple):
        raise fields.refusal("layer_types", given, "is not a list", "give one entry per layer")
    if len(given) != layers:
        problem = f"has {len(given)} entries for {layers} layers"
        raise fields.refusal("layer_types", given, problem, "give one entry per layer")
    for place, kind in enumerate(given):
        name = f"layer_types.{place}"
        if not isinstance(kind, str) or kind not in LAYER_TYPES:
            way_out = f"only {' and '.join(LAYER_TYPES)} can be read"
            raise fields.refusal(name, kind, "is not understood", way_out)
        if kind == "sliding_attention" and window is None:
            problem = "has no window: sliding_window is off"
            raise fields.refusal(name, kind, problem, "give sliding_window")
    return tuple(place for place, kind in enumerate(given) if kind == "sliding_attention")


def windowed(window: int | None, layers: tuple[int, ...]) -> SlidingWindow | None:
    """Return the window of some layers, if there is any."""
    return SlidingWindow(size=window, layers=layers) if window is not None and layers else None


def gated(fields: Fields, bias: bool = False) -> FeedForward:
    """Return the gated feed-forward network."""
    return FeedForward(
        intermediate_size=fields.positive("intermediate_size"), gated=True, bias=bias
    )


def decoder(
    fields: Fields, heads: Heads, attention: Attention, feed_forward: FeedForward, **own: Any
) -> Decoder:
    """Return the language model, with what is common to all."""
    return Decoder(
        **{
            "model_type": fields.model_type,
            "hidden_size": heads.hidden_size,
            "num_hidden_layers": fields.depth("num_hidden_layers"),
            "attention": attention,
            "feed_forward": feed_forward,
            "norm": "rms",
            "vocab_size": fields.positive("vocab_size"),
            "source": fields.sources(),
            **own,
        }
    )
