"""What the connector makes of each crop, as a grid, and pooled grids as visual tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...costmodel import InvalidInput
from ...costmodel.tokens.base import Size
from ..adapters import Adapter, Pixels
from ..prompt import Visual
from ..reducers.squares import parted

if TYPE_CHECKING:
    from torch import Tensor


class ImageGrids(NamedTuple):
    """The tokens of one image's crops.

    Attributes:
        crops: [batch, crops, rows, columns, width].
        dense: Tokens that the model itself makes of the image, separators included.
    """

    crops: Tensor
    dense: int


def connector_grids(
    adapter: Adapter, pixels: Pixels, run: Callable[[], list[Tensor]]
) -> list[ImageGrids]:
    """Return what the connector made of each image's crops, before any separators.

    Args:
        adapter: The family.
        pixels: The images.
        run: Runs encoder and connector and returns the visual tokens of each image.

    Raises:
        InvalidInput: A family whose tokens are no grids.
    """
    made: list[Tensor] = []
    hook = adapter.connector.register_forward_hook(lambda _, __, output: made.append(output))
    try:
        features = run()
    finally:
        hook.remove()
    found: list[ImageGrids] = []
    first = 0
    for image, (feature, patches) in enumerate(zip(features, pixels.crops, strict=True)):
        tokens, rest = divmod(feature.shape[1], len(patches))
        shape = None if rest or adapter.crosses else _grid(patches, tokens)
        if shape is None:  # separators stand among them: the connector's own output has none
            (crops,) = made if len(made) == 1 else (feature,)
            count = crops.shape[1] if crops.dim() == 3 else 0
            shape = _grid(patches, count)
            if adapter.crosses or shape is None or len(crops) != pixels.batch * pixels.crop_count:
                raise _no_grid(adapter, image)
            here = parted(crops, 0, pixels.batch, -1)[:, first : first + len(patches)]
        else:
            here = parted(feature, 1, len(patches), -1)
        found.append(ImageGrids(parted(here, 2, *shape), feature.shape[1]))
        first += len(patches)
    return found


def side_of(name: str, adapter: Adapter, pixels: Pixels, count: int) -> int:
    """Return the side of the square of tokens that each crop becomes.

    Raises:
        InvalidInput: `count` is no such square for every crop.
    """
    share, rest = divmod(count, pixels.crop_count)
    side = math.isqrt(share)
    if rest or not share or side**2 != share:
        raise InvalidInput(
            "compress.tokens",
            count,
            f"is no square of tokens for each of {number(pixels.crop_count, 'crop')}, "
            f"which {name} pools on {adapter.model.config.model_type}",
            "give the number of crops times 1, 4, 9, 16 …",
        )
    return side


def number(count: int, what: str) -> str:
    """Return a count with its noun.

    >>> number(1, "crop"), number(2, "crop")
    ('1 crop', '2 crops')
    """
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def visual_of(grids: Sequence[ImageGrids], tokens: Sequence[Tensor], side: int) -> Visual:
    """Return pooled tokens, each at the place of the middle of its cell.

    Args:
        grids: The images' grids.
        tokens: Per image, [batch, crops · side², width].
        side: Rows and columns that each crop was pooled to.
    """
    import torch

    sources = []
    for grid, own in zip(grids, tokens, strict=True):
        crops, rows, columns = grid.crops.shape[1:4]
        down, across = _middles(rows, side), _middles(columns, side)
        places = [
            (crop * rows + row) * columns + column
            for crop in range(crops)
            for row in down
            for column in across
        ]
        # Where separators stand between them, the places are those of as many tokens without.
        index = torch.tensor(places, device=own.device)
        sources.append(index.clamp(max=grid.dense - 1).expand(len(own), -1))
    return Visual(list(tokens), [grid.dense for grid in grids], sources)


def _middles(length: int, cells: int) -> list[int]:
    """Return the middle of each cell ⌊i·length/cells⌋ … ⌈(i + 1)·length/cells⌉ − 1."""
    return [(i * length // cells + -(-(i + 1) * length // cells) - 1) // 2 for i in range(cells)]


def _grid(patches: Sequence[Size], tokens: int) -> Size | None:
    """Return the grid of tokens of equal crops, each token a square of patches; None for none."""
    rows, columns = patches[0]
    if tokens < 1 or any(other != patches[0] for other in patches):
        return None
    step = math.isqrt(rows * columns // tokens)
    if step < 1 or rows % step or columns % step or rows * columns != tokens * step**2:
        return None
    return rows // step, columns // step


def _no_grid(adapter: Adapter, image: int) -> InvalidInput:
    return InvalidInput(
        "schedule",
        None,
        f"cannot be run on {adapter.model.config.model_type}: the tokens of image {image + 1} "
        "are no grid, which the method pools",
        "choose a method that keeps or merges single tokens",
    )
