"""Token rules that several families share, as tables."""

from __future__ import annotations

from typing import Any

from ....costmodel.architecture.connector import Connector
from ....costmodel.architecture.vision import VisionEncoder
from ....costmodel.tokens.base import LARGEST_SIDE
from ..fields import Fields
from ..processor import ImageProcessor
from . import base

#: Pixels that transformers' classes take without a file: Qwen2VLImageProcessor, for each frame
#: Qwen2VLVideoProcessor, for a whole video Qwen3VLVideoProcessor.
QWEN_LIMITS = (3_136, 1_003_520)
QWEN_VIDEO_LIMITS = (100_352, 602_112)
QWEN3_VIDEO_LIMITS = (131_072, 786_432)
#: Glm4vImageProcessor, over two equal frames, and Glm4vVideoProcessor, for a whole video.
GLM_LIMITS = (12_544, 11_760_000)
GLM_VIDEO_LIMITS = (12_544, 47_040_000)


def estimated(config: Fields, *names: str) -> None:
    """Mark figures of the rule that no source settles, as the presets of the family do."""
    for name in names:
        config.notes.unverified[f"token_rule.{name}"] = None


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
    edge = images.edge("size", "longest_edge", side, "vision_config.image_size")
    images.same("patch_size", encoder.patch_embedding.patch_size, "patch_size")
    side = min(max(encoder.patch_embedding.patch_size * merge, edge), LARGEST_SIDE)
    return {
        "kind": "longest-edge",
        "longest_edge": edge,
        "structural_per_row": 1,
        "default_image": (side, side),
        "source": (*config.sources(), base.class_source("PixtralImageProcessor, PixtralProcessor")),
    }


def native(
    config: Fields,
    images: ImageProcessor,
    encoder: VisionEncoder,
    connector: Connector,
    *,
    limits: tuple[int, int],
    cells: int,
    **own: Any,
) -> dict[str, Any]:
    """Return the rule of native resolution within pixel limits.

    Args:
        config: The whole config.
        images: The processor, whose limits hold where it has some.
        encoder: The encoder, of whose patches tokens are made.
        connector: The connector, which joins them.
        limits: The class's limits.
        cells: Tokens along a side of the default image.
        own: Further fields of the rule.
    """
    patch = encoder.patch_embedding
    factor = patch.patch_size * connector.merge_size
    images.patches(patch.patch_size, patch.temporal_patch_size, connector.merge_size)
    side = min(cells * factor, LARGEST_SIDE)
    least, most = images.pixels(*limits)
    differs = (least, most) != limits
    return {
        "kind": "native",
        "min_pixels": least,
        "max_pixels": most,
        "class_limits": {"min_pixels": limits[0], "max_pixels": limits[1]} if differs else {},
        "structural_per_image": 2,
        "default_image": (side, side),
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
