"""BLIP-2 and InstructBLIP: a Q-Former between encoder and LLM."""

from __future__ import annotations

from typing import Any

from ....costmodel.architecture.connector import Connector
from ....costmodel.architecture.vision import VisionEncoder
from ..fields import Fields
from ..parts import TEXTS
from ..parts.shared import divided
from ..processor import ImageProcessor
from . import base, rules
from .base import Reading


def blip2(config: Fields, images: ImageProcessor) -> Reading:
    """Return BLIP-2, whose Q-Former reads the image alone."""
    return _blip(config, images, "BLIP-2", instructed=False)


def instructblip(config: Fields, images: ImageProcessor) -> Reading:
    """Return InstructBLIP, whose Q-Former reads the instruction too."""
    return _blip(config, images, "InstructBLIP", instructed=True)


def _blip(config: Fields, images: ImageProcessor, family: str, *, instructed: bool) -> Reading:
    # the first describes the contrastive head of training, the last follows from the LLM's type
    config.ignore("image_text_hidden_size", "use_decoder_only_language_model")
    fields, encoder = base.vision_of(config)
    # the LLM is a whole model of its own here: its table says whether its head is tied
    text = config.part("text_config", TEXTS)
    tied = base.tie(text)
    text, decoder = base.text_of(config, tied=tied)
    config.ignore("tie_word_embeddings")
    qformer = config.part("qformer_config")
    stage = _qformer(config, qformer, encoder, instructed=instructed)
    side = fields.side("image_size")
    images.agrees(side)
    connector = Connector(
        name="Q-Former and linear",
        stages=[stage, base.linear(stage["hidden_size"], decoder.hidden_size)],
        source=config.sources(),
    )
    for each in (fields, text, qformer):
        each.finish()
    return Reading(family, encoder, connector, decoder, rules.fixed(config, side))


def _qformer(
    config: Fields, fields: Fields, encoder: VisionEncoder, *, instructed: bool
) -> dict[str, Any]:
    hidden, heads = fields.positive("hidden_size"), fields.positive("num_attention_heads")
    # the class takes the encoder's size, whatever the table says
    fields.ignore("encoder_hidden_size", "position_embedding_type")
    if not instructed:
        fields.only("use_qformer_text_input", False, "it adds word embeddings that nothing reads")
        fields.ignore("vocab_size", "max_position_embeddings")
    attention = {
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": divided(fields, "hidden_size", hidden, "num_attention_heads", heads),
        "qkv_bias": True,
        "output_bias": True,
    }
    words = {}
    if instructed:
        words = {
            "vocab_size": fields.positive("vocab_size"),
            "position_embeddings": fields.positive("max_position_embeddings"),
        }
    return {
        "kind": "q-former",
        "hidden_size": hidden,
        "num_hidden_layers": fields.depth("num_hidden_layers"),
        "num_queries": config.positive("num_query_tokens"),
        "attention": attention,
        "cross_attention": {**attention, "source_size": encoder.hidden_size, "norms": 1},
        "cross_attention_frequency": fields.positive("cross_attention_frequency"),
        "feed_forward": {
            "intermediate_size": fields.positive("intermediate_size"),
            "gated": False,
            "bias": True,
        },
        "norm": "layer",
        **words,
    }
