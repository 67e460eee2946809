"""Qwen3-VL: features of inner encoder layers join the visual tokens behind the first LLM layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from .base import Pixels
from .qwen_vl import QwenVLAdapter

if TYPE_CHECKING:
    from torch import Tensor

#: An id of the text around frames.
_TEXT = 0


class Qwen3VLAdapter(QwenVLAdapter):
    """Dense or with experts; each tapped encoder layer has a merger of its own (DeepStack)."""

    model_types: ClassVar[tuple[str, ...]] = ("qwen3_vl", "qwen3_vl_moe")

    @property
    def connector_parts(self) -> tuple[Any, ...]:
        """The patch merger and those of the tapped layers."""
        return (self.connector, *self.tower.deepstack_merger_list)

    def image_ids(self, pixels: Pixels, image: int, tokens: int) -> list[int]:
        """Return an image's tokens; of a video, pair by pair, a timestamp before each.

        The timestamp "<12.2 seconds>" has the tokens "<", ".", "2", " seconds", ">" and one for
        each digit of the whole seconds; frames are half a second apart, pairs a second. The chat
        template's own start and end stand around all. One id stands for all of the text.
        """
        if pixels.clip is None:
            return super().image_ids(pixels, image, tokens)
        (start,), (end,) = self.special_ids()
        pairs = len(pixels.crops[image])
        video = [int(self.model.config.video_token_id)] * (tokens // pairs)
        ids = [start]
        for second in range(pairs):
            ids += [_TEXT] * (5 + len(str(second))) + [start, *video, end]
        return [*ids, end]

    def _layers(self, pixels: Pixels) -> list[Sequence[Tensor]]:
        """Return the merged tokens of each image, then those of the tapped layers."""
        output = self._run(pixels, {**self._patch_positions(pixels), **self._interpolation(pixels)})
        return [output.pooler_output, *output.deepstack_features]

    def _interpolation(self, pixels: Pixels) -> dict[str, Any]:
        """Return where each patch lies in the table of positions, prepared on the host."""
        from transformers.vision_utils import get_vision_interpolation_indices_and_weights

        tower, device = self.tower, self.model.device
        indices, weights = get_vision_interpolation_indices_and_weights(
            self._grids(pixels),
            num_grid_per_side=tower.num_grid_per_side,
            mode=tower.interpolation_mode,
            align_corners=tower.interpolation_align_corners,
            spatial_merge_size=tower.spatial_merge_size,
        )
        return {"interp_indices": indices.to(device), "interp_weights": weights.to(device)}
