"""What the rules have that make one crop of an image, of about its own aspect ratio."""

from __future__ import annotations

from ..numeric import Count
from .base import Geometry, Rule, Size, VisualInput


class OneCropRule(Rule):
    """What the rules have that make one crop of an image, of about its own aspect ratio.

    M = what the connector makes of the crop's patches.

    Attributes:
        structural_per_row: Vocabulary tokens after each row of visual tokens ([IMG_BREAK]).
    """

    structural_per_row: Count = 0

    def fitted(self, size: Size, geometry: Geometry) -> Size:
        """Return the size in pixels that the encoder sees of an image."""
        raise NotImplementedError

    def frame(self, size: Size, geometry: Geometry) -> Size:
        """Return the patch grid of a video frame."""
        return geometry.grid(self.fitted(size, geometry))

    def image(self, size: Size, geometry: Geometry, images: int) -> VisualInput:
        """Apply the rule to one image."""
        height, width = self.fitted(size, geometry)
        crop = geometry.grid((height, width))
        rows, columns = geometry.connected(crop)
        return VisualInput(
            crops=(crop,),
            crops_per_image=(1,),
            connector_tokens=rows * columns,
            visual_tokens=rows * columns,
            separator_tokens=0,
            structural_tokens=self.structural_per_image + rows * self.structural_per_row,
            note=f"native resolution {height}×{width}",
        )
