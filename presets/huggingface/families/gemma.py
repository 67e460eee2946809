"""PaliGemma, PaliGemma 2 and Gemma 3: SigLIP and Gemma."""

from __future__ import annotations

import math

from ....costmodel.architecture.connector import Connector
from ..fields import Fields
from ..processor import ImageProcessor
from . import base, rules
from .base import Reading


def paligemma(config: Fields, images: ImageProcessor) -> Reading:
    """Return PaliGemma: one linear layer; image and prompt attend to each other."""
    config.ignore("hidden_size", "vocab_size", "_vocab_size")
    fields, encoder = base.vision_of(config)
    text, decoder = base.text_of(config)
    if text.has("use_bidirectional_attention"):
        text.only("use_bidirectional_attention", True, "the prompt attends to all of itself")
    text.ignore("num_image_tokens")
    hidden, width = decoder.hidden_size, config.positive("projection_dim")
    if width != hidden:
        problem = f"is not text_config.hidden_size {hidden}"
        raise config.refusal("projection_dim", width, problem, "correct one of them")
    if encoder.class_token:
        name = "vision_config.model_type"
        raise config.refusal(name, encoder.model_type, "has a class token", "give SigLIP's")
    side = fields.side("image_size")
    images.agrees(side)
    connector = Connector(
        name="linear", stages=[base.linear(encoder.hidden_size, hidden)], source=config.sources()
    )
    fields.finish()
    text.finish()
    return Reading(
        "PaliGemma" if decoder.model_type == "gemma" else "PaliGemma 2",
        encoder,
        connector,
        base.changed(decoder, bidirectional="prefix"),
        rules.fixed(config, side),
    )


def gemma3(config: Fields, images: ImageProcessor) -> Reading:
    """Return Gemma 3: the patch grid is averaged to mm_tokens_per_image tokens."""
    fields, encoder = base.vision_of(config)
    text, decoder = base.text_of(config)
    side, tokens = fields.side("image_size"), config.positive("mm_tokens_per_image")
    grid, reached = side // fields.side("patch_size"), math.isqrt(tokens)
    pool = grid // reached
    if reached**2 != tokens or not pool or grid // pool != reached:
        problem = f"cannot be reached by averaging squares of {grid}×{grid} patches"
        raise config.refusal("mm_tokens_per_image", tokens, problem, "correct one of them")
    if encoder.class_token:
        name = "vision_config.model_type"
        raise config.refusal(name, encoder.model_type, "has a class token", "give SigLIP's")
    images.agrees(side)
    width, hidden = encoder.hidden_size, decoder.hidden_size
    connector = Connector(
        name=f"{pool}×{pool} average, norm, linear",
        stages=[
            {"kind": "pool", "size": pool},
            base.norm("rms", width),
            base.linear(width, hidden, bias=False),
        ],
        source=config.sources(),
    )
    panning = images.given and images.flag("do_pan_and_scan", False)
    # that "\n\n" is one token, and those of the sentence around crops, are estimated
    rules.estimated(config, "structural_per_image", "structural_when_cropped")
    rule = rules.fixed(
        config,
        side,
        max_tiles=images.tiles("pan_and_scan_max_num_crops", 4) if panning else 0,
        min_crop_size=images.whole("pan_and_scan_min_crop_size", 256) if panning else 256,
        structural_per_image=4,
        structural_when_cropped=17,
    )
    fields.finish()
    text.finish()
    return Reading(
        "Gemma 3", encoder, connector, base.changed(decoder, bidirectional="images"), rule
    )
