"""InternVL: InternViT over tiles, pixel shuffle and MLP, any decoder."""

from __future__ import annotations

from typing import Any

from ...costmodel import Model
from ...costmodel.tokens.tiles import TilesRule
from .parts import decoder_config, feature_selection, require_rule, special_tokens, tower_type

_NORMS = {"layer": "layer_norm", "rms": "rms_norm"}


def internvl(model: Model) -> dict[str, Any]:
    """Return the figures of InternVL in transformers' own form (not its remote code)."""
    vision, tile = model.vision, require_rule(model, TilesRule).tile_size
    patch = vision.patch_embedding
    side = tile // patch.patch_size // model.connector.merge_size
    return {
        "vision_config": {
            "model_type": tower_type(vision, "internvl_vision"),
            "hidden_size": vision.hidden_size,
            "intermediate_size": vision.feed_forward.intermediate_size,
            "num_hidden_layers": vision.num_hidden_layers,
            "num_attention_heads": vision.attention.num_attention_heads,
            "attention_bias": vision.attention.qkv_bias,
            "use_qk_norm": vision.attention.qk_norm,
            "norm_type": _NORMS[vision.norm],
            "num_channels": patch.num_channels,
            "image_size": [tile, tile],
            "patch_size": [patch.patch_size, patch.patch_size],
            "use_mean_pooling": not vision.final_norm,
        },
        "text_config": decoder_config(model.decoder),
        **feature_selection(vision),
        "downsample_ratio": 1 / model.connector.merge_size,
        "image_seq_length": side**2,
        "tie_word_embeddings": model.decoder.tie_word_embeddings,
        **special_tokens(model, "image_token_id"),
    }
