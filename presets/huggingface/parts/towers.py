"""What several readers of vision encoders share."""

from __future__ import annotations

from typing import Any

from ....costmodel.architecture.blocks import Attention
from ....costmodel.architecture.vision import PatchEmbedding, VisionEncoder
from ..fields import Fields
from .shared import divided


def attention(
    fields: Fields,
    hidden: int,
    *,
    width: str = "hidden_size",
    heads: str = "num_attention_heads",
    qkv_bias: bool,
    output_bias: bool,
    qk_norm: Any = False,
) -> Attention:
    """Return multi-head attention, whose heads share the hidden size."""
    count = fields.positive(heads)
    return Attention(
        num_attention_heads=count,
        num_key_value_heads=count,
        head_dim=divided(fields, width, hidden, heads, count),
        qkv_bias=qkv_bias,
        output_bias=output_bias,
        qk_norm=qk_norm,
    )


def grid(fields: Fields) -> int:
    """Return the patches along a side of the image that the positions are for."""
    image, patch = fields.side("image_size"), fields.side("patch_size")
    if image < patch:
        problem = f"is below patch_size {patch}: no patch fits"
        raise fields.refusal("image_size", image, problem, "correct one of them")
    return image // patch


def patches(
    fields: Fields, *, bias: bool, channels: str | None = "num_channels", temporal: bool = False
) -> PatchEmbedding:
    """Return the patch convolution; a class without a field for channels has three."""
    return PatchEmbedding(
        patch_size=fields.side("patch_size"),
        temporal_patch_size=fields.positive("temporal_patch_size") if temporal else 1,
        num_channels=fields.positive(channels) if channels else 3,
        bias=bias,
    )


def tower(fields: Fields, label: str, layers: int, **own: Any) -> VisionEncoder:
    """Return the encoder; every layer contributes, until a family chooses."""
    return VisionEncoder(
        **{
            "name": f"{label}, {layers} layers of {own['hidden_size']}",
            "model_type": fields.model_type,
            "num_hidden_layers": layers,
            "contributing_layers": layers,
            "norm": "layer",
            "class_token": False,
            "position_embeddings": 0,
            "embedding_norm": False,
            "final_norm": False,
            "layer_scale": False,
            "source": fields.sources(),
            **own,
        }
    )
