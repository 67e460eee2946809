"""Encoders with rotary positions: Pixtral, Qwen2-VL to Qwen3-VL, GLM-4.1V."""

from __future__ import annotations

from typing import Any

from ....costmodel.architecture.blocks import FeedForward
from ....costmodel.architecture.vision import VisionEncoder, Windows
from ..fields import Fields
from . import towers
from .shared import divided


def pixtral(fields: Fields) -> VisionEncoder:
    """Return Pixtral's encoder: RMS norms, no biases, no last norm."""
    hidden = fields.positive("hidden_size")
    heads = fields.positive("num_attention_heads")
    derived = divided(fields, "hidden_size", hidden, "num_attention_heads", heads)
    fields.only("head_dim", derived, "heads share the hidden size")
    fields.ignore("image_size", "vocab_size", "projection_dim")
    return towers.tower(
        fields,
        "Pixtral ViT",
        fields.depth("num_hidden_layers"),
        hidden_size=hidden,
        norm="rms",
        embedding_norm=True,
        patch_embedding=towers.patches(fields, bias=False),
        attention=towers.attention(fields, hidden, qkv_bias=False, output_bias=False),
        feed_forward=_gated(fields.positive("intermediate_size"), bias=False),
        joint={"over": "prompt"},  # all images are packed into one sequence, which a mask parts
    )


def qwen2_vl(fields: Fields) -> VisionEncoder:
    """Return Qwen2-VL's encoder; its hidden_size is the LLM's, embed_dim its own."""
    hidden = fields.positive("embed_dim")
    ratio = fields.positive("mlp_ratio")
    return _qwen(
        fields,
        "Qwen2-VL ViT",
        hidden,
        width="embed_dim",
        norm="layer",
        patch_bias=False,
        feed_forward=FeedForward(intermediate_size=hidden * ratio, gated=False, bias=True),
    )


def qwen2_5_vl(fields: Fields) -> VisionEncoder:
    """Return Qwen2.5-VL's encoder, which attends in windows but in fullatt_block_indexes."""
    layers, merge = fields.depth("depth"), fields.positive("spatial_merge_size")
    patch, window = fields.side("patch_size"), fields.positive("window_size")
    merged = window // merge // patch
    if not merged:
        problem = f"is below a merged patch of {merge * patch} pixels"
        raise fields.refusal("window_size", window, problem, "correct it")
    fields.ignore("tokens_per_second")
    fields.only("embed_dim", fields.positive("hidden_size"), "it differs from hidden_size")
    name = "fullatt_block_indexes"
    if fields.has(name):
        full = fields.layers(name, layers)
    else:  # the class's list is for 32 layers, and its further entries are idle
        full = tuple(layer for layer in fields.integers(name) if layer < layers)
    return _qwen(
        fields,
        "Qwen2.5-VL ViT",
        fields.positive("hidden_size"),
        norm="rms",
        patch_bias=False,
        feed_forward=_gated(fields.positive("intermediate_size"), bias=True),
        windows=Windows(size=merged * merge, full_attention_layers=full),
    )


def qwen3_vl(fields: Fields) -> VisionEncoder:
    """Return Qwen3-VL's encoder: learned positions besides the rotary ones."""
    return _qwen(
        fields,
        "Qwen3-VL ViT",
        fields.positive("hidden_size"),
        norm="layer",
        patch_bias=True,
        position_embeddings=fields.positive("num_position_embeddings"),
        feed_forward=FeedForward(
            intermediate_size=fields.positive("intermediate_size"), gated=False, bias=True
        ),
    )


def glm4v(fields: Fields) -> VisionEncoder:
    """Return GLM-4.1V's encoder; its network is as wide as out_hidden_size."""
    hidden, bias = fields.positive("hidden_size"), fields.flag("attention_bias")
    return towers.tower(
        fields,
        "GLM-4.1V ViT",
        fields.depth("depth"),
        hidden_size=hidden,
        norm="rms",
        position_embeddings=towers.grid(fields) ** 2,
        embedding_norm=True,
        final_norm=True,
        patch_embedding=towers.patches(fields, bias=True, channels="in_channels", temporal=True),
        attention=towers.attention(
            fields, hidden, heads="num_heads", qkv_bias=bias, output_bias=False
        ),
        feed_forward=_gated(fields.positive("out_hidden_size"), bias=False),
    )


def _qwen(
    fields: Fields,
    label: str,
    hidden: int,
    *,
    width: str = "hidden_size",
    patch_bias: bool,
    **own: Any,
) -> VisionEncoder:
    embedding = towers.patches(fields, bias=patch_bias, channels="in_channels", temporal=True)
    # the released files repeat these under names that the class does not read
    fields.only("in_chans", embedding.num_channels, "it differs from in_channels")
    fields.only("spatial_patch_size", embedding.patch_size, "it differs from patch_size")
    return towers.tower(
        fields,
        label,
        fields.depth("depth"),
        hidden_size=hidden,
        patch_embedding=embedding,
        attention=towers.attention(
            fields, hidden, width=width, heads="num_heads", qkv_bias=True, output_bias=True
        ),
        **own,
    )


def _gated(intermediate_size: int, *, bias: bool) -> FeedForward:
    return FeedForward(intermediate_size=intermediate_size, gated=True, bias=bias)
