"""Qwen3-VL, dense and with experts: a native-resolution ViT with further mergers (DeepStack)."""

from __future__ import annotations

from typing import Any

from ...costmodel import InvalidInput, Model
from .parts import tower_type
from .qwen_vl import common


def qwen3_vl(model: Model) -> dict[str, Any]:
    """Return the figures of Qwen3-VL; the tower's type follows the model's."""
    vision, deepstack = model.vision, model.connector.deepstack
    if deepstack is None:
        raise InvalidInput(
            "connector.deepstack", None, "is missing", f"add it: {model.model_type} has it"
        )
    tower_type(vision, "qwen3_vl_vision", "qwen3_vl_moe_vision")
    own = {
        "hidden_size": vision.hidden_size,
        "intermediate_size": vision.feed_forward.intermediate_size,
        "out_hidden_size": model.decoder.hidden_size,
        "num_position_embeddings": vision.position_embeddings,
        "deepstack_visual_indexes": list(deepstack.encoder_layers),
    }
    return common(model, f"{model.model_type}_vision", own)
