"""Llama-3.2-Vision: visual tokens are keys of cross-attention; tiles attend to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ...costmodel.tokens.base import Size
from ...costmodel.tokens.grids import canvas_grid
from ..masks import additive
from .base import Adapter, Pixels

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.nn import Module

    from ..sequence import Tokens


class MllamaAdapter(Adapter):
    """An image always fills the most tiles; class tokens are keys too."""

    model_types: ClassVar[tuple[str, ...]] = ("mllama",)
    obstacle: ClassVar[str] = "all tiles of an image attend to each other in its encoder"
    crosses: ClassVar[bool] = True

    @property
    def tower(self) -> Any:
        """The vision tower."""
        return self.base.vision_model

    @property
    def encoder_layers(self) -> tuple[Any, ...]:
        """The tower's blocks, the global ones behind the others."""
        return (*self.tower.transformer.layers, *self.tower.global_transformer.layers)

    @property
    def connector(self) -> Any:
        """The linear layer."""
        return self.base.multi_modal_projector

    @property
    def ranking_attention(self) -> Module:
        """Attention of the last block."""
        attention: Module = self.encoder_layers[-1].self_attn
        return attention

    def image_inputs(self, pixels: Pixels, generator: Generator) -> dict[str, Any]:
        """Return the tiles, padding ones black, with the images' aspect ratios."""
        import torch

        vision = self.model.config.vision_config
        images, most, side = len(pixels.images), vision.max_num_tiles, vision.image_size
        ratios = [tuple(ratio) for ratio in vision.supported_aspect_ratios]
        shape = (pixels.batch, images, most, vision.num_channels, side, side)
        used = torch.zeros(images, most, dtype=torch.int64)
        ids = torch.zeros(images, dtype=torch.int64)
        for image, size in enumerate(pixels.images):
            grid = self._grid(size)
            used[image, : grid[0] * grid[1]] = 1
            ids[image] = ratios.index(grid) + 1
        values = self.random(*shape, generator=generator)
        shown = used[:, :, None, None, None].to(values.device, values.dtype)
        return {
            "pixel_values": values * shown,
            "aspect_ratio_ids": ids.expand(pixels.batch, -1),
            "aspect_ratio_mask": used.expand(pixels.batch, -1, -1),
        }

    def features(self, pixels: Pixels) -> list[Tensor]:
        """Return the keys of each image, padding tiles and class tokens included."""
        return self.per_image(self.connector(self.tower_states(pixels)), pixels)

    def tower_states(self, pixels: Pixels) -> Tensor:
        """Return each tile's tokens, the states of several layers side by side.

        The tower is run by its parts: it makes its mask by a matrix product, which is no part of
        a model's cost.
        """
        import torch

        tower, device = self.tower, self.model.device
        ids = pixels.inputs["aspect_ratio_ids"].reshape(-1, 1).to(device)
        tiles = pixels.inputs["pixel_values"].flatten(0, 2)
        images, count = len(ids), len(tiles) // len(ids)
        states = tower.patch_embedding(tiles).flatten(2).transpose(1, 2)
        width = states.shape[-1]
        states = tower.pre_tile_positional_embedding(states.unflatten(0, (images, count)), ids)
        states = tower.apply_class_embedding(states.flatten(0, 1)).unflatten(0, (images, count))
        states = tower.layernorm_pre(tower.gated_positional_embedding(states, ids))
        length = states.shape[2]
        padding = -length % 8
        states = torch.nn.functional.pad(states, (0, 0, 0, padding)).flatten(1, 2)
        mask = additive(self._tiles_joined(pixels, length, padding).to(device), states.dtype)
        local = tower.transformer(states, attention_mask=mask)
        states = tower.layernorm_post(local.last_hidden_state)
        states = tower.post_tile_positional_embedding(
            states.unflatten(1, (count, length + padding)), ids
        ).flatten(1, 2)
        last = tower.global_transformer(states, attention_mask=mask).last_hidden_state
        inner = [local.hidden_states[layer] for layer in tower.intermediate_layers_indices]
        # Each feature's values of all inner layers stand together, as the connector expects them.
        joined = torch.cat([last, torch.stack(inner, dim=-1).flatten(-2)], dim=-1)
        layers = 1 + len(inner)
        return joined.reshape(images * count, length + padding, layers * width)[:, :length]

    def connect(self, states: Tensor) -> Tensor:
        """Return the linear layer's output."""
        connected: Tensor = self.connector(states)
        return connected

    def image_ids(self, pixels: Pixels, image: int, tokens: int) -> list[int]:
        """Return <|image|>, which stands in the text for all of an image's keys."""
        return [self.placeholder]

    def model_inputs(self, pixels: Pixels, ids: Tensor) -> dict[str, Any]:
        """Return the inputs with the tiles that each token may look at."""
        inputs = super().model_inputs(pixels, ids)
        return {**inputs, "cross_attention_mask": self._tiles_seen(pixels, ids).long()}

    def visible_keys(self, pixels: Pixels, ids: Tensor) -> Tensor:
        """Return the keys of images that are not later in the text, without padding tiles."""
        seen = self._tiles_seen(pixels, ids)
        return seen.repeat_interleave(self.tower.num_patches, dim=3).flatten(2)

    def layer_inputs(self, layer: int, tokens: Tokens) -> dict[str, Any]:
        """Return the keys and their masks."""
        keys = tokens.keys
        if not self._is_cross(layer) or keys is None:
            return {}
        return {"cross_attention_states": keys.states, **self._masks(keys.visible, tokens.states)}

    def decode_inputs(self, layer: int, tokens: Tokens) -> dict[str, Any]:
        """Return the last token's masks; the keys are in the cache."""
        keys = tokens.keys
        if not self._is_cross(layer) or keys is None:
            return {}
        return {
            "cross_attention_states": None,
            **self._masks(keys.visible[:, -1:], tokens.states),
        }

    def _is_cross(self, layer: int) -> bool:
        return layer in self.decoder.cross_attention_layers

    def _masks(self, visible: Tensor, like: Tensor) -> dict[str, Any]:
        """Return the mask of cross-attention, and which tokens it leaves anything to look at.

        A token that sees no key is handed all of them, and its feed-forward network is left out.
        """
        sees = visible.any(dim=-1, keepdim=True)
        return {
            "cross_attention_mask": additive(visible | ~sees, like.dtype)[:, None],
            "full_text_row_masked_out_mask": sees[:, None].to(like.dtype),
        }

    def _tiles_seen(self, pixels: Pixels, ids: Tensor) -> Tensor:
        """Return which tiles a token may look at, [batch, n, images, tiles], on the host.

        Those of images at or before it: here images stand together, and see nothing between.
        """
        import torch

        places = torch.where(ids[0] == self.placeholder)[0]
        behind = torch.arange(ids.shape[1])[:, None] >= places
        used = pixels.inputs["aspect_ratio_mask"].cpu().bool()
        seen: Tensor = behind[None, :, :, None] & used[:, None]
        return seen

    def _tiles_joined(self, pixels: Pixels, length: int, padding: int) -> Tensor:
        """Return what the encoder's tokens look at: padding not at padding, all else at all."""
        used = pixels.inputs["aspect_ratio_mask"].cpu().flatten(0, 1).bool()
        empty = (~used)[:, :, None].repeat(1, 1, length + padding)
        empty[:, :, length:] = True
        empty = empty.flatten(1)
        joined: Tensor = ~(empty[:, :, None] & empty[:, None, :])
        return joined[:, None]

    def _grid(self, image: Size) -> Size:
        vision = self.model.config.vision_config
        return canvas_grid(image, int(vision.image_size), int(vision.max_num_tiles))
