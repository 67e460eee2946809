"""Presets with few layers, for runs in which depth does not matter."""

from __future__ import annotations

from typing import Any

from vlm_tokencost.costmodel import Model
from vlm_tokencost.presets import load_model
from vlm_tokencost.validation.reduced import resized

DECODER_LAYERS, ENCODER_LAYERS = 3, 3


def shallow(model_id: str, **decoder_figures: Any) -> Model:
    """Return a preset of three and three layers; layers without use stay without use."""
    model = load_model(model_id)
    vision = model.vision
    unused = vision.num_hidden_layers - vision.contributing_layers
    changed: dict[str, Any] = {
        "num_hidden_layers": ENCODER_LAYERS,
        "contributing_layers": ENCODER_LAYERS - unused,
    }
    if vision.windows:
        changed["windows"] = type(vision.windows)(
            size=vision.windows.size, full_attention_layers=(1,)
        )
    return resized(
        model,
        vision=resized(vision, **changed),
        decoder=resized(model.decoder, num_hidden_layers=DECODER_LAYERS, **decoder_figures),
    )
