"""Phi-4-multimodal: learned separators join the patches before the projection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ....costmodel.plan import TokenPlan
from ..parts import Parts, tokens_of


class Phi4(Parts):
    """The whole LLM is `model`; encoder and projection are inside its embedding."""

    places: ClassVar[Mapping[str, str]] = {
        "model": "decoder",
        "model.embed_tokens_extend.image_embed.img_processor": "vision",
        "model.embed_tokens_extend.image_embed.img_projection_up": "connector",
        "model.embed_tokens_extend.image_embed.img_projection_down": "connector",
        "lm_head": "head",
    }
    decoder_path: ClassVar[str] = "model"
    arranges: ClassVar[bool] = False

    def see(self, plan: TokenPlan) -> int:
        """Run the encoder on all crops, padding crops included, then the projection.

        Arranging reads masks that say where an image's patches end, so that the projection gets
        what the plan says that arranging leaves.
        """
        embed: Any = self.model.model.embed_tokens_extend.image_embed
        tower, crops = embed.img_processor, plan.visual_input.crops
        pixels = self.pixels(crops)
        mask = self.zeros(len(pixels), *crops[0]) == 0
        states = tower.embeddings(pixel_values=pixels, patch_attention_mask=mask)
        encoded = tower.encoder(inputs_embeds=states, attention_mask=None)
        last = tower.post_layernorm(encoded.last_hidden_state)
        tower.head(hidden_state=last, attention_mask=mask.flatten(1))
        tokens = self.empty(1, plan.visual_input.visual_tokens, embed.image_dim_out)
        return tokens_of(embed.img_projection_down(embed.img_projection_up(tokens)))
