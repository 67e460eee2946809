"""InternVL in transformers' own form; the original repositories' remote code is another."""

from __future__ import annotations

from ....costmodel.architecture.connector import Connector
from ..fields import Fields
from ..processor import ImageProcessor
from . import base, rules
from .base import Reading


def internvl(config: Fields, images: ImageProcessor) -> Reading:
    """Return InternVL: tiles with a thumbnail, pixel shuffle, a norm, an MLP."""
    config.ignore("image_seq_length")
    fields, encoder = base.vision_of(config)
    encoder = base.class_token(config, base.selected(config, encoder, several=False))
    text, decoder = base.text_of(config)
    if encoder.class_token_kept:
        name = "vision_feature_select_strategy"
        problem = "keeps the class token, which pixel shuffle has no room for"
        raise config.refusal(name, "full", problem, "give default")
    size, side = _shuffle(config), fields.side("image_size")
    base.divisible(fields, "image_size", side // fields.side("patch_size"), "pixel shuffle", size)
    images.agrees(side)
    joined, hidden = encoder.features * size**2, decoder.hidden_size
    connector = Connector(
        name=f"{size}×{size} pixel shuffle and MLP",
        stages=[
            *base.merge(size),
            base.norm("layer", joined),
            base.linear(joined, hidden),
            base.linear(hidden, hidden),
        ],
        source=config.sources(),
    )
    images.only("min_patches", 1)
    if not decoder.model_type.startswith("qwen"):  # the text around frames, in its own vocabulary
        rules.estimated(config, "video.structural_per_frame")
    rule = rules.tiles(
        config,
        side,
        "GotOcr2ImageProcessor, InternVLProcessor",
        max_tiles=images.tiles("max_patches", 12),
        structural_per_image=2,
        video={
            "kind": "frames",
            "frame_size": side,
            "structural_per_frame": 5,
            "structural_between_frames": 1,
            "numbered": True,
            "source": (base.class_source("InternVLProcessor; tokens as in Qwen2's vocabulary"),),
        },
    )
    fields.finish()
    text.finish()
    return Reading("InternVL", encoder, connector, decoder, rule)


def _shuffle(config: Fields) -> int:
    """Return the side of the squares that become one token: 1 / downsample_ratio."""
    ratio = config.value("downsample_ratio")
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0.01 <= ratio <= 1:
        way_out = "give 0.5, or one part in a whole number"
        raise config.refusal("downsample_ratio", ratio, "is not in (0, 1]", way_out)
    size = round(1 / ratio)
    if abs(size * ratio - 1) > 1e-9:
        way_out = "give 0.5, or one part in a whole number"
        raise config.refusal("downsample_ratio", ratio, "is no part in a whole number", way_out)
    return size
