"""Qwen3-VL: features of inner encoder layers join the visual tokens behind the first LLM layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .base import Pixels
from .qwen_vl import QwenVLAdapter

if TYPE_CHECKING:
    from torch import Tensor


class Qwen3VLAdapter(QwenVLAdapter):
    """Dense or with experts; each tapped encoder layer has a merger of its own (DeepStack)."""

    model_types: ClassVar[tuple[str, ...]] = ("qwen3_vl", "qwen3_vl_moe")

    @property
    def connector_parts(self) -> tuple[Any, ...]:
        """The patch merger and those of the tapped layers."""
        return (self.connector, *self.tower.deepstack_merger_list)

    def features(self, pixels: Pixels) -> list[Tensor]:
        """Return the merged tokens of each image, those of the tapped layers beside them."""
        import torch

        prepared = {
            **pixels.inputs,
            **self._patch_positions(pixels),
            **self._interpolation(pixels),
        }
        output = self.base.get_image_features(**prepared, return_dict=True)
        layers = (output.pooler_output, *output.deepstack_features)
        parts = [torch.cat(tokens, dim=-1) for tokens in zip(*layers, strict=True)]
        images = len(pixels.images)
        return [torch.stack(parts[image::images]) for image in range(images)]

    def _interpolation(self, pixels: Pixels) -> dict[str, Any]:
        """Return where each patch lies in the table of positions, prepared on the host."""
        from transformers.vision_utils import get_vision_interpolation_indices_and_weights

        tower, device = self.tower, self.model.device
        indices, weights = get_vision_interpolation_indices_and_weights(
            pixels.inputs["image_grid_thw"],
            num_grid_per_side=tower.num_grid_per_side,
            mode=tower.interpolation_mode,
            align_corners=tower.interpolation_align_corners,
            spatial_merge_size=tower.spatial_merge_size,
        )
        return {"interp_indices": indices.to(device), "interp_weights": weights.to(device)}
