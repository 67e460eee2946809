"""Frames of a video that pass the encoder one by one."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import StrictBool

from ..numeric import Count, Positive
from .base import Geometry, Rule, Size, Video, VisualInput
from .text import digit_tokens


class FramesVideo(Video):
    """Every frame is one crop, whose tokens may be pooled.

    M = frames · (⌈rows / pool⌉ · ⌈columns / pool⌉) and the learned newlines.

    Attributes:
        frame_size: Side of the square that a frame is resized to, in pixels; None keeps the
            frame's size as the image rule does with an uncut image.
        pool: Side of the square of tokens that becomes one.
        pool_at: Whether pooling comes before or after the connector.
        remainder: What becomes of rows and columns that fill no square: "kept" (⌈ ⌉), "cut" (⌊ ⌋).
        newline: Learned newlines: after each "row" of tokens, at the end of the "video", "none".
        class_token: Whether each frame's class token passes the connector to the LLM.
        structural_per_video, structural_per_frame, structural_between_frames: Vocabulary tokens
            that the processor adds.
        numbered: Whether a frame's number, from 1, stands before it; `digits_per_token` says how
            many digits of it are one token.
    """

    kind: Literal["frames"] = "frames"
    frame_size: Positive | None = None
    pool: Positive = 1
    pool_at: Literal["before-connector", "after-connector"] = "after-connector"
    remainder: Literal["kept", "cut"] = "kept"
    newline: Literal["none", "row", "video"] = "none"
    class_token: StrictBool = False
    structural_per_video: Count = 0
    structural_per_frame: Count = 0
    structural_between_frames: Count = 0
    numbered: StrictBool = False
    digits_per_token: Positive = 1

    def frames(self, rule: Rule, count: int, size: Size, geometry: Geometry) -> VisualInput:
        """Apply the rule to `count` frames of one size."""
        if self.frame_size is None:
            crop = rule.frame(size, geometry)
            note = f"{count} frames of {crop[0]}×{crop[1]} patches"
        else:
            crop = geometry.grid((self.frame_size, self.frame_size))
            note = f"{count} frames of {self.frame_size}×{self.frame_size}"
        before = self.pool_at == "before-connector"
        connected = geometry.connected(self._pooled(crop) if before else crop)
        rows, columns = connected if before else self._pooled(connected)
        if self.pool > 1:
            note += f", pooled to {rows}×{columns} tokens"
        newlines = {"none": 0, "row": count * rows, "video": 1}[self.newline]
        structural = self.structural_per_video + count * self.structural_per_frame
        structural += (count - 1) * self.structural_between_frames
        if self.numbered:
            structural += digit_tokens(range(1, count + 1), self.digits_per_token)
        return VisualInput(
            crops=(crop,) * count,
            crops_per_image=(count,),
            connector_tokens=count * (math.prod(connected) + self.class_token),
            visual_tokens=count * (rows * columns + self.class_token) + newlines,
            separator_tokens=newlines,
            structural_tokens=structural,
            note=note,
        )

    def _pooled(self, grid: Size) -> Size:
        if self.remainder == "cut":
            return grid[0] // self.pool, grid[1] // self.pool
        return math.ceil(grid[0] / self.pool), math.ceil(grid[1] / self.pool)
