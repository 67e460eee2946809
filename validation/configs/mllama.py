"""Llama-3.2-Vision: a ViT over all tiles of an image, and Llama with cross-attention layers."""

from __future__ import annotations

from typing import Any

from ...costmodel import InvalidInput, Model
from ...costmodel.tokens.tiles import TilesRule
from .parts import decoder_config, require_rule, special_tokens, tower_type


def mllama(model: Model) -> dict[str, Any]:
    """Return the figures of Llama-3.2-Vision.

    The encoder's variant are the gated global layers behind the others. Which inner layers the
    connector reads is not among a model's figures, nor does it change a count: they are taken as
    evenly as in the checkpoints, whose 32 local layers give 3, 7, 15, 23 and 30.
    """
    vision, decoder = model.vision, model.decoder
    rule = require_rule(model, TilesRule)
    worldwide = sum(len(variant.layers) for variant in vision.variants)
    local = vision.num_hidden_layers - worldwide
    inner = [layer * local // 32 for layer in (3, 7, 15, 23, 30)]
    if vision.features != (1 + len(inner)) * vision.hidden_size:
        raise InvalidInput(
            "vision.output_features",
            vision.features,
            f"is not hidden_size {vision.hidden_size} of {1 + len(inner)} layers",
            "correct the model's figures",
        )
    return {
        "vision_config": {
            "model_type": tower_type(vision, "mllama_vision_model"),
            "hidden_size": vision.hidden_size,
            "intermediate_size": vision.feed_forward.intermediate_size,
            "num_hidden_layers": local,
            "num_global_layers": worldwide,
            "attention_heads": vision.attention.num_attention_heads,
            "num_channels": vision.patch_embedding.num_channels,
            "patch_size": vision.patch_embedding.patch_size,
            "image_size": rule.tile_size,
            "max_num_tiles": rule.max_tiles,
            "vision_output_dim": vision.features,
            "intermediate_layers_indices": inner,
        },
        "text_config": decoder_config(decoder),
        "tie_word_embeddings": decoder.tie_word_embeddings,
        **special_tokens(model, "image_token_index"),
    }
