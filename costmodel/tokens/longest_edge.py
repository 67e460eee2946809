"""Native resolution below a longest edge (Pixtral, Mistral-3)."""

from __future__ import annotations

import math
from typing import Literal

from ..numeric import Positive
from .base import Geometry, Size, check_sides
from .one_crop import OneCropRule


class LongestEdgeRule(OneCropRule):
    """Larger images are shrunk to the longest edge; sides are rounded up to patch·merge.

    M = ⌈height / patch / merge⌉ · ⌈width / patch / merge⌉. Source: transformers 5.23
    `get_resize_output_image_size` of Pixtral, which Mistral-3 shares.

    Attributes:
        longest_edge: In pixels; smaller images keep their size.
    """

    kind: Literal["longest-edge"] = "longest-edge"
    longest_edge: Positive

    def fitted(self, size: Size, geometry: Geometry) -> Size:
        """Return the size in pixels that the encoder sees of an image."""
        height, width = size
        ratio = max(height / self.longest_edge, width / self.longest_edge)
        if ratio > 1:
            height, width = math.floor(height / ratio), math.floor(width / ratio)
        check_sides(size, (height, width))
        factor = geometry.patch_size * geometry.merge_size
        return math.ceil(height / factor) * factor, math.ceil(width / factor) * factor
