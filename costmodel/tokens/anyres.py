"""LLaVA's anyres: a base crop and crops of a canvas, whose padding is cut off again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from ..numeric import Positive
from .base import Geometry, Rule, Size, VisualInput


class AnyresRule(Rule):
    """LLaVA's anyres: one base crop and a grid of crops, un-padded, one newline per row.

    M = side² + rows·columns + rows, side² being the connector's tokens of a crop and rows ×
    columns the grid of tokens left after the padding of the best-fitting resolution is cut off.

    Attributes:
        crop_size: Side of a crop in pixels.
        resolutions: Candidate canvases (height, width), multiples of crop_size.
        max_crops: Grids above 1.21·max_crops·side² tokens are shrunk to about max_crops·side²
            (LLaVA-OneVision's anyres_max_9); None never shrinks.
        merge: "unpad": as above (`spatial_unpad`); "flat": every crop's tokens, no newline.
        several_images: What several images in one prompt become: "anyres" each, or the "base"
            crop alone with one newline.
    """

    kind: Literal["anyres"] = "anyres"
    crop_size: Positive
    resolutions: tuple[tuple[Positive, Positive], ...]
    max_crops: Positive | None = None
    merge: Literal["unpad", "flat"] = "unpad"
    several_images: Literal["anyres", "base"]

    def image(self, size: Size, geometry: Geometry, images: int) -> VisualInput:
        """Apply the rule to one image."""
        crop = geometry.grid((self.crop_size, self.crop_size))
        connected = geometry.connected(crop)
        base = math.prod(connected)
        pixels = f"{self.crop_size}×{self.crop_size}"
        if images > 1 and self.several_images == "base":
            crops, visual, separators = 1, base + 1, 1
            note = f"base crop of {pixels} alone (several images)"
        else:
            canvas = best_resolution(size, self.resolutions)
            high, wide = canvas[0] // self.crop_size, canvas[1] // self.crop_size
            crops = 1 + high * wide
            note = f"anyres: base crop + {high}×{wide} crops of {pixels}"
            if self.merge == "flat":
                visual, separators = crops * base, 0
            else:
                rows, columns = unpadded_grid(size, connected[0] * high, connected[1] * wide)
                if self.max_crops is not None:
                    rows, columns = shrunk_grid(rows, columns, self.max_crops * base)
                visual, separators = base + rows * columns + rows, rows
                note += f", un-padded to {rows}×{columns} patches + {rows} newlines"
        return VisualInput(
            crops=(crop,) * crops,
            crops_per_image=(crops,),
            connector_tokens=crops * base,
            visual_tokens=visual,
            separator_tokens=separators,
            structural_tokens=self.structural_per_image,
            note=note,
        )


def best_resolution(image: Size, resolutions: Sequence[Size]) -> Size:
    """Choose the canvas that keeps most of the image's pixels, then wastes fewest of its own.

    The first of equals wins. Source: transformers 5.23 `select_best_resolution`.
    """
    height, width = image

    def merit(canvas: Size) -> tuple[int, int]:
        scale = min(canvas[1] / width, canvas[0] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - canvas[0] * canvas[1]

    return max(resolutions, key=merit)


def unpadded_grid(image: Size, rows: int, columns: int) -> Size:
    """Cut the padding of an aspect-preserving resize off a rows × columns grid of patches.

    Source: transformers 5.23 `unpad_image`, floats and rounding to 7 digits as there.
    """
    height, width = image
    if width / height > columns / rows:
        padding = (rows - int(round(height * (columns / width), 7))) // 2
        return rows - 2 * padding, columns
    padding = (columns - int(round(width * (rows / height), 7))) // 2
    return rows, columns - 2 * padding


def shrunk_grid(rows: int, columns: int, most: int) -> Size:
    """Shrink a grid of patches to about `most` when it exceeds that by more than 1.1² times.

    Source: transformers 5.23 `LlavaOnevisionModel.pack_image_features`.
    """
    factor = math.sqrt(rows * columns / most)
    if factor <= 1.1:
        return rows, columns
    return int(rows // factor), int(columns // factor)
