"""Pixtral's encoder: all images of a request are one sequence, and a mask keeps them apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from ....costmodel.plan import TokenPlan
from ..parts import Parts, tokens_of

REASON = "the patch convolution runs on images that are padded to the prompt's largest"


def see(parts: Parts, plan: TokenPlan) -> int:
    """Run encoder and connector on images that are padded to the largest."""
    model, config = parts.model.model, parts.model.config
    patch = config.vision_config.patch_size
    sizes = [(rows * patch, columns * patch) for rows, columns in plan.visual_input.crops]
    height, width = (max(side) for side in zip(*sizes, strict=True))
    pixels = parts.empty(len(sizes), 3, height, width)
    states = model.vision_tower(pixels, image_sizes=sizes, output_hidden_states=True)
    chosen = states.hidden_states[config.vision_feature_layer]
    if config.model_type == "mistral3":
        return tokens_of(model.multi_modal_projector(chosen.squeeze(0), sizes))
    return tokens_of(model.multi_modal_projector(chosen))


def padding(parts: Parts, plan: TokenPlan) -> dict[str, int]:
    """Return what the patch convolution spends on padding: 2·3·p²·d at each position of it."""
    vision, crops = parts.model.config.vision_config, plan.visual_input.crops
    rows, columns = (max(side) for side in zip(*crops, strict=True))
    positions = len(crops) * rows * columns - sum(math.prod(crop) for crop in crops)
    return {"vision": 2 * positions * 3 * vision.patch_size**2 * vision.hidden_size}


class Pixtral(Parts):
    """Mistral 3."""

    beyond_reason: ClassVar[str] = REASON

    def beyond(self, plan: TokenPlan, step: int) -> Mapping[str, int]:
        """Return the patch convolution over padding."""
        return {} if step else padding(self, plan)

    def see(self, plan: TokenPlan) -> int:
        """Run encoder and connector."""
        return see(self, plan)
