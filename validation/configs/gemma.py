"""PaliGemma and Gemma 3: SigLIP, a linear layer, and a decoder of the Gemma family."""

from __future__ import annotations

from typing import Any

from ...costmodel import InvalidInput, Model
from ...costmodel.tokens.fixed import FixedRule
from .parts import crop_encoder_config, decoder_config, require_rule, special_tokens


def paligemma(model: Model) -> dict[str, Any]:
    """Return the figures of PaliGemma, with Gemma, or PaliGemma 2, with Gemma 2."""
    image_size = require_rule(model, FixedRule).image_size
    width = model.decoder.hidden_size
    return {
        "vision_config": {
            **crop_encoder_config(model.vision, image_size),
            "projection_dim": width,
        },
        "text_config": decoder_config(model.decoder),
        "projection_dim": width,
        "tie_word_embeddings": model.decoder.tie_word_embeddings,
        **special_tokens(model, "image_token_index"),
    }


def gemma3(model: Model) -> dict[str, Any]:
    """Return the figures of Gemma 3, whose connector pools the patches of a crop."""
    image_size = require_rule(model, FixedRule).image_size
    side = image_size // model.vision.patch_embedding.patch_size
    pooled = model.connector.merge_size
    if side % pooled:
        raise InvalidInput(
            "connector.stages.0.size",
            pooled,
            f"does not divide the {side} patches along a crop",
            "correct the model's figures",
        )
    return {
        "vision_config": crop_encoder_config(model.vision, image_size),
        "text_config": decoder_config(model.decoder),
        "mm_tokens_per_image": (side // pooled) ** 2,
        "tie_word_embeddings": model.decoder.tie_word_embeddings,
        **special_tokens(model, "image_token_index", "eoi_token_index", "boi_token_index"),
    }
