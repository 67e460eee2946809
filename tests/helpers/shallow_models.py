"""Presets with few layers, for runs in which depth does not matter."""

from __future__ import annotations

from typing import Any

from vlm_tokencost.costmodel import Model
from vlm_tokencost.presets import load_model
from vlm_tokencost.validation.reduced import resized

DECODER_LAYERS, ENCODER_LAYERS = 3, 3


def shallow(model_id: str, **decoder_figures: Any) -> Model:
    """Return a preset of three and three layers; layers without use stay without use.

    Of layers that differ from the others one is left, the last of the encoder's and the middle
    one of the decoder's; sliding windows stay in the layers that are left.
    """
    model = load_model(model_id)
    vision, decoder, connector = model.vision, model.decoder, model.connector
    unused = vision.num_hidden_layers - vision.contributing_layers
    changed: dict[str, Any] = {
        "num_hidden_layers": ENCODER_LAYERS,
        "contributing_layers": ENCODER_LAYERS - unused,
        "variants": _one_of(vision.variants, ENCODER_LAYERS - 1),
    }
    if vision.windows:
        changed["windows"] = type(vision.windows)(
            size=vision.windows.size, full_attention_layers=(1,)
        )
    if connector.deepstack is not None:
        tapped = resized(connector.deepstack, encoder_layers=(0, 1))
        connector = resized(connector, deepstack=tapped)
    figures: dict[str, Any] = {
        "num_hidden_layers": DECODER_LAYERS,
        "variants": _one_of(decoder.variants, 1),
    }
    sliding = decoder.sliding_window
    if sliding is not None:
        layers = tuple(layer for layer in sliding.layers if layer < DECODER_LAYERS)
        figures["sliding_window"] = resized(sliding, layers=layers)
    return resized(
        model,
        vision=resized(vision, **changed),
        connector=connector,
        decoder=resized(decoder, **{**figures, **decoder_figures}),
    )


def _one_of(variants: tuple[Any, ...], layer: int) -> tuple[Any, ...]:
    return tuple(resized(variant, layers=(layer,)) for variant in variants)
