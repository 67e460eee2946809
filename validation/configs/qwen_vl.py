"""Qwen2-VL and Qwen2.5-VL: a native-resolution ViT that ends in its merger, and Qwen2."""

from __future__ import annotations

from typing import Any

from ...costmodel import InvalidInput, Model
from .parts import decoder_config, special_tokens, tower_type


def qwen2_vl(model: Model) -> dict[str, Any]:
    """Return the figures of Qwen2-VL, whose ViT has a whole FFN ratio."""
    vision = model.vision
    hidden, intermediate = vision.hidden_size, vision.feed_forward.intermediate_size
    if intermediate % hidden:
        raise InvalidInput(
            "vision.feed_forward.intermediate_size",
            intermediate,
            f"is no multiple of hidden_size {hidden}, as {model.model_type} asks",
            "correct the model's figures",
        )
    own = {
        "embed_dim": hidden,
        "hidden_size": model.decoder.hidden_size,
        "mlp_ratio": intermediate // hidden,
    }
    return common(model, tower_type(vision, "qwen2_vl_vision"), own)


def qwen2_5_vl(model: Model) -> dict[str, Any]:
    """Return the figures of Qwen2.5-VL, whose ViT attends in windows."""
    vision = model.vision
    if vision.windows is None:
        raise InvalidInput(
            "vision.windows", None, "are missing", f"add them: {model.model_type} has windows"
        )
    own = {
        "hidden_size": vision.hidden_size,
        "intermediate_size": vision.feed_forward.intermediate_size,
        "out_hidden_size": model.decoder.hidden_size,
        "window_size": vision.windows.size * vision.patch_embedding.patch_size,
        "fullatt_block_indexes": list(vision.windows.full_attention_layers),
    }
    return common(model, tower_type(vision, "qwen2_5_vl_vision"), own)


def common(model: Model, tower: str, own: dict[str, Any]) -> dict[str, Any]:
    """Return the figures that all Qwen-VL models have.

    Args:
        model: The model.
        tower: transformers' type of its ViT.
        own: Figures of the ViT that the families call differently.
    """
    vision, patch = model.vision, model.vision.patch_embedding
    return {
        "vision_config": {
            "model_type": tower,
            "depth": vision.num_hidden_layers,
            "num_heads": vision.attention.num_attention_heads,
            "in_channels": patch.num_channels,
            "patch_size": patch.patch_size,
            "temporal_patch_size": patch.temporal_patch_size,
            "spatial_merge_size": model.connector.merge_size,
            **own,
        },
        "text_config": decoder_config(model.decoder),
        "tie_word_embeddings": model.decoder.tie_word_embeddings,
        **special_tokens(
            model,
            "image_token_id",
            "video_token_id",
            "vision_start_token_id",
            "vision_end_token_id",
        ),
    }
