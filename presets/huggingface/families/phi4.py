"""Phi-4-multimodal in transformers' own form, without the checkpoint's adapters."""

from __future__ import annotations

from ....costmodel.architecture.connector import Connector
from ....costmodel.architecture.decoder import Decoder
from ....costmodel.architecture.vision import VisionEncoder
from ..fields import Fields
from ..parts import VISIONS, read_vision, shared
from ..processor import ImageProcessor
from . import base, rules
from .base import Reading


def phi4_multimodal(config: Fields, images: ImageProcessor) -> Reading:
    """Return Phi-4-multimodal's encoder and LLM; nothing that hears is priced or counted."""
    config.ignore("audio_config", "max_position_embeddings")
    fields, encoder = _vision(config)
    decoder = _text(config)
    side, hidden, width = fields.side("crop_size"), decoder.hidden_size, encoder.hidden_size
    fields.only("image_size", side, "it differs from crop_size")
    grid = side // fields.side("patch_size")
    base.divisible(fields, "crop_size", grid, "the average of squares of side", 2)
    connector = Connector(
        name="2×2 average, learned separators, MLP",
        stages=[
            {"kind": "pool", "size": 2},
            # one separator after each row, one between crops and whole, both as wide as a patch
            {"kind": "arrange", "separators": 2, "features": width},
            base.linear(width, hidden),
            base.linear(hidden, hidden),
        ],
        source=config.sources(),
    )
    rule = rules.tiles(
        config,
        side,
        "Phi4MultimodalImageProcessor, Phi4MultimodalImageEmbedding",
        grid="native",
        max_tiles=images.tiles("dynamic_hd", 36),
        thumbnail="always",
        unpad=True,
        separators="connected",
        padding="prompt",
    )
    fields.finish()
    for remark in (
        "low-rank adapters of the checkpoint are not in its config.json: priced without them",
        "the audio encoder is not counted: no image passes it",
    ):
        config.notes.remarks[remark] = None
    config.notes.unverified["decoder.adapter"] = None
    config.notes.unverified["other_parameters"] = None
    return Reading("Phi-4-multimodal", encoder, connector, decoder, rule)


def _vision(config: Fields) -> tuple[Fields, VisionEncoder]:
    fields = config.part("vision_config", VISIONS)
    encoder = read_vision(fields)
    name, layers = "feature_layer", encoder.num_hidden_layers
    layer = fields.value(name)
    if isinstance(layer, bool) or not isinstance(layer, int) or not -layers <= layer <= -1:
        raise fields.refusal(name, layer, "names no layer", f"give −1 to −{layers}")
    return fields, base.changed(encoder, contributing_layers=layers + 1 + layer)


def _text(config: Fields) -> Decoder:
    """Return the LLM, whose fields are in the top table; every layer has the window, if any."""
    heads, window = shared.read_heads(config), config.positive_or_none("sliding_window")
    layers = config.depth("num_hidden_layers")
    return shared.decoder(
        config,
        heads,
        heads.attention(),
        shared.gated(config),
        tie_word_embeddings=base.tie(config),
        sliding_window=shared.windowed(window, tuple(range(layers))),
    )
