"""Aya Vision: SigLIP, pixel shuffle, a gated network, Cohere 2."""

from __future__ import annotations

from ....costmodel.architecture.connector import Connector
from ..fields import Fields
from ..processor import ImageProcessor
from . import base, rules
from .base import Reading


def aya_vision(config: Fields, images: ImageProcessor) -> Reading:
    """Return Aya Vision; half of alignment_intermediate_size gates the other half."""
    config.ignore("max_splits_per_img", "alignment_activation_fn")
    fields, encoder = base.vision_of(config)
    encoder = base.class_token(config, base.selected(config, encoder, several=False))
    text, decoder = base.text_of(config)
    if encoder.class_token_kept:
        name = "vision_feature_select_strategy"
        problem = "keeps the class token, which pixel shuffle has no room for"
        raise config.refusal(name, "full", problem, "give default")
    factor, side, hidden = (
        config.positive("downsample_factor"),
        fields.side("image_size"),
        decoder.hidden_size,
    )
    base.divisible(
        fields, "image_size", side // fields.side("patch_size"), "downsample_factor", factor
    )
    images.agrees(side)
    # a field that the class reads without declaring it; the LLM's size stands in
    aligned = config.positive_or_none("alignment_intermediate_size") or hidden
    if aligned % 2:
        problem = "is odd: one half gates the other"
        raise config.refusal("alignment_intermediate_size", aligned, problem, "correct it")
    joined = encoder.features * factor**2
    connector = Connector(
        name=f"{factor}×{factor} pixel shuffle, norm and gated network",
        stages=[
            *base.merge(factor),
            base.norm("layer", joined),
            {
                "kind": "gated",
                "in_features": joined,
                "intermediate_size": aligned // 2,
                "out_features": hidden,
                "bias": True,
            },
        ],
        source=config.sources(),
    )
    images.only("min_patches", 1)
    rule = rules.tiles(
        config,
        side,
        "GotOcr2ImageProcessor, AyaVisionProcessor",
        max_tiles=images.tiles("max_patches", 12),
        structural_per_image=3,
        structural_per_tile=1,
    )
    fields.finish()
    text.finish()
    return Reading("Aya Vision", encoder, connector, decoder, rule)
