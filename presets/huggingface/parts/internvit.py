"""InternViT."""

from __future__ import annotations

from ....costmodel.architecture.blocks import FeedForward
from ....costmodel.architecture.variants import ExtraParameters
from ....costmodel.architecture.vision import VisionEncoder
from ..fields import Fields
from . import towers

_NORMS = {"layer_norm": "layer", "rms_norm": "rms"}


def internvit(fields: Fields) -> VisionEncoder:
    """Return InternViT; use_mean_pooling leaves the last norm out, which is a LayerNorm."""
    hidden, layers = fields.positive("hidden_size"), fields.depth("num_hidden_layers")
    norm = _NORMS[fields.choice("norm_type", tuple(_NORMS))]
    qk_norm = fields.flag("use_qk_norm")
    if qk_norm and norm == "layer":
        why = "norms of query and key are RMS norms"
        raise fields.refusal("use_qk_norm", True, f"is not understood: {why}", "give rms_norm")
    extra = []
    if fields.flag("use_mask_token"):
        extra.append(ExtraParameters(name="mask token", count=hidden))
    last_norm = not fields.flag("use_mean_pooling")
    if last_norm and norm == "rms":
        extra.append(ExtraParameters(name="last norm, a LayerNorm", count=2 * hidden))
    positions = towers.grid(fields) ** 2 + 1
    fields.ignore("layer_scale_init_value", "drop_path_rate")
    return towers.tower(
        fields,
        "InternViT",
        layers,
        hidden_size=hidden,
        norm=norm,
        class_token=True,
        position_embeddings=positions if fields.flag("use_absolute_position_embeddings") else 0,
        final_norm=last_norm and norm == "layer",
        layer_scale=True,
        patch_embedding=towers.patches(fields, bias=True),
        attention=towers.attention(
            fields,
            hidden,
            qkv_bias=fields.flag("attention_bias"),
            output_bias=True,
            qk_norm="all heads" if qk_norm else False,
        ),
        feed_forward=FeedForward(
            intermediate_size=fields.positive("intermediate_size"), gated=False, bias=True
        ),
        extra_parameters=tuple(extra),
    )
