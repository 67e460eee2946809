"""Encoders over packed patches: Qwen2-VL to Qwen3-VL, Qwen2.5-Omni's thinker, GLM-4.1V."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ....costmodel.plan import TokenPlan
from ..parts import Parts, tokens_of

if TYPE_CHECKING:
    from torch import Tensor


class QwenVL(Parts):
    """Every image, or pair of frames, is one sequence of the encoder."""

    places: ClassVar[Mapping[str, str]] = {
        "model.visual": "vision",
        "model.visual.merger": "connector",
        "model.language_model": "decoder",
        "lm_head": "head",
    }

    def see(self, plan: TokenPlan) -> int:
        """Run the encoder, its mergers included; what reads the grid's values stays on the host."""
        import torch

        grids = torch.tensor(self.grids(plan))
        pixels = self.empty(int(grids.prod(dim=1).sum()), self.values)
        found = self.model.model.visual(pixels, grid_thw=grids, **self.prepared(grids))
        return tokens_of(found.pooler_output)

    @property
    def values(self) -> int:
        """Values of one patch over the frames that are joined."""
        vision = self.model.config.vision_config
        return int(vision.in_channels * vision.temporal_patch_size * vision.patch_size**2)

    def grids(self, plan: TokenPlan) -> list[tuple[int, int, int]]:
        """Return (pairs of frames, rows, columns) of each image, or of the one video."""
        seen = plan.visual_input
        if not plan.frames:
            return [(1, *grid) for grid in seen.crops]
        (grid,) = set(seen.crops)
        return [(len(seen.crops), *grid)]

    def prepared(self, grids: Tensor) -> dict[str, Any]:
        """Return what the encoder would compute from the grids, moved to its device."""
        from transformers.vision_utils import get_vision_position_ids

        merge = self.model.config.vision_config.spatial_merge_size
        return {"position_ids": get_vision_position_ids(grids, merge).to("meta")}


class Qwen3VL(QwenVL):
    """Qwen3-VL: mergers of inner layers besides (DeepStack); the additions in the LLM are free."""

    places: ClassVar[Mapping[str, str]] = {
        **QwenVL.places,
        "model.visual.deepstack_merger_list": "connector",
    }

    def prepared(self, grids: Tensor) -> dict[str, Any]:
        """Return positions, and how the learned ones are interpolated."""
        from transformers.vision_utils import get_vision_interpolation_indices_and_weights

        visual = self.model.model.visual
        indices, weights = get_vision_interpolation_indices_and_weights(
            grids, visual.num_grid_per_side
        )
        return {
            **super().prepared(grids),
            "interp_indices": indices.to("meta"),
            "interp_weights": weights.to("meta"),
        }


class Glm4v(QwenVL):
    """GLM-4.1V: a convolution joins patches, a gated network follows."""

    places: ClassVar[Mapping[str, str]] = {
        **QwenVL.places,
        "model.visual.downsample": "connector",
    }

    def see(self, plan: TokenPlan) -> int:
        """Run the encoder's own modules; what interpolates positions cannot run on meta."""
        import torch
        from transformers.vision_utils import get_vision_cu_seqlens

        visual, vision = self.model.model.visual, self.model.config.vision_config
        # the model makes every pair of frames an image of its own
        grids = torch.tensor([(1, *grid) for grid in plan.visual_input.crops])
        states = visual.patch_embed(self.empty(int(grids.prod(dim=1).sum()), self.values))
        states = visual.post_conv_layernorm(states)
        tables = visual.rotary_pos_emb(states, **self.prepared(grids))
        for block in visual.blocks:
            states = block(
                states, cu_seqlens=get_vision_cu_seqlens(grids), position_embeddings=tables
            )
        merge = vision.spatial_merge_size
        squares = visual.post_layernorm(states).view(-1, merge, merge, states.shape[-1])
        joined = visual.downsample(squares.permute(0, 3, 1, 2))
        return tokens_of(visual.merger(joined.view(-1, vision.out_hidden_size)))
