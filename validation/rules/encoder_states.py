"""States of encoder layers, for projectors that take the connector's place or stand before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ...costmodel import InvalidInput
from ..adapters import Adapter, Pixels
from ..adapters.internvl import InternVLAdapter
from ..prompt import Visual
from ..reducers.squares import parted
from .base import split
from .grids import number

if TYPE_CHECKING:
    from torch import Tensor


class EncoderStates(NamedTuple):
    """What the tower made of every crop.

    Attributes:
        patches: States of the layers that were asked for, the feature layer's last, side by side,
            [batch · crops, rows, columns, layers · d_e].
        class_token: The feature layer's, [batch · crops, d_e]; None without one.
    """

    patches: Tensor
    class_token: Tensor | None


def encoder_states(
    adapter: Adapter,
    pixels: Pixels,
    run: Callable[[], Tensor],
    layers: Sequence[int] = (),
    of_blocks: int = 0,
) -> EncoderStates:
    """Run the tower and return its states as grids.

    Args:
        adapter: The family.
        pixels: The images.
        run: Runs the tower and returns the feature layer's states, class token first.
        layers: Further layers, by the blocks behind which they lie in a tower of `of_blocks`; in
            another tower at the same share of its depth, rounded down, behind the first at least.
        of_blocks: Blocks of the tower that `layers` are published for.

    Raises:
        InvalidInput: A family whose crops differ, or whose tower cannot run by itself.
    """
    import torch

    if adapter.crosses:
        raise adapter.unable("take the states of the encoder as grids of patches")
    blocks = adapter.encoder_layers
    wanted = [max(1, layer * len(blocks) // of_blocks) - 1 for layer in layers]
    taken: dict[int, Tensor] = {}
    hooks = [
        blocks[index].register_forward_hook(_keep(taken, index)) for index in dict.fromkeys(wanted)
    ]
    try:
        feature = _feature_states(adapter, pixels, run)
    finally:
        for hook in hooks:
            hook.remove()
    first = int(adapter.has_class_token)
    states = torch.cat([*(taken[index] for index in wanted), feature], dim=-1)[:, first:]
    sizes = {size for crops in pixels.crops for size in crops}
    if len(sizes) > 1 or states.shape[1] != math.prod(*sizes):
        raise adapter.unable("take the states of the encoder as grids of patches")
    class_token = feature[:, 0] if first else None
    return EncoderStates(parted(states, 1, *next(iter(sizes))), class_token)


def square_of(name: str, pixels: Pixels, count: int) -> int:
    """Return the side of the square of patches that becomes each of `count` tokens of a request.

    Args:
        name: The method's.
        pixels: The images, whose crops are of one size.
        count: Tokens of one request, over all its crops.

    Raises:
        InvalidInput: No square leaves so many tokens.
    """
    rows, columns = pixels.crops[0][0]
    for side in range(1, min(rows, columns) + 1):
        fits = not rows % side and not columns % side
        if fits and rows * columns * pixels.crop_count == count * side**2:
            return side
    raise unfit(name, pixels, count)


def unfit(name: str, pixels: Pixels, count: int) -> InvalidInput:
    """Return the error for a number of tokens that a projector does not make."""
    rows, columns = pixels.crops[0][0]
    return InvalidInput(
        "compress.tokens",
        count,
        f"is not what {name} makes of {number(pixels.crop_count, 'crop')} of {rows}×{columns} "
        "patches, one token of each square",
        "give another --budget, or choose a model with another grid",
    )


def visual_of_crops(pixels: Pixels, tokens: Tensor) -> Visual:
    """Return tokens [batch · crops, n, width] as those of each image; others never existed."""
    joined = tokens.reshape(pixels.batch, -1, tokens.shape[-1])
    sizes = [len(crops) * tokens.shape[1] for crops in pixels.crops]
    return Visual(split(joined, sizes), sizes)


def _keep(taken: dict[int, Tensor], index: int) -> Callable[[Any, Any, Any], None]:
    def keep(_: Any, __: Any, output: Any) -> None:
        taken[index] = output[0] if isinstance(output, tuple) else output

    return keep


def _feature_states(adapter: Adapter, pixels: Pixels, run: Callable[[], Tensor]) -> Tensor:
    """Run the tower alone; also where nothing can stand before the connector."""
    if not isinstance(adapter, InternVLAdapter):
        return run()
    output = adapter.tower(pixels.inputs["pixel_values"], output_hidden_states=True)
    layer = adapter.model.config.vision_feature_layer
    states: Tensor = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
    return states
