"""Idefics3 and SmolVLM: SigLIP over tiles, pixel shuffle and one linear layer."""

from __future__ import annotations

from typing import Any

from ...costmodel import Model
from ...costmodel.tokens.tiles import TilesRule
from .parts import crop_encoder_config, decoder_config, require_rule, special_tokens


def idefics3(model: Model) -> dict[str, Any]:
    """Return the figures of Idefics3, SmolVLM or SmolVLM2."""
    return {
        "vision_config": crop_encoder_config(
            model.vision, require_rule(model, TilesRule).tile_size
        ),
        "text_config": decoder_config(model.decoder),
        "scale_factor": model.connector.merge_size,
        "tie_word_embeddings": model.decoder.tie_word_embeddings,
        **special_tokens(model, "image_token_id"),
    }
