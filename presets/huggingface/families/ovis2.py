"""Ovis2: a visual vocabulary, whose rows are mixed by a dense product."""

from __future__ import annotations

from ....costmodel.architecture.connector import Connector
from ..fields import Fields
from ..processor import ImageProcessor
from . import base, rules
from .base import Reading


def ovis2(config: Fields, images: ImageProcessor) -> Reading:
    """Return Ovis2."""
    config.ignore("vocab_size", "visual_indicator_token_ids")
    fields, encoder = base.vision_of(config)
    text, decoder = base.text_of(config)
    stride, rows = fields.positive("hidden_stride"), fields.positive("vocab_size")
    indicators = fields.count("num_visual_indicator_tokens")
    if indicators >= rows:
        problem = f"leaves none of vocab_size {rows}"
        raise fields.refusal("num_visual_indicator_tokens", indicators, problem, "correct one")
    fields.ignore("tokenize_function")
    hidden, width = decoder.hidden_size, config.positive("hidden_size")
    if width != hidden:
        problem = f"is not text_config.hidden_size {hidden}"
        raise config.refusal("hidden_size", width, problem, "correct one of them")
    side = fields.side("image_size")
    images.agrees(side)
    padded = side // fields.side("patch_size") % stride
    words = rows - indicators
    connector = Connector(
        name="visual vocabulary",
        stages=[
            *([{"kind": "pad", "multiple": stride}] if padded else []),
            *base.merge(stride),
            base.linear(encoder.hidden_size * stride**2, words, bias=False),
            base.norm("layer", words),
            *(
                [{"kind": "widen", "in_features": words, "out_features": rows}]
                if indicators
                else []
            ),
            base.linear(rows, hidden, bias=False),
        ],
        source=config.sources(),
    )
    images.only("min_patches", 1)
    images.only("use_covering_area_grid", True)
    # unlike other classes, this one's processor cuts nothing unless the file says so
    cut = images.flag("crop_to_patches", False)
    if not cut or not images.sets("max_patches"):  # the checkpoints' limit, or the class's?
        rules.estimated(config, "max_tiles")
    rule = rules.tiles(
        config,
        side,
        "Ovis2ImageProcessor, Ovis2Processor",
        grid="covering",
        max_tiles=images.tiles("max_patches", 12) if cut else 1,
        structural_per_image=3,
        structural_between_tiles=1,
    )
    fields.finish()
    text.finish()
    return Reading("Ovis2", encoder, connector, decoder, rule)
