"""Decoders with experts: Qwen3-MoE, Qwen3-VL-MoE, Mixtral."""

from __future__ import annotations

from typing import Any

from ....costmodel.architecture.blocks import FeedForward
from ....costmodel.architecture.decoder import Decoder
from ....costmodel.architecture.experts import Experts
from ....costmodel.architecture.variants import Variant
from ..fields import Fields
from . import shared


def qwen3_moe(fields: Fields, tied: bool) -> Decoder:
    """Return Qwen3-MoE: experts but in mlp_only_layers; a window everywhere, if it is in use."""
    layers = fields.depth("num_hidden_layers")
    window = None
    if fields.flag("use_sliding_window"):
        window = fields.positive_or_none("sliding_window")
    fields.ignore("sliding_window", "max_window_layers")
    every = shared.sliding_layers(fields, layers, lambda _: window is not None, window)
    if len(every) not in (0, layers) or bool(every) != (window is not None):
        problem = "differs from sliding_window, which is in every layer or in none"
        raise fields.refusal("layer_types", fields.value("layer_types"), problem, "leave it out")
    return _qwen3(fields, tied, sliding_window=shared.windowed(window, every))


def qwen3_vl_moe(fields: Fields, tied: bool) -> Decoder:
    """Return Qwen3-VL-MoE's decoder, which has no windows."""
    fields.only("use_sliding_window", False, "the class has no windows")
    fields.only("sliding_window", None, "the class has no windows")
    return _qwen3(fields, tied)


def mixtral(fields: Fields, tied: bool) -> Decoder:
    """Return Mixtral: experts in every layer, a window in every layer unless it is null."""
    heads, layers = shared.read_heads(fields), fields.depth("num_hidden_layers")
    window = fields.positive_or_none("sliding_window")
    experts = _experts(fields, "num_local_experts", fields.positive("intermediate_size"))
    return shared.decoder(
        fields,
        heads,
        heads.attention(),
        experts,
        tie_word_embeddings=tied,
        sliding_window=shared.windowed(window, tuple(range(layers))),
    )


def _qwen3(fields: Fields, tied: bool, **own: Any) -> Decoder:
    heads, bias = shared.read_heads(fields), fields.flag("attention_bias")
    layers = fields.depth("num_hidden_layers")
    dense = _dense_layers(fields, layers)
    usual: FeedForward = _experts(fields, "num_experts", fields.positive("moe_intermediate_size"))
    variants: tuple[Variant, ...] = ()
    if dense:
        plain = shared.gated(fields)
        variants = (Variant(layers=dense, feed_forward=plain),)
        if len(dense) == layers:
            usual, variants = plain, ()
    else:
        fields.ignore("intermediate_size")
    return shared.decoder(
        fields,
        heads,
        heads.attention(bias=bias, output_bias=bias, qk_norm=True),
        usual,
        tie_word_embeddings=tied,
        variants=variants,
        **own,
    )


def _dense_layers(fields: Fields, layers: int) -> tuple[int, ...]:
    """Return the layers without experts: those named, and all but every n-th."""
    named: tuple[int, ...] = ()
    if fields.value("mlp_only_layers") is not None:
        named = fields.layers("mlp_only_layers", layers)
    step = fields.positive("decoder_sparse_step")
    return tuple(layer for layer in range(layers) if layer in named or (layer + 1) % step)


def _experts(fields: Fields, name: str, width: int) -> Experts:
    experts, active = fields.positive(name), fields.positive("num_experts_per_tok")
    if active > experts:
        problem = f"exceeds {name} {experts}"
        raise fields.refusal("num_experts_per_tok", active, problem, "correct one of them")
    return Experts(
        intermediate_size=width,
        gated=True,
        bias=False,
        num_experts=experts,
        num_experts_per_tok=active,
    )
