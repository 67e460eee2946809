"""Frames of a video that the patch convolution takes in pairs (Qwen2-VL and its relatives)."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from ..numeric import Count, Positive
from .base import Geometry, Limits, Processor, Rule, Size, Video, VisualInput
from .native import fit_frames, fit_native
from .text import digit_tokens


class PairsVideo(Video):
    """Two frames become one grid of patches, an odd last frame being repeated.

    M = ⌈frames / 2⌉ · (height / patch / merge) · (width / patch / merge). Source: transformers
    5.23 Qwen2VLVideoProcessor, Qwen3VLVideoProcessor and Glm4vVideoProcessor, as they are without
    `cap_pixels_per_frame`.

    Attributes:
        min_pixels, max_pixels: The checkpoint's limits.
        limits: What they bound: the pixels of each "frame", or of the "video" (all its frames).
        class_limits: What transformers' class has instead (`Processor.limits` "class").
        structural_per_video, structural_per_pair: Vocabulary tokens that the processor adds.
        structural_per_timestamp: Of a pair's timestamp, its whole seconds apart; 0 without one.
        digits_per_token: How many digits of the seconds are one token; None without timestamps.
            The frames are taken to be half a second apart.
    """

    kind: Literal["pairs"] = "pairs"
    min_pixels: Positive
    max_pixels: Positive
    limits: Literal["frame", "video"]
    class_limits: Annotated[dict[str, Positive], AfterValidator(Limits)] = Limits()
    structural_per_video: Count = 0
    structural_per_pair: Count = 0
    structural_per_timestamp: Count = 0
    digits_per_token: Positive | None = None

    def configured(self, processor: Processor) -> PairsVideo:
        """Return the rule under other pixel limits."""
        changes: dict[str, Any] = {}
        if processor.limits == "class":
            changes.update(self.class_limits)
        for name in ("min_pixels", "max_pixels"):
            value = getattr(processor, name)
            if value is not None:
                changes[name] = value
        return type(self)(**{**dict(self), **changes}) if changes else self

    def frames(self, rule: Rule, count: int, size: Size, geometry: Geometry) -> VisualInput:
        """Apply the rule to `count` frames of one size."""
        factor = geometry.patch_size * geometry.merge_size
        if self.limits == "frame":
            fitted = fit_native(size, factor, self.min_pixels, self.max_pixels)
        else:
            fitted = fit_frames(size, count, factor, self.min_pixels, self.max_pixels)
        pairs = math.ceil(count / 2)
        crop = geometry.grid(fitted)
        tokens = pairs * geometry.tokens(crop)
        structural = self.structural_per_video
        structural += pairs * (self.structural_per_pair + self.structural_per_timestamp)
        if self.digits_per_token is not None:
            structural += digit_tokens(range(pairs), self.digits_per_token)
        return VisualInput(
            crops=(crop,) * pairs,
            crops_per_image=(pairs,),
            connector_tokens=tokens,
            visual_tokens=tokens,
            separator_tokens=0,
            structural_tokens=structural,
            note=f"{count} frames of {fitted[0]}×{fitted[1]} in {pairs} pairs",
        )
