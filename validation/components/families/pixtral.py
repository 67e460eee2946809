"""Pixtral's encoder: all images of a request are one sequence, and a mask keeps them apart."""

from __future__ import annotations

from ....costmodel.plan import TokenPlan
from ..parts import Parts, tokens_of


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


class Pixtral(Parts):
    """Mistral 3."""

    def see(self, plan: TokenPlan) -> int:
        """Run encoder and connector."""
        return see(self, plan)
