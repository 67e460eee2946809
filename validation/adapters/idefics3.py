"""Idefics3 and SmolVLM: tiles and the whole image, pixel shuffle, one linear layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ...costmodel import InvalidInput
from ...costmodel.tokens.base import Size
from ...costmodel.tokens.grids import longest_edge_grid
from .base import Pixels, Ranking
from .crops import CropAdapter, rankings_of_squares

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from ..attention import Seen

#: An id of the text around frames.
_TEXT = 0


class Idefics3Adapter(CropAdapter):
    """Vocabulary tokens stand before each tile and behind each row of tiles."""

    model_types: ClassVar[tuple[str, ...]] = ("idefics3", "smolvlm")
    connector_joins_neighbours: ClassVar[bool] = True
    takes_videos: ClassVar[bool] = True

    @property
    def decoder(self) -> Any:
        """The language model without its head."""
        return self.base.text_model

    @property
    def tower(self) -> Any:
        """The vision tower."""
        return self.base.vision_model

    @property
    def connector(self) -> Any:
        """Pixel shuffle and linear layer."""
        return self.base.connector

    def image_inputs(self, pixels: Pixels, generator: Generator) -> dict[str, Any]:
        """Return the tiles of each request."""
        tiles = super().image_inputs(pixels, generator)["pixel_values"]
        return {"pixel_values": tiles.unflatten(0, (pixels.batch, pixels.crop_count))}

    def video_inputs(self, pixels: Pixels, generator: Generator) -> dict[str, Any]:
        """Return frames, which the model takes for tiles."""
        return self.image_inputs(pixels, generator)

    def features(self, pixels: Pixels) -> list[Tensor]:
        """Return the tiles' tokens, joined per image.

        The tower is run by its parts: its own forward pass looks for tiles of zeros and for
        padding, of which there is none.
        """
        import torch

        values = pixels.inputs["pixel_values"].flatten(0, 1)
        patch = self.tower.patch_size
        rows, columns = (side // patch for side in values.shape[-2:])
        everywhere = torch.ones(len(values), rows, columns, dtype=torch.bool, device=values.device)
        embedded = self.tower.embeddings(pixel_values=values, patch_attention_mask=everywhere)
        encoded = self.tower.encoder(inputs_embeds=embedded, attention_mask=None)
        states = self.tower.post_layernorm(encoded.last_hidden_state)
        return self.per_image(self.connector(states), pixels)

    def special_ids(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return <fake_token_around_image> and <row_i_col_j>, newline and <global-img>.

        The config names none of them; one id stands for all rows and columns.
        """
        fake, tile, newline, whole = (self.placeholder - off for off in (1, 2, 3, 4))
        return (fake, tile), (newline, whole)

    def image_ids(self, pixels: Pixels, image: int, tokens: int) -> list[int]:
        """Return the tiles row by row, then the whole image; of a video, frame by frame.

        SmolVLM's processor tells the length of a video in about 32 tokens, and of each frame, which
        it does not cut into tiles, the time in about 10. One id stands for all of the text.
        """
        (fake, tile), (newline, whole) = self.special_ids()
        crops = len(pixels.crops[image])
        visual = [self.placeholder] * (tokens // crops)
        if pixels.clip is not None:
            return [_TEXT] * 32 + ([_TEXT] * 10 + [fake, whole, *visual, fake]) * crops
        ids: list[int] = []
        if crops > 1:
            rows, columns = self._grid(pixels.images[image], crops - 1)
            ids = ([fake, tile, *visual] * columns + [newline]) * rows
        return [*ids, fake, whole, *visual, fake]

    def rankings(
        self, pixels: Pixels, states: Sequence[Tensor], seen: Sequence[Seen], score: Any
    ) -> Iterator[Ranking]:
        """Yield a ranking per image: scores and keys averaged over the patches of a token."""
        (call,) = seen
        side = self.connector.scale_factor
        yield from rankings_of_squares(pixels, states, score(call), call.key.mean(dim=1), side)

    def _grid(self, image: Size, tiles: int) -> Size:
        """Return the rows and columns of an image that is cut into so many tiles.

        The longest edge has the least whole number of tiles that makes as many.
        """
        side = int(self.model.config.vision_config.image_size)
        for along in range(1, tiles + 1):
            rows, columns = longest_edge_grid(image, side, along * side)
            if rows * columns == tiles:
                return rows, columns
        raise InvalidInput(
            "crops", tiles + 1, f"does not fit an image of {image[0]}x{image[1]}", "give its tiles"
        )
