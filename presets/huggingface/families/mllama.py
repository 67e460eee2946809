"""Llama-3.2-Vision."""

from __future__ import annotations

from ....costmodel.architecture.connector import Connector
from ..fields import Fields
from ..processor import MOST_TILES, ImageProcessor
from . import base, rules
from .base import Reading


def mllama(config: Fields, images: ImageProcessor) -> Reading:
    """Return Llama-3.2-Vision: visual tokens are keys of the LLM's cross-attention layers."""
    fields, encoder = base.vision_of(config)
    # the embedding has more rows than the head: transformers ties them in no file
    text, decoder = base.text_of(config, tied=False)
    config.ignore("tie_word_embeddings")
    side = fields.side("image_size")
    tiles = fields.whole("max_num_tiles", fields.value("max_num_tiles"), 1, MOST_TILES)
    images.agrees(side)
    if images.given and images.whole("max_image_tiles", tiles) != tiles:
        problem = f"is not the encoder's max_num_tiles {tiles}"
        given = images.whole("max_image_tiles", tiles)
        raise images.refusal("max_image_tiles", given, problem, "correct one of them")
    connector = Connector(
        name="linear",
        stages=[base.linear(encoder.features, decoder.hidden_size)],
        source=config.sources(),
    )
    rule = rules.tiles(
        config,
        side,
        "MllamaImageProcessor, MllamaProcessor",
        grid="canvas",
        max_tiles=tiles,
        thumbnail="never",
        padding="most",
        padding_attended=True,
        structural_per_image=1,
    )
    fields.finish()
    text.finish()
    return Reading("Llama-3.2-Vision", encoder, connector, decoder, rule)
