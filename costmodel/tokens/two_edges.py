"""Native resolution between a shortest and a longest edge (Idefics2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import StrictBool

from ..numeric import Positive
from .base import Geometry, Size, VisualInput, check_sides, joined
from .one_crop import OneCropRule


class TwoEdgesRule(OneCropRule):
    """The aspect ratio is kept between a shortest and a longest edge; patches are cut off.

    Source: transformers 5.23 `get_resize_output_image_size` and `split_images` of Idefics2.

    Attributes:
        shortest_edge, longest_edge: In pixels; images within them keep their size.
        split: Whether an image becomes its four quarters and itself (do_image_splitting).
        structural_per_crop: Vocabulary tokens that each quarter adds.
    """

    kind: Literal["two-edges"] = "two-edges"
    shortest_edge: Positive
    longest_edge: Positive
    split: StrictBool = False
    structural_per_crop: Positive = 1

    def fitted(self, size: Size, geometry: Geometry) -> Size:
        """Return the size in pixels that the encoder sees of an image."""
        height, width = size
        aspect = width / height
        if width >= height and width > self.longest_edge:
            height, width = int(self.longest_edge / aspect), self.longest_edge
        elif height > width and height > self.longest_edge:
            height, width = self.longest_edge, int(self.longest_edge * aspect)
        return max(height, self.shortest_edge), max(width, self.shortest_edge)

    def image(self, size: Size, geometry: Geometry, images: int) -> VisualInput:
        """Apply the rule to one image, or to its quarters and itself."""
        whole = super().image(size, geometry, images)
        if not self.split:
            return whole
        height, width = size
        check_sides(size, (height // 2, width // 2))
        quarters = [
            (rows, columns)
            for rows in (height // 2, height - height // 2)
            for columns in (width // 2, width - width // 2)
        ]
        parts = [*(super(TwoEdgesRule, self).image(part, geometry, 1) for part in quarters), whole]
        return joined(parts)._replace(
            crops_per_image=(len(parts),),
            structural_tokens=whole.structural_tokens + len(quarters) * self.structural_per_crop,
            note=f"{whole.note}, and its four quarters",
        )

    def together(self, parts: Sequence[VisualInput]) -> VisualInput:
        """Join the images; the encoder pads all crops of a prompt to the largest sides."""
        seen = joined(parts)
        largest = max(rows for rows, _ in seen.crops), max(columns for _, columns in seen.crops)
        padded = any(crop != largest for crop in seen.crops)
        note = f"{seen.note}; crops padded to {largest[0]}×{largest[1]} patches"
        return seen._replace(crops=(largest,) * len(seen.crops), note=note if padded else seen.note)
