"""Qwen2-VL and Qwen2.5-VL: native resolution, a 2×2 patch merger, positions in three axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from .base import Adapter, Pixels, Ranking

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.nn import Module

    from ..attention import Seen


class QwenVLAdapter(Adapter):
    """Every image is one sequence of the encoder; its patches come in groups of four."""

    model_types: ClassVar[tuple[str, ...]] = ("qwen2_vl", "qwen2_5_vl")
    connector_joins_neighbours: ClassVar[bool] = True
    keeps_positions: ClassVar[bool] = True

    @property
    def tower(self) -> Any:
        """The vision tower, merger included."""
        return self.base.visual

    @property
    def encoder_layers(self) -> tuple[Any, ...]:
        """The tower's blocks."""
        return tuple(self.tower.blocks)

    @property
    def connector(self) -> Any:
        """The patch merger."""
        return self.tower.merger

    @property
    def ranking_attention(self) -> Module:
        """Attention of the last block, which attends over whole images."""
        attention: Module = self.encoder_layers[-1].attn
        return attention

    def image_inputs(self, pixels: Pixels, generator: Generator) -> dict[str, Any]:
        """Return patches in the merger's order, as the processor flattens them."""
        import torch

        vision = self.model.config.vision_config
        grids = [grid for (grid,) in pixels.crops] * pixels.batch
        patches = sum(rows * columns for rows, columns in grids)
        values = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        return {
            "pixel_values": self.random(patches, values, generator=generator),
            # The model reads the grid's values, so it stays on the host.
            "image_grid_thw": torch.tensor([(1, *grid) for grid in grids]),
        }

    def features(self, pixels: Pixels) -> list[Tensor]:
        """Return the merged tokens of each image; patch positions are prepared on the host."""
        prepared = {**pixels.inputs, **self._patch_positions(pixels)}
        return super().features(pixels._replace(inputs=prepared))

    def special_ids(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return <|vision_start|> and <|vision_end|>."""
        config = self.model.config
        return (int(config.vision_start_token_id),), (int(config.vision_end_token_id),)

    def model_inputs(self, pixels: Pixels, ids: Tensor) -> dict[str, Any]:
        """Return the inputs with the kind of each token, which the processor adds."""
        return {**super().model_inputs(pixels, ids), "mm_token_type_ids": self._types(ids)}

    def positions(self, pixels: Pixels, ids: Tensor) -> Tensor:
        """Return the model's own (time, row, column) of each token."""
        positions: Tensor
        positions, _ = self.base.get_rope_index(
            ids, mm_token_type_ids=self._types(ids), image_grid_thw=pixels.inputs["image_grid_thw"]
        )
        return positions

    def rankings(
        self, pixels: Pixels, states: Sequence[Tensor], seen: Sequence[Seen], score: Any
    ) -> Iterator[Ranking]:
        """Yield a ranking per image: scores and keys averaged over the four patches of a token."""
        import torch

        orders = self._orders(pixels)
        images = len(states)
        for image, tokens in enumerate(states):
            scores, keys = [], []
            for call, order in zip(seen[image::images], orders[image::images], strict=True):
                scores.append(_per_token(score(call)[..., None], order)[..., 0])
                keys.append(_per_token(call.key.mean(dim=1), order))
            yield Ranking(tokens, torch.cat(scores), torch.cat(keys))

    def _types(self, ids: Tensor) -> Tensor:
        types: Tensor = ids == self.model.config.image_token_id
        return types.int()

    def _patch_positions(self, pixels: Pixels) -> dict[str, Any]:
        try:
            from transformers.vision_utils import get_vision_position_ids
        except ImportError:  # before transformers 5.23 the tower makes them itself
            return {}
        merge = self.model.config.vision_config.spatial_merge_size
        positions: Tensor = get_vision_position_ids(pixels.inputs["image_grid_thw"], merge)
        return {"position_ids": positions.to(self.model.device)}

    def _orders(self, pixels: Pixels) -> list[Tensor | None]:
        """Return, per image of the batch, how to put its tokens back from windows into order."""
        grids = pixels.inputs["image_grid_thw"]
        if not hasattr(self.tower, "fullatt_block_indexes"):
            return [None] * len(grids)
        return [self._window_order(grid[None]).argsort() for grid in grids]

    def _window_order(self, grid: Tensor) -> Tensor:
        order: Tensor
        try:
            from transformers.vision_utils import get_vision_window_index
        except ImportError:
            order, _ = self.tower.get_window_index(grid)
            return order
        vision = self.model.config.vision_config
        order, _ = get_vision_window_index(
            grid,
            spatial_merge_size=vision.spatial_merge_size,
            window_size=vision.window_size,
            patch_size=vision.patch_size,
        )
        return order


def _per_token(values: Tensor, order: Tensor | None) -> Tensor:
    """Average [1, patches, width] over groups of four; `order` undoes the windows."""
    _, patches, width = values.shape
    groups = values.reshape(1, patches // 4, 4, width).mean(dim=2)
    return groups if order is None else groups[:, order.to(groups.device)]
