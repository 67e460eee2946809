"""One square per image, whatever its size."""

import math
from typing import Literal

from ..numeric import Count, Positive
from .base import Geometry, Rule, Size, VisualInput


class FixedRule(Rule):
    """Every image is resized to one square: one crop, M = what the connector makes of it.

    Gemma 3's pan and scan, which is off unless `max_tiles` is set, adds crops of a long image.

    Attributes:
        image_size: Side of the square in pixels.
        max_tiles: Most crops of pan and scan beside the image; 0 is off, None where there is none.
        min_crop_size: Smallest side of a crop in the image's own pixels.
        structural_when_cropped: Vocabulary tokens of the sentence around an image and its crops.
    """

    kind: Literal["fixed"] = "fixed"
    image_size: Positive
    max_tiles: Count | None = None
    min_crop_size: Positive = 256
    structural_when_cropped: Count = 0

    @property
    def settings(self) -> tuple[str, ...]:
        """Pan and scan's crops, where there is such a thing."""
        return () if self.max_tiles is None else ("max_tiles",)

    def image(self, size: Size, geometry: Geometry, images: int) -> VisualInput:
        """Apply the rule to one image."""
        pans = pan_and_scan(size, self.max_tiles, self.min_crop_size) if self.max_tiles else 0
        crops = 1 + pans
        crop = geometry.grid((self.image_size, self.image_size))
        tokens = crops * geometry.tokens(crop)
        note = f"resized to {self.image_size}×{self.image_size}"
        return VisualInput(
            crops=(crop,) * crops,
            crops_per_image=(crops,),
            connector_tokens=tokens,
            visual_tokens=tokens,
            separator_tokens=0,
            structural_tokens=crops * self.structural_per_image
            + (self.structural_when_cropped if pans else 0),
            note=note + (f", and {pans} crops of pan and scan" if pans else ""),
        )


def pan_and_scan(image: Size, max_crops: int, min_crop_size: int) -> int:
    """Return into how many crops pan and scan cuts an image along its longer side; 0 for none.

    Long images only: from an aspect ratio of 1.2, and while crops keep `min_crop_size`.
    Source: transformers 5.23 `Gemma3ImageProcessor.pan_and_scan`.
    """
    long, short = max(image), min(image)
    if long / short < 1.2:
        return 0
    crops = min(long // min_crop_size, math.floor(long / short + 0.5))
    crops = min(max_crops, max(2, crops))
    return 0 if min(math.ceil(long / crops), short) < min_crop_size else crops
