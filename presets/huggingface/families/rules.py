"""Token rules that several families share, as tables."""

from __future__ import annotations

from typing import Any

from ....costmodel.architecture.vision import VisionEncoder
from ..fields import Fields
from ..processor import ImageProcessor
from . import base

#: What transformers' Qwen2VLImageProcessor takes without a file.
QWEN_LIMITS = (3_136, 1_003_520)
#: What Glm4vImageProcessor takes.
GLM_LIMITS = (12_544, 11_760_000)


def fixed(config: Fields, side: int, **own: Any) -> dict[str, Any]:
    """Return the rule of images that are resized to one square."""
    return {
        "kind": "fixed",
        "image_size": side,
        "default_image": (side, side),
        "source": config.sources(),
        **own,
    }


def longest_edge(
    config: Fields, images: ImageProcessor, encoder: VisionEncoder, side: int, *, merge: int
) -> dict[str, Any]:
    """Return Pixtral's rule; without a file the longest edge is the encoder's image_size."""
    edge = images.edge("size", "longest_edge", side)
    factor = encoder.patch_embedding.patch_size * merge
    return {
        "kind": "longest-edge",
        "longest_edge": edge,
        "structural_per_row": 1,
        "default_image": (max(factor, edge), max(factor, edge)),
        "source": (*config.sources(), base.class_source("PixtralImageProcessor, PixtralProcessor")),
    }


def native(
    config: Fields, images: ImageProcessor, limits: tuple[int, int], **own: Any
) -> dict[str, Any]:
    """Return the rule of native resolution within pixel limits; `limits` are the class's."""
    least, most = images.pixels(*limits)
    differs = (least, most) != limits
    return {
        "kind": "native",
        "min_pixels": least,
        "max_pixels": most,
        "class_limits": {"min_pixels": limits[0], "max_pixels": limits[1]} if differs else {},
        "structural_per_image": 2,
        "source": config.sources(),
        **own,
    }


def tiles(config: Fields, side: int, processor: str, **own: Any) -> dict[str, Any]:
    """Return the rule of equal tiles."""
    return {
        "kind": "tiles",
        "tile_size": side,
        "default_image": (side, side),
        "source": (*config.sources(), base.class_source(processor)),
        **own,
    }
