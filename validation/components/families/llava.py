"""Encoders over square crops: LLaVA, InternVL, PaliGemma, Gemma 3, Aya Vision, Ovis2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ....costmodel.plan import TokenPlan
from ..parts import Parts, tokens_of
from . import pixtral


class Tiles(Parts):
    """All crops are one batch of the encoder; frames of a video are crops as well."""

    def see(self, plan: TokenPlan) -> int:
        """Run encoder and connector on all crops."""
        pixels = self.pixels(plan.visual_input.crops)
        return tokens_of(self.model.model.get_image_features(pixel_values=pixels).pooler_output)


class Llava(Tiles):
    """LLaVA: crops of one size, or Pixtral's images of any."""

    @property
    def _native(self) -> bool:
        return bool(self.model.config.vision_config.model_type == "pixtral")

    def see(self, plan: TokenPlan) -> int:
        """Run encoder and connector; a Pixtral encoder runs all images as one sequence."""
        return pixtral.see(self, plan) if self._native else super().see(plan)


class Anyres(Tiles):
    """LLaVA-NeXT, LLaVA-NeXT-Video, LLaVA-OneVision: the model arranges the crops itself."""

    def see(self, plan: TokenPlan) -> int:
        """Run encoder, connector and arrangement, of images or of frames."""
        import torch

        pixels = self.pixels(plan.visual_input.crops)
        model = self.model.model
        if plan.frames:
            return tokens_of(model.get_video_features(pixels[None]).pooler_output)
        more = {}
        if self.model.config.model_type == "llava_onevision":
            more = {"batch_num_images": torch.tensor([len(plan.images)])}
        sizes = torch.tensor(plan.images)
        return tokens_of(model.get_image_features(pixels, image_sizes=sizes, **more).pooler_output)


class VideoLlava(Tiles):
    """Video-LLaVA: one encoder for images, one for frames."""

    places: ClassVar[Mapping[str, str]] = {
        "model.image_tower": "vision",
        "model.video_tower": "vision",
        "model.multi_modal_projector": "connector",
        "model.language_model": "decoder",
        "lm_head": "head",
    }

    def see(self, plan: TokenPlan) -> int:
        """Run encoder and connector on images or on frames."""
        if not plan.frames:
            return super().see(plan)
        pixels = self.pixels(plan.visual_input.crops)
        return tokens_of(self.model.model.get_video_features(pixels[None]).pooler_output)


class Ovis2(Tiles):
    """Ovis2: the visual vocabulary's head is a module of the encoder."""

    places: ClassVar[Mapping[str, str]] = {
        "model.vision_tower.transformer": "vision",
        "model.vision_tower.head_linear": "connector",
        "model.visual_embeddings_table": "connector",
        "model.language_model": "decoder",
        "lm_head": "head",
    }
