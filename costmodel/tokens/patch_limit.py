"""Native resolution below a number of patches (Kimi-VL)."""

from __future__ import annotations

import math
from typing import Literal

from ..errors import InvalidInput
from ..numeric import Positive
from .base import Geometry, Size, check_sides
from .one_crop import OneCropRule


class PatchLimitRule(OneCropRule):
    """Images of too many patches are shrunk; sides are padded to multiples of patch·merge.

    Source: image_processing_kimi_vl.py of moonshotai/Kimi-VL-A3B-Instruct (pad_input = true).

    Attributes:
        max_patches: in_token_limit, over ⌊height / patch⌋ · ⌊width / patch⌋.
        max_side: Patches along a side that have a position embedding; more are refused.
    """

    kind: Literal["patch-limit"] = "patch-limit"
    max_patches: Positive
    max_side: Positive = 511

    def fitted(self, size: Size, geometry: Geometry) -> Size:
        """Return the size in pixels that the encoder sees of an image."""
        height, width = size
        patches = (width // geometry.patch_size) * (height // geometry.patch_size)
        if patches > self.max_patches:
            scale = math.sqrt(self.max_patches / patches)
            height, width = int(height * scale), int(width * scale)
        check_sides(size, (height, width))
        factor = geometry.patch_size * geometry.merge_size
        fitted = math.ceil(height / factor) * factor, math.ceil(width / factor) * factor
        if max(geometry.grid(fitted)) > self.max_side:
            raise InvalidInput(
                "image_size",
                f"{size[0]}x{size[1]}",
                f"makes more than {self.max_side} patches along a side, which the model refuses",
                "give a less elongated image",
            )
        return fitted
