"""Idefics 2, Idefics 3 and SmolVLM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ....costmodel.plan import TokenPlan
from ..parts import Parts, tokens_of

if TYPE_CHECKING:
    from torch import Tensor


class Idefics3(Parts):
    """Tiles of one size; tiles of nothing but padding are taken out before the encoder."""

    places: ClassVar[Mapping[str, str]] = {
        "model.vision_model": "vision",
        "model.connector": "connector",
        "model.text_model": "decoder",
        "lm_head": "head",
    }
    decoder_path: ClassVar[str] = "model.text_model"

    def see(self, plan: TokenPlan) -> int:
        """Run encoder and connector; `get_image_features` reads pixels to find the padding."""
        states = self._encoded(plan)
        return tokens_of(self.model.model.connector(states))

    def _encoded(self, plan: TokenPlan) -> Tensor:
        """Run the encoder's own modules; it would read a mask, which here would hide nothing."""
        tower, crops = self.model.model.vision_model, plan.visual_input.crops
        pixels = self.pixels(crops)
        seen = self.zeros(len(pixels), *crops[0]) == 0
        states = tower.embeddings(pixel_values=pixels, patch_attention_mask=seen)
        encoded = tower.encoder(inputs_embeds=states, attention_mask=None)
        found: Tensor = tower.post_layernorm(encoded.last_hidden_state)
        return found


class Idefics2(Idefics3):
    """Images of any size, padded to the largest of a prompt, and a perceiver behind."""

    places: ClassVar[Mapping[str, str]] = {
        **Idefics3.places,
        "model.connector.perceiver_resampler": "connector",
    }

    def see(self, plan: TokenPlan) -> int:
        """Run encoder, gated network and perceiver, whose layers would read a mask too."""
        connector = self.model.model.connector
        context = connector.modality_projection(self._encoded(plan))
        perceiver = connector.perceiver_resampler
        latents = perceiver.latents.expand(len(context), -1, -1)
        for layer in perceiver.layers:
            latents = layer(latents, context, attention_mask=None, position_ids=None)
        return tokens_of(perceiver.norm(latents))
