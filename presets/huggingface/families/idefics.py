"""Idefics 2, Idefics 3 and SmolVLM."""

from __future__ import annotations

from typing import Any

from ....costmodel.architecture.connector import Connector
from ....costmodel.tokens.base import LARGEST_SIDE
from ..fields import Fields
from ..processor import MOST_TILES, ImageProcessor
from . import base, rules
from .base import Reading

#: Fields of the first releases that no class reads.
_IDLE = (
    "use_base_siglip",
    "neftune_noise_alpha",
    "freeze_config",
    "image_seq_len",
    "vocab_size",
    "vision_feature_layer",
)


def idefics2(config: Fields, images: ImageProcessor) -> Reading:
    """Return Idefics 2: a gated network over all patches, then a perceiver of few latents."""
    config.ignore(*_IDLE)
    fields, encoder = base.vision_of(config)
    text, decoder = base.text_of(config)
    perceiver = config.part("perceiver_config")
    hidden = decoder.hidden_size
    # the class gives the perceiver the LLM's size, whatever its table says
    perceiver.ignore("hidden_size", "qk_layer_norms_perceiver")
    connector = Connector(
        name="gated network and perceiver",
        stages=[
            {
                "kind": "gated",
                "in_features": encoder.hidden_size,
                "intermediate_size": decoder.feed_forward.intermediate_size,
                "out_features": hidden,
                "bias": False,
            },
            _resampler(perceiver, hidden),
        ],
        source=config.sources(),
    )
    longest = images.edge("size", "longest_edge", 980)
    split = images.flag("do_image_splitting", False)
    rule = {
        "kind": "two-edges",
        "shortest_edge": images.edge("size", "shortest_edge", 378),
        "longest_edge": longest,
        "split": split,
        "class_limits": {"split": 0} if split else {},
        "structural_per_image": 2,
        "default_image": (longest, longest),
        "source": (
            *config.sources(),
            base.class_source("Idefics2ImageProcessor, Idefics2Processor"),
        ),
    }
    for each in (fields, text, perceiver):
        each.finish()
    return Reading("Idefics 2", encoder, connector, decoder, rule)


def _resampler(fields: Fields, hidden: int) -> dict[str, Any]:
    heads, groups = fields.positive("resampler_n_heads"), fields.positive("num_key_value_heads")
    if heads % groups:
        problem = f"does not divide resampler_n_heads {heads}"
        raise fields.refusal("num_key_value_heads", groups, problem, "correct one of them")
    return {
        "kind": "resampler",
        "hidden_size": hidden,
        "num_queries": fields.positive("resampler_n_latents"),
        "num_hidden_layers": fields.depth("resampler_depth"),
        "attention": {
            "num_attention_heads": heads,
            "num_key_value_heads": groups,
            "head_dim": fields.positive("resampler_head_dim"),
            "norms": 1,
            "source_norm": True,
        },
        "latents_are_keys": True,
        "feed_forward": {"intermediate_size": 4 * hidden, "gated": True, "bias": False},
        "norm": "rms",
        "final_norm": True,
    }


def idefics3(config: Fields, images: ImageProcessor) -> Reading:
    """Return Idefics 3, and the SmolVLM checkpoints that name this type."""
    return _shuffled(config, images, "Idefics 3", video=False)


def smolvlm(config: Fields, images: ImageProcessor) -> Reading:
    """Return SmolVLM 2."""
    return _shuffled(config, images, "SmolVLM", video=True)


def _shuffled(config: Fields, images: ImageProcessor, family: str, *, video: bool) -> Reading:
    config.ignore(*_IDLE)
    fields, encoder = base.vision_of(config)
    text, decoder = base.text_of(config)
    # SmolVLM's first files repeat these in the LLM's table; no class reads them
    text.ignore("perceiver_config", "pixel_shuffle_factor")
    text.only("use_resampler", False, "the class has no resampler")
    factor = config.positive("scale_factor")
    config.only("pixel_shuffle_factor", factor, "it differs from scale_factor")
    config.only("use_resampler", False, "the class has no resampler")
    config.only("qk_layer_norms_resampler", False, "the class has no resampler")
    joined = encoder.hidden_size * factor**2
    connector = Connector(
        name=f"{factor}×{factor} pixel shuffle and linear",
        stages=[*base.merge(factor), base.linear(joined, decoder.hidden_size, bias=False)],
        source=config.sources(),
    )
    rule = _tiles(config, images, fields, factor)
    if video:
        rules.estimated(config, "video.structural_per_video", "video.structural_per_frame")
        rule["video"] = {
            "kind": "frames",
            "frame_size": rule["tile_size"],
            "structural_per_video": 32,
            "structural_per_frame": 13,
            "source": (base.class_source("SmolVLMProcessor; tokens of its text are estimated"),),
        }
    fields.finish()
    text.finish()
    return Reading(family, encoder, connector, decoder, rule)


def _tiles(config: Fields, images: ImageProcessor, fields: Fields, factor: int) -> dict[str, Any]:
    # Without a file: tiles of the encoder's image_size, four along the longest edge, which is what
    # the class's own defaults (364, 1456) are for the encoder that they are for.
    side = fields.side("image_size")
    origin = "vision_config.image_size"
    tile = images.edge("max_image_size", "longest_edge", side, origin)
    grid = tile // fields.side("patch_size")
    if tile > side:
        problem = f"is above the encoder's image_size {side}"
        raise images.refusal("max_image_size.longest_edge", tile, problem, "correct one of them")
    if not grid or grid % factor:
        problem = f"makes {grid}×{grid} patches, which scale_factor {factor} does not divide"
        raise fields.refusal("image_size", tile, problem, "correct one of them")
    if tile != side:
        origin = "preprocessor.max_image_size.longest_edge"
    edge = images.edge("size", "longest_edge", min(4 * tile, LARGEST_SIDE), f"four times {origin}")
    if (edge // tile) ** 2 > MOST_TILES:
        problem = f"makes more than {MOST_TILES:,} tiles of {tile}"
        raise images.refusal("size.longest_edge", edge, problem, "correct one of them")
    own: dict[str, Any] = {"grid": "longest-edge", "longest_edge": edge, "thumbnail": "always"}
    if not images.flag("do_image_splitting", True):
        own = {"grid": "fixed", "fixed_grid": (1, 1), "thumbnail": "never"}
        edge = tile
    else:  # that a line break is one token, in the LLM's own vocabulary
        rules.estimated(config, "structural_per_tile_row")
    return rules.tiles(
        config,
        tile,
        "Idefics3ImageProcessor, Idefics3Processor, and SmolVLM's",
        structural_per_image=3,
        structural_per_tile=2,
        structural_per_tile_row=1,
        **own,
        default_image=(edge, edge),
    )
