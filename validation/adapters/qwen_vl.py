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
    takes_videos: ClassVar[bool] = True

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
        patches, grids = self._patches(pixels, generator)
        return {"pixel_values": patches, "image_grid_thw": grids}

    def video_inputs(self, pixels: Pixels, generator: Generator) -> dict[str, Any]:
        """Return the patches of pairs of frames, pair by pair."""
        patches, grids = self._patches(pixels, generator)
        return {"pixel_values_videos": patches, "video_grid_thw": grids}

    def features(self, pixels: Pixels) -> list[Tensor]:
        """Return the merged tokens of each image; patch positions are prepared on the host."""
        import torch

        layers = self._layers(pixels)
        parts = [torch.cat(tokens, dim=-1) for tokens in zip(*layers, strict=True)]
        images = len(pixels.images)
        return [torch.stack(parts[image::images]) for image in range(images)]

    @property
    def placeholders(self) -> frozenset[int]:
        """<|image_pad|> and <|video_pad|>."""
        config = self.model.config
        return frozenset((int(config.image_token_id), int(config.video_token_id)))

    def image_ids(self, pixels: Pixels, image: int, tokens: int) -> list[int]:
        """Return the tokens of an image, or of all frames, between start and end."""
        ids = super().image_ids(pixels, image, tokens)
        if pixels.clip is None:
            return ids
        video = int(self.model.config.video_token_id)
        return [video if one == self.placeholder else one for one in ids]

    def special_ids(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return <|vision_start|> and <|vision_end|>."""
        config = self.model.config
        return (int(config.vision_start_token_id),), (int(config.vision_end_token_id),)

    def model_inputs(self, pixels: Pixels, ids: Tensor) -> dict[str, Any]:
        """Return the inputs with the kind of each token, which the processor adds."""
        return {**super().model_inputs(pixels, ids), "mm_token_type_ids": self._types(ids)}

    def _patches(self, pixels: Pixels, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return random patches and the grids (times, rows, columns) that they fill.

        The model reads the grids' values, so they stay on the host.
        """
        import torch

        vision = self.model.config.vision_config
        grids = [(len(crops), *crops[0]) for crops in pixels.crops] * pixels.batch
        patches = sum(times * rows * columns for times, rows, columns in grids)
        values = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        return self.random(patches, values, generator=generator), torch.tensor(grids)

    def _layers(self, pixels: Pixels) -> list[Sequence[Tensor]]:
        """Return, per feature that a token has, the tokens [M_i, hidden_size] of each image."""
        return [self._run(pixels, self._patch_positions(pixels)).pooler_output]

    def _run(self, pixels: Pixels, prepared: dict[str, Any]) -> Any:
        """Run encoder and mergers on the images, or on the frames."""
        run = self.base.get_image_features
        if pixels.clip is not None:
            run = self.base.get_video_features
        return run(**pixels.inputs, **prepared, return_dict=True)

    def positions(self, pixels: Pixels, ids: Tensor) -> Tensor:
        """Return the model's own (time, row, column) of each token."""
        positions: Tensor
        kind = "image" if pixels.clip is None else "video"
        grids = {f"{kind}_grid_thw": self._grids(pixels)}
        positions, _ = self.base.get_rope_index(ids, mm_token_type_ids=self._types(ids), **grids)
        return positions

    def rankings(
        self, pixels: Pixels, states: Sequence[Tensor], seen: Sequence[Seen], score: Any
    ) -> Iterator[Ranking]:
        """Yield a ranking per image: scores and keys averaged over the four patches of a token.

        Pairs of frames are ranked one by one, for each attends to itself alone.
        """
        import torch

        orders = self._orders(pixels)
        # The calls go request by request, in each image by image, in a video pair by pair.
        rounds = pixels.crop_count
        done = 0
        for tokens, crops in zip(states, pixels.crops, strict=True):
            scores, keys = [], []
            for request in range(pixels.batch):
                first = request * rounds + done
                for at in range(first, first + len(crops)):
                    scores.append(_per_token(score(seen[at])[..., None], orders[at])[..., 0])
                    keys.append(_per_token(seen[at].key.mean(dim=1), orders[at]))
            done += len(crops)
            ranked = tokens.reshape(len(scores), -1, tokens.shape[-1])
            yield Ranking(ranked, torch.cat(scores), torch.cat(keys))

    def _types(self, ids: Tensor) -> Tensor:
        """Return the kind of each token: 0 text, 1 image, 2 video."""
        config = self.model.config
        types: Tensor = (ids == config.image_token_id) + 2 * (ids == config.video_token_id)
        return types.int()

    def _grids(self, pixels: Pixels) -> Tensor:
        """Return (times, rows, columns) of each image or video of the batch, on the host."""
        grids: Tensor = pixels.inputs["image_grid_thw" if pixels.clip is None else "video_grid_thw"]
        return grids

    def _patch_positions(self, pixels: Pixels) -> dict[str, Any]:
        try:
            from transformers.vision_utils import get_vision_position_ids
        except ImportError:  # before transformers 5.23 the tower makes them itself
            return {}
        merge = self.model.config.vision_config.spatial_merge_size
        positions: Tensor = get_vision_position_ids(self._grids(pixels), merge)
        return {"position_ids": positions.to(self.model.device)}

    def _orders(self, pixels: Pixels) -> list[Tensor | None]:
        """Return, per image or pair of frames, how to put its tokens back from windows in order."""
        import torch

        crops = [crop for of_one in pixels.crops for crop in of_one] * pixels.batch
        if not hasattr(self.tower, "fullatt_block_indexes"):
            return [None] * len(crops)
        return [self._window_order(torch.tensor([(1, *crop)])).argsort() for crop in crops]

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
