"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL."""

from __future__ import annotations

from typing import Any

from ....costmodel.architecture.connector import Connector
from ....costmodel.architecture.decoder import Decoder
from ....costmodel.architecture.deepstack import DeepStack
from ....costmodel.architecture.vision import VisionEncoder
from ..fields import Fields
from ..parts import read_text
from ..processor import ImageProcessor
from . import base, rules
from .base import Reading


def qwen2_vl(config: Fields, images: ImageProcessor) -> Reading:
    """Return Qwen2-VL."""
    return _flat(config, images, "Qwen2-VL", "hidden_size", "qwen2_vl_text")


def qwen2_5_vl(config: Fields, images: ImageProcessor) -> Reading:
    """Return Qwen2.5-VL."""
    return _flat(config, images, "Qwen2.5-VL", "out_hidden_size", "qwen2_5_vl_text")


def qwen3_vl(config: Fields, images: ImageProcessor) -> Reading:
    """Return Qwen3-VL, dense or of experts: features of inner layers join the LLM's first ones."""
    fields, encoder = base.vision_of(config)
    text, decoder = base.text_of(config)
    connector = merger(fields, encoder, decoder, "out_hidden_size", deepstack=True)
    least, most = images.videos.pixels(*rules.QWEN3_VIDEO_LIMITS)
    # tokens of the chat template's marks and of a time in words are estimated
    rules.estimated(config, "video.structural_per_video", "video.structural_per_timestamp")
    rule = rules.native(
        config,
        images,
        encoder,
        connector,
        limits=rules.QWEN_LIMITS,
        cells=32,
        video={
            "kind": "pairs",
            "min_pixels": least,
            "max_pixels": most,
            "limits": "video",
            "structural_per_video": 2,
            "structural_per_pair": 2,
            "structural_per_timestamp": 5,
            "digits_per_token": 1,
            "source": (base.class_source("Qwen3VLVideoProcessor, Qwen3VLProcessor"),),
        },
    )
    fields.finish()
    text.finish()
    return Reading("Qwen3-VL", encoder, connector, decoder, rule)


def merger(
    fields: Fields, encoder: VisionEncoder, decoder: Decoder, out: str, *, deepstack: bool = False
) -> Connector:
    """Return the patch merger, which stands in the encoder's table; `out` names the LLM's width.

    Raises:
        InvalidInput: It ends in another width than the LLM's.
    """
    size, width, hidden = (
        fields.positive("spatial_merge_size"),
        encoder.hidden_size,
        decoder.hidden_size,
    )
    reached = fields.positive(out)
    if reached != hidden:
        problem = f"is not text_config.hidden_size {hidden}"
        raise fields.refusal(out, reached, problem, "correct one of them")
    joined = width * size**2
    mlp = [base.linear(joined, joined), base.linear(joined, hidden)]
    kind = encoder.norm
    taps = _taps(fields, encoder.num_hidden_layers) if deepstack else ()
    added = None
    if taps:
        stages = [*base.merge(size), base.norm(kind, joined), *mlp]
        added = DeepStack(encoder_layers=taps, stages=stages)
    return Connector(
        name=f"{size}×{size} patch merger" + (" and DeepStack mergers" if taps else ""),
        stages=[base.norm(kind, width), *base.merge(size), *mlp],
        deepstack=added,
        source=fields.sources(),
    )


def video_pairs(limits: tuple[int, int], source: str) -> dict[str, Any]:
    """Return Qwen's rule of videos: pairs of frames, limits for each."""
    return {
        "kind": "pairs",
        "min_pixels": limits[0],
        "max_pixels": limits[1],
        "limits": "frame",
        "structural_per_video": 2,
        "source": (base.class_source(source),),
    }


def _flat(config: Fields, images: ImageProcessor, family: str, out: str, text_type: str) -> Reading:
    """Read a file whose LLM may stand in the top table instead of in text_config."""
    fields, encoder = base.vision_of(config)
    if config.has("text_config"):
        text, decoder = base.text_of(config, tied=base.tied_by_either(config))
        config.ignore("max_position_embeddings")
        config.repeats(text)  # files of some releases hold the LLM's fields in both tables
        text.finish()
    else:
        config.ignore("text_config")
        decoder = read_text(config.flat(text_type), base.tie(config))
    connector = merger(fields, encoder, decoder, out)
    if images.given and not images.videos.given:
        # transformers takes the images' limits for videos without a file of their own
        limits = images.pixels(*rules.QWEN_LIMITS)
    else:
        limits = images.videos.pixels(*rules.QWEN_VIDEO_LIMITS)
    rule = rules.native(
        config,
        images,
        encoder,
        connector,
        limits=rules.QWEN_LIMITS,
        cells=39,
        video=video_pairs(limits, "Qwen2VLVideoProcessor"),
    )
    fields.finish()
    return Reading(family, encoder, connector, decoder, rule)


def _taps(fields: Fields, layers: int) -> tuple[int, ...]:
    name = "deepstack_visual_indexes"
    taps = fields.integers(name)
    if list(taps) != sorted(set(taps)) or (taps and taps[-1] >= layers):
        problem = f"is not a growing list of layers below {layers}"
        raise fields.refusal(name, list(taps), problem, "correct it")
    return taps
