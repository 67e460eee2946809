"""Mistral-Small-3.1 and its relatives: Pixtral's encoder, a patch merger, Mistral."""

from __future__ import annotations

from ....costmodel.architecture.connector import Connector
from ..fields import Fields
from ..processor import ImageProcessor
from . import base, rules
from .base import Reading


def mistral3(config: Fields, images: ImageProcessor) -> Reading:
    """Return Mistral 3."""
    fields, encoder = base.vision_of(config)
    encoder = base.selected(config, encoder, several=False)
    text, decoder = base.text_of(config)
    size, width, hidden = (
        config.positive("spatial_merge_size"),
        encoder.hidden_size,
        decoder.hidden_size,
    )
    bias = config.flag("multimodal_projector_bias")
    connector = Connector(
        name=f"norm, {size}×{size} patch merger and MLP",
        stages=[
            base.norm("rms", width),
            *base.merge(size),
            base.linear(width * size**2, width, bias=False),
            base.linear(width, hidden, bias),
            base.linear(hidden, hidden, bias),
        ],
        source=config.sources(),
    )
    if encoder.class_token:
        name = "vision_config.model_type"
        raise config.refusal(name, encoder.model_type, "has a class token", "give pixtral")
    rule = rules.longest_edge(config, images, encoder, fields.side("image_size"), merge=size)
    fields.finish()
    text.finish()
    return Reading("Mistral 3", encoder, connector, decoder, rule)
