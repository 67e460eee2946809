"""LLaVA-1.5, LLaVA-NeXT, LLaVA-NeXT-Video, LLaVA-OneVision, Video-LLaVA, and Pixtral as LLaVA."""

from __future__ import annotations

from typing import Any

from ....costmodel.architecture.connector import Connector
from ....costmodel.architecture.decoder import Decoder
from ....costmodel.architecture.variants import ExtraParameters
from ....costmodel.architecture.vision import VisionEncoder
from ....costmodel.numeric import LARGEST
from ....costmodel.parameters import vision_parameters
from ....costmodel.tokens.base import LARGEST_SIDE
from ..fields import Fields
from ..processor import ImageProcessor, read_pairs
from . import base, rules
from .base import Reading


def llava(config: Fields, images: ImageProcessor) -> Reading:
    """Return LLaVA-1.5, or Pixtral: one crop per image, or its own resolution."""
    fields, encoder, decoder = _parts(config, base.tied_by_either(config))
    if encoder.model_type == "pixtral":
        # Pixtral's image processor bounds the longest edge; the encoder's table repeats it
        rule = rules.longest_edge(config, images, encoder, fields.side("image_size"), merge=1)
        family = "Pixtral"
    else:
        side = fields.side("image_size")
        images.agrees(side)
        rule = rules.fixed(config, side)
        family = "LLaVA"
    return Reading(family, encoder, _mlp(config, encoder, decoder), decoder, rule)


def llava_next(config: Fields, images: ImageProcessor) -> Reading:
    """Return LLaVA-NeXT: a base crop, crops of a canvas, newlines."""
    # transformers ties what the whole config says; the LLM's own word is not heard here
    fields, encoder, decoder = _parts(config, base.tie(config))
    rule = _anyres(config, images, fields, encoder, several="anyres")
    connector = _mlp(config, encoder, decoder, newline=True)
    return Reading("LLaVA-NeXT", encoder, connector, decoder, rule)


def llava_next_video(config: Fields, images: ImageProcessor) -> Reading:
    """Return LLaVA-NeXT-Video: frames are pooled before the projector."""
    fields, encoder, decoder = _parts(config, base.tied_by_either(config))
    rule = _anyres(config, images, fields, encoder, several="anyres")
    config.choice("spatial_pool_mode", ("average", "max"))
    rule["default_frames"] = 8
    rule["video"] = {
        "kind": "frames",
        "frame_size": fields.side("image_size"),
        "pool": config.positive("spatial_pool_stride"),
        "remainder": "cut",
        "pool_at": "before-connector",
        "source": (base.class_source("LlavaNextVideoPooler, LlavaNextVideoProcessor"),),
    }
    connector = _mlp(config, encoder, decoder, newline=True)
    return Reading("LLaVA-NeXT-Video", encoder, connector, decoder, rule)


def llava_onevision(config: Fields, images: ImageProcessor) -> Reading:
    """Return LLaVA-OneVision: as LLaVA-NeXT, large grids shrunk; frames are pooled."""
    fields, encoder, decoder = _parts(config, base.tied_by_either(config))
    rule = _anyres(config, images, fields, encoder, several="base")
    ratio, stem = config.value("vision_aspect_ratio"), "anyres_max_"
    digits = ratio.removeprefix(stem) if isinstance(ratio, str) else ""
    if not (isinstance(ratio, str) and ratio.startswith(stem) and digits.isdecimal()):
        way_out = f"give {stem} and a number"
        raise config.refusal("vision_aspect_ratio", ratio, "is not understood", way_out)
    crops = int(digits[:12])
    if not 1 <= crops <= LARGEST:
        problem = f"is not between {stem}1 and {stem}{LARGEST}"
        raise config.refusal("vision_aspect_ratio", ratio, problem, "correct it")
    rule["max_crops"] = crops
    rule["video"] = {
        "kind": "frames",
        "frame_size": fields.side("image_size"),
        "pool": 2,
        "newline": "video",
        "source": (base.class_source("LlavaOnevisionModel.apply_pooling"),),
    }
    connector = _mlp(config, encoder, decoder, newline=True)
    return Reading("LLaVA-OneVision", encoder, connector, decoder, rule)


def video_llava(config: Fields, images: ImageProcessor) -> Reading:
    """Return Video-LLaVA: one encoder for images and another, of the same shape, for frames."""
    fields, encoder, decoder = _parts(config, base.tie(config))
    side = fields.side("image_size")
    images.agrees(side)
    rule = rules.fixed(config, side)
    rule["default_frames"] = 8
    rule["video"] = {
        "kind": "frames",
        "frame_size": side,
        "class_token": encoder.class_token,
        "source": (base.class_source("VideoLlavaModel.get_video_features: class tokens stay"),),
    }
    again = ExtraParameters(
        name="the encoder of the other kind of input, of the same shape",
        count=vision_parameters(encoder),
    )
    connector = _mlp(config, encoder, decoder)
    return Reading("Video-LLaVA", encoder, connector, decoder, rule, (again,))


def _parts(config: Fields, tied: bool) -> tuple[Fields, VisionEncoder, Decoder]:
    # counts of tokens that older releases wrote down follow from the sizes
    config.ignore("image_seq_length", "video_seq_length", "vocab_size")
    config.only("use_image_newline_parameter", True, "the class has a newline")
    fields, encoder = base.vision_of(config)
    encoder = base.class_token(config, base.selected(config, encoder))
    text, decoder = base.text_of(config, tied=tied)
    fields.finish()
    text.finish()
    return fields, encoder, decoder


def _mlp(
    config: Fields, encoder: VisionEncoder, decoder: Decoder, *, newline: bool = False
) -> Connector:
    bias, hidden = config.flag("multimodal_projector_bias"), decoder.hidden_size
    return Connector(
        name="two-layer MLP and a learned newline" if newline else "two-layer MLP",
        newline=newline,
        stages=[base.linear(encoder.features, hidden, bias), base.linear(hidden, hidden, bias)],
        source=config.sources(),
    )


def _anyres(
    config: Fields, images: ImageProcessor, fields: Fields, encoder: VisionEncoder, several: str
) -> dict[str, Any]:
    if encoder.class_token_kept:
        name = "vision_feature_select_strategy"
        problem = "keeps the class token, which no grid of crops has room for"
        raise config.refusal(name, "full", problem, "give default")
    side = fields.side("image_size")
    images.agrees(side)
    # the model arranges what the processor cut: both have the list
    own = read_pairs(config, "image_grid_pinpoints") if config.has("image_grid_pinpoints") else None
    config.value("image_grid_pinpoints")
    cut = images.pairs("image_grid_pinpoints")
    if own and cut and own != cut:
        problem = "is not the list of config.json"
        raise images.refusal("image_grid_pinpoints", list(cut), problem, "correct one of them")
    canvases = own or cut or _canvases(config.model_type)
    for canvas in canvases:
        if canvas[0] % side or canvas[1] % side:
            size = f"{canvas[0]}×{canvas[1]}"
            problem = f"is no multiple of the crops' {side} pixels"
            raise config.refusal("image_grid_pinpoints", size, problem, "correct it")
    shown = min(2 * side, LARGEST_SIDE) if several == "anyres" else side
    return {
        "kind": "anyres",
        "crop_size": side,
        "resolutions": canvases,
        "several_images": several,
        "default_image": (shown, shown),
        "source": (*config.sources(), base.class_source("LlavaNextProcessor")),
    }


def _canvases(model_type: str) -> tuple[tuple[int, int], ...]:
    """Return what the class takes where no file lists the canvases."""
    if model_type == "llava_onevision":
        return tuple((384 * rows, 384 * columns) for rows in range(1, 7) for columns in range(1, 7))
    return ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
