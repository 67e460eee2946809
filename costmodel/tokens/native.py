"""Native resolution: the image keeps its aspect ratio, and its pixels decide the tokens."""

from __future__ import annotations

import math
from typing import Literal

from ..errors import InvalidInput
from ..numeric import Positive
from .base import Geometry, Size
from .one_crop import OneCropRule


class NativeRule(OneCropRule):
    """Native resolution: sides rounded to multiples of patch·merge, pixels kept within limits.

    M = (height / patch / merge) · (width / patch / merge).

    Attributes:
        min_pixels, max_pixels: The checkpoint's image-processor limits.
        frames: Frames that the limits count: 2 where the processor takes a still image for a pair
            of frames (GLM-4.1V), which halves them.
    """

    kind: Literal["native"] = "native"
    min_pixels: Positive
    max_pixels: Positive
    frames: Positive = 1

    @property
    def settings(self) -> tuple[str, ...]:
        """The pixel limits."""
        return "min_pixels", "max_pixels"

    def fitted(self, size: Size, geometry: Geometry) -> Size:
        """Return the size in pixels that the encoder sees of an image."""
        factor = geometry.patch_size * geometry.merge_size
        if self.frames == 1:
            return fit_native(size, factor, self.min_pixels, self.max_pixels)
        return fit_frames(size, self.frames, factor, self.min_pixels, self.max_pixels)


def fit_native(image: Size, factor: int, min_pixels: int, max_pixels: int) -> Size:
    """Round an image's sides to multiples of `factor` within the pixel limits.

    Source: transformers 5.23 `smart_resize` of Qwen2-VL (sides round half to even).

    Raises:
        InvalidInput: The sides differ by more than 200 times, which that function refuses.
    """
    _check_aspect(image, image)
    return _within(image, 1, 1, factor, min_pixels, max_pixels)


def fit_frames(image: Size, frames: int, factor: int, min_pixels: int, max_pixels: int) -> Size:
    """Round the sides of `frames` frames to multiples of `factor`, all their pixels within limits.

    Sides below `factor` are scaled up before anything else. Source: transformers 5.23
    `smart_resize` of GLM-4.1V (images are 2 frames) and of the Qwen3-VL video processor.

    Raises:
        InvalidInput: One frame, or sides that differ by more than 200 times: refused there too.
    """
    if frames < 2:
        raise InvalidInput(
            "frames", frames, "is below the 2 that the model's processor asks for", "give 2 or more"
        )
    height, width = image
    if min(image) < factor:
        scale = max(factor / height, factor / width)
        height, width = int(height * scale), int(width * scale)
    _check_aspect((height, width), image)
    return _within((height, width), frames, 2 * round(frames / 2), factor, min_pixels, max_pixels)


def _within(
    image: Size, frames: int, counted: int, factor: int, min_pixels: int, max_pixels: int
) -> Size:
    """Fit `frames` frames, which the first check counts as `counted`, into the pixel limits."""
    height, width = image
    fitted = round(height / factor) * factor, round(width / factor) * factor
    pixels = counted * fitted[0] * fitted[1]
    if pixels > max_pixels:
        shrink = math.sqrt(frames * height * width / max_pixels)
        return (
            max(factor, math.floor(height / shrink / factor) * factor),
            max(factor, math.floor(width / shrink / factor) * factor),
        )
    if pixels < min_pixels:
        grow = math.sqrt(min_pixels / (frames * height * width))
        return (
            math.ceil(height * grow / factor) * factor,
            math.ceil(width * grow / factor) * factor,
        )
    return fitted


def _check_aspect(resized: Size, image: Size) -> None:
    if max(resized) / min(resized) > 200:
        raise InvalidInput(
            "image_size",
            f"{image[0]}x{image[1]}",
            "has an aspect ratio above 200, which the model's processor refuses",
            "give sides within 200 times of one another",
        )
