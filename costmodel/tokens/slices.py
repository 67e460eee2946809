"""Slices: tiles that keep the image's aspect ratio instead of being squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from ..numeric import Count, Positive
from .base import Geometry, Rule, Size, VisualInput, joined
from .grids import log_aspect_grid


class SlicesRule(Rule):
    """MiniCPM-V's slices: an overview, and slices of about slice_size² pixels of a larger image.

    M = (1 + slices) · queries. Source: image_processing_minicpmv.py of openbmb/MiniCPM-V-2_6
    (`slice_image`, `find_best_resize`, `get_refine_size`); modeling_minicpmv.py, which pads the
    patches of all overviews and slices of a batch to the longest sequence.

    Attributes:
        slice_size: Side of the square whose pixels a slice has (scale_resolution).
        multiple: Sides are rounded to multiples of this, in pixels.
        max_tiles: Most slices, the overview not counted.
        structural_per_slice: Vocabulary tokens around each slice.
        structural_between_rows: Vocabulary tokens between rows of slices.
    """

    kind: Literal["slices"] = "slices"
    slice_size: Positive
    multiple: Positive
    max_tiles: Positive
    structural_per_slice: Count = 0
    structural_between_rows: Count = 0

    @property
    def settings(self) -> tuple[str, ...]:
        """The number of slices."""
        return ("max_tiles",)

    def frame(self, size: Size, geometry: Geometry) -> Size:
        """Return the patch grid of a video frame, which is not sliced."""
        return geometry.grid(self.fitted(size))

    def image(self, size: Size, geometry: Geometry, images: int) -> VisualInput:
        """Apply the rule to one image."""
        rows, columns = log_aspect_grid(size, self.slice_size, self.max_tiles, beyond=False)
        slices = rows * columns if rows * columns > 1 else 0
        overview = geometry.grid(self.fitted(size))
        crops: tuple[Size, ...] = (overview,)
        note = f"overview of {overview[0]}×{overview[1]} patches"
        if slices:
            part = self.fitted((nearest(size[0], rows) / rows, nearest(size[1], columns) / columns))
            crops += (geometry.grid(part),) * slices
            note += f" + {rows}×{columns} slices of {crops[1][0]}×{crops[1][1]} patches"
        tokens = sum(geometry.tokens(crop) for crop in crops)
        return VisualInput(
            crops=crops,
            crops_per_image=(len(crops),),
            connector_tokens=tokens,
            visual_tokens=tokens,
            separator_tokens=0,
            structural_tokens=self.structural_per_image
            + slices * self.structural_per_slice
            + (rows - 1) * self.structural_between_rows,
            note=note,
        )

    def together(self, parts: Sequence[VisualInput]) -> VisualInput:
        """Join the images; encoder and resampler get rows of patches, all padded to the longest."""
        seen = joined(parts)
        patches = [rows * columns for rows, columns in seen.crops]
        longest = max(patches)
        if min(patches) == longest:
            return seen
        return seen._replace(
            crops=((1, longest),) * len(patches),
            note=f"{seen.note}; each padded to {longest:,} patches",
        )

    def fitted(self, size: tuple[float, float]) -> Size:
        """Scale an image, down or up, to about slice_size² pixels.

        An overview is only scaled down there, but what is sliced has more pixels anyway.
        """
        aspect = size[1] / size[0]
        height = int(self.slice_size / math.sqrt(aspect))
        width = int(height * aspect)
        return nearest(height, self.multiple), nearest(width, self.multiple)


def nearest(length: float, divisor: int) -> int:
    """Return the nearest multiple of `divisor`, at least one of it (half to even)."""
    return max(round(length / divisor) * divisor, divisor)
