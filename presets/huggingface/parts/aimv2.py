"""AIMv2, as Ovis2 has it."""

from __future__ import annotations

from ....costmodel.architecture.blocks import FeedForward
from ....costmodel.architecture.vision import VisionEncoder
from ..fields import Fields
from . import towers


def ovis2(fields: Fields) -> VisionEncoder:
    """Return Ovis2's encoder: RMS norms, a gated network, a norm before and behind the layers."""
    hidden = fields.positive("hidden_size")
    bias = fields.flag("qkv_bias")
    return towers.tower(
        fields,
        "AIMv2 ViT",
        fields.depth("num_hidden_layers"),
        hidden_size=hidden,
        norm="rms",
        position_embeddings=towers.grid(fields) ** 2,
        embedding_norm=True,
        final_norm=True,
        patch_embedding=towers.patches(fields, bias=True),
        attention=towers.attention(fields, hidden, qkv_bias=bias, output_bias=bias),
        feed_forward=FeedForward(
            intermediate_size=fields.positive("intermediate_size"),
            gated=True,
            bias=fields.flag("mlp_bias"),
        ),
    )
