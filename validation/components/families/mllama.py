"""Llama-3.2-Vision: visual tokens are keys of the LLM's cross-attention layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ....costmodel.plan import TokenPlan
from ..parts import Parts, tokens_of

if TYPE_CHECKING:
    from torch import Tensor


class Mllama(Parts):
    """Tiles of an image, padding tiles included, are one sequence of the encoder."""

    places: ClassVar[Mapping[str, str]] = {
        "model.vision_model": "vision",
        "model.multi_modal_projector": "connector",
        "model.language_model": "decoder",
        "lm_head": "head",
    }

    beyond_reason: ClassVar[str] = "an outer product makes the mask of tiles that are only padding"

    def __init__(self, model: Any) -> None:
        """Start without visual tokens."""
        super().__init__(model)
        self.visual: Tensor | None = None

    def see(self, plan: TokenPlan) -> int:
        """Run encoder and connector; return the keys."""
        model, seen = self.model.model, plan.visual_input
        images, (tiles,) = len(seen.crops_per_image), set(seen.crops_per_image)
        pixels = self.pixels(seen.crops)
        pixels = pixels.reshape(1, images, tiles, *pixels.shape[1:])
        states = model.vision_model(
            pixel_values=pixels,
            aspect_ratio_ids=self.zeros(1, images),
            aspect_ratio_mask=self.zeros(1, images, tiles),
        ).last_hidden_state
        projected = model.multi_modal_projector(states)
        self.visual = projected.reshape(1, -1, projected.shape[-1])
        return tokens_of(self.visual)

    def beyond(self, plan: TokenPlan, step: int) -> Mapping[str, int]:
        """Return the mask's: 2·n² for the n tokens of an image's tiles, each padded to eighths."""
        if step:
            return {}
        vision = self.model.config.vision_config
        tile = (vision.image_size // vision.patch_size) ** 2 + 1
        padded = tile + -tile % 8
        return {
            "vision": sum(2 * (tiles * padded) ** 2 for tiles in plan.visual_input.crops_per_image)
        }

    def begin(self, visual: int, plan: TokenPlan) -> None:
        """Run the LLM on structural and text tokens alone."""
        super().begin(0, plan)

    def read(self, tokens: int) -> Tensor:
        """Run the LLM; the first call hands it the visual tokens, whose keys it caches."""
        states = self.empty(1, tokens, self.decoder.config.hidden_size)
        found: Tensor = self.decoder(
            inputs_embeds=states,
            past_key_values=self.cache,
            use_cache=True,
            cross_attention_states=self.visual,
        ).last_hidden_state
        self.visual = None
        return found
