"""FastVLM."""

from __future__ import annotations

from ....costmodel.architecture.connector import Connector
from ..fields import Fields
from ..processor import ImageProcessor
from . import base, rules
from .base import Reading

#: What the released checkpoints' processors crop to, where no file says.
_SIDE = 1_024


def fast_vlm(config: Fields, images: ImageProcessor) -> Reading:
    """Return FastVLM: a hybrid encoder that leaves one token of 64×64 pixels, and an MLP."""
    config.ignore("image_seq_length")
    config.only("vision_feature_select_strategy", "full", "the class has no other")
    config.only("vision_feature_layer", -1, "the class has no other")
    fields, encoder = base.vision_of(config)
    text, decoder = base.text_of(config, tied=base.tied_by_either(config))
    side = images.edge("crop_size", "height", _SIDE, "the released checkpoints")
    stride = encoder.patch_embedding.patch_size
    if side % stride:
        problem = f"is no multiple of {stride}, the pixels of a token"
        raise images.refusal("crop_size.height", side, problem, "correct it")
    bias, hidden = config.flag("multimodal_projector_bias"), decoder.hidden_size
    connector = Connector(
        name="two-layer MLP",
        stages=[base.linear(encoder.features, hidden, bias), base.linear(hidden, hidden, bias)],
        source=config.sources(),
    )
    fields.finish()
    text.finish()
    return Reading("FastVLM", encoder, connector, decoder, rules.fixed(config, side))
