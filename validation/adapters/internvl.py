"""InternVL: tiles of one size; pixel shuffle joins 2×2 neighbours before the MLP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from .base import Pixels, Ranking
from .crops import CropAdapter, rankings_of_crops

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.nn import Module

    from ..attention import Seen

#: An id of the text around frames.
_TEXT = 0


class InternVLAdapter(CropAdapter):
    """Its class token ranks patches, but does not pass the connector."""

    model_types: ClassVar[tuple[str, ...]] = ("internvl",)
    connector_joins_neighbours: ClassVar[bool] = True
    has_class_token: ClassVar[bool] = True
    takes_videos: ClassVar[bool] = True

    @property
    def encoder_layers(self) -> tuple[Any, ...]:
        """The tower's blocks."""
        return tuple(self.tower.encoder.layer)

    @property
    def ranking_attention(self) -> Module:
        """Attention of the last block."""
        attention: Module = self.encoder_layers[-1].attention
        return attention

    def video_inputs(self, pixels: Pixels, generator: Generator) -> dict[str, Any]:
        """Return frames, which the model takes for tiles."""
        return self.image_inputs(pixels, generator)

    def image_ids(self, pixels: Pixels, image: int, tokens: int) -> list[int]:
        """Return an image's tokens; of a video, frame by frame, with its number before it.

        "Frame12: " has the tokens "Frame", ":", " " and one for each digit; a newline stands
        between frames. One id stands for all of the text.
        """
        if pixels.clip is None:
            return super().image_ids(pixels, image, tokens)
        frames = pixels.clip.frames
        own = super().image_ids(pixels, image, tokens // frames)
        ids: list[int] = []
        for number in range(1, frames + 1):
            newline = [_TEXT] if number > 1 else []
            ids += [*newline, *[_TEXT] * (3 + len(str(number))), *own]
        return ids

    def features(self, pixels: Pixels) -> list[Tensor]:
        """Return the tiles' tokens, joined per image."""
        tiles = self.base.get_image_features(**pixels.inputs, return_dict=True).pooler_output
        return self.per_image(tiles, pixels)

    def special_ids(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return ids for <img> and </img>; the config names the placeholder alone."""
        return (self.placeholder - 2,), (self.placeholder - 1,)

    def rankings(
        self, pixels: Pixels, states: Sequence[Tensor], seen: Sequence[Seen], score: Any
    ) -> Iterator[Ranking]:
        """Yield a ranking per image: scores and keys averaged over the four patches of a token."""
        (call,) = seen
        scores = self._per_token(score(call)[:, 1:, None])[..., 0]
        keys = self._per_token(call.key.mean(dim=1)[:, 1:])
        yield from rankings_of_crops(pixels, states, scores, keys)

    def _per_token(self, values: Tensor) -> Tensor:
        """Average [X, patches, width] over the patches of each connector token."""
        crops, patches, width = values.shape
        side = round(patches**0.5)
        grid = values.reshape(crops, side, side, width)
        shuffled: Tensor = self.base.pixel_shuffle(grid, self.model.config.downsample_ratio)
        return shuffled.reshape(crops, -1, shuffled.shape[-1] // width, width).mean(dim=2)
