"""What the families have in common whose encoder sees crops of one size, each on its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .base import Adapter, Pixels, Ranking

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.nn import Module


class CropAdapter(Adapter):
    """Crops of one size, each a sequence of a tower like CLIP's or SigLIP's."""

    @property
    def tower(self) -> Any:
        """The vision tower."""
        return self.base.vision_tower

    @property
    def encoder_layers(self) -> tuple[Any, ...]:
        """The tower's blocks."""
        return tuple(self._vit.encoder.layers)

    @property
    def connector(self) -> Any:
        """The MLP."""
        return self.base.multi_modal_projector

    @property
    def has_class_token(self) -> bool:  # type: ignore[override]
        """CLIP has a class token, SigLIP has none."""
        return hasattr(self._vit.embeddings, "class_embedding")

    @property
    def ranking_attention(self) -> Module:
        """Attention of the last block."""
        attention: Module = self.encoder_layers[-1].self_attn
        return attention

    def image_inputs(self, pixels: Pixels, generator: Generator) -> dict[str, Any]:
        """Return all crops of all requests as one batch of the encoder."""
        vision = self.model.config.vision_config
        side = vision.image_size
        height, width = (side, side) if isinstance(side, int) else side
        shape = (pixels.batch * pixels.crop_count, vision.num_channels, height, width)
        return {"pixel_values": self.random(*shape, generator=generator)}

    @property
    def _vit(self) -> Any:
        # Releases before 5.23 put CLIP and SigLIP one level deeper.
        return getattr(self.tower, "vision_model", self.tower)


def rankings_of_crops(
    pixels: Pixels, states: Sequence[Tensor], scores: Tensor, keys: Tensor
) -> Iterator[Ranking]:
    """Yield a ranking per image, its crops one by one.

    Args:
        pixels: The images.
        states: Tokens of each image, [batch, M_i, width].
        scores: Score of each token of all crops, [batch · crops, n].
        keys: Likewise keys, [batch · crops, n, d_h].
    """
    import torch

    images = [len(crops) for crops in pixels.crops]
    by_request = [
        torch.split(values.reshape(pixels.batch, sum(images), *values.shape[1:]), images, dim=1)
        for values in (scores, keys)
    ]
    for tokens, score_part, key_part in zip(states, *by_request, strict=True):
        # Crops are ranked one by one: they become the leading axis.
        yield Ranking(
            tokens.reshape(-1, scores.shape[1], tokens.shape[-1]),
            score_part.flatten(0, 1),
            key_part.flatten(0, 1),
        )


def rankings_of_squares(
    pixels: Pixels, states: Sequence[Tensor], scores: Tensor, keys: Tensor, side: int
) -> Iterator[Ranking]:
    """Yield the same where a token has side × side patches: their mean scores and keys."""
    means = _square_means(scores[..., None], side)[..., 0]
    yield from rankings_of_crops(pixels, states, means, _square_means(keys, side))


def _square_means(values: Tensor, side: int) -> Tensor:
    """Average [X, patches, width] over squares of side × side patches of a square grid."""
    crops, patches, width = values.shape
    along = round(patches**0.5) // side
    squares = values.reshape(crops, along, side, along, side, width)
    return squares.mean(dim=(2, 4)).reshape(crops, along**2, width)
