"""Towers that go on with fewer patches from some of their layers on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from ..costmodel import InvalidInput
from .activity import precedence
from .adapters import Adapter, Pixels

if TYPE_CHECKING:
    from torch import Tensor

Op = Literal["keep", "merge", "unshuffle", "pool"]


def staged_states(adapter: Adapter, pixels: Pixels, tokens: tuple[int, ...], op: Op) -> Tensor:
    """Return the feature layer's states [batch · crops, n, width], class token first.

    Attention and feed-forward network of layer l run on tokens[l] of a crop, the class token among
    them. "keep" leaves evenly spaced ones, "merge" the means of equal runs, "unshuffle" and "pool"
    the means of squares: no layer of its own makes them.

    Raises:
        InvalidInput: A tower that is no plain sequence of blocks.
    """
    vit: Any = getattr(adapter, "_vit", None)
    if vit is None:
        raise adapter.unable("reduce tokens between the encoder's layers")
    states = vit.embeddings(pixels.inputs["pixel_values"])
    if hasattr(vit, "pre_layrnorm"):
        states = vit.pre_layrnorm(states)
    first = int(adapter.has_class_token)
    layer = int(adapter.model.config.vision_feature_layer)
    contributing = layer if layer >= 0 else len(tokens) + 1 + layer
    feature: Tensor = states
    for index, block in enumerate(adapter.encoder_layers):
        if tokens[index] != states.shape[1]:
            left = _reduced(states[:, first:], tokens[index] - first, op)
            states = _joined(states[:, :first], left)
        attended, _ = block.self_attn(block.layer_norm1(states))
        states = states + attended
        states = states + block.mlp(block.layer_norm2(states))
        if index + 1 == contributing:
            feature = states
    return feature


def _reduced(patches: Tensor, left: int, op: Op) -> Tensor:
    """Return `left` of patches [X, n, c], or means of them."""
    import torch

    count = patches.shape[1]
    if op == "keep":
        ranks = precedence(count)
        return patches[:, [place for place in range(count) if ranks[place] < left]]
    if op == "merge":
        group = torch.tensor([place * left // count for place in range(count)])
        share = torch.nn.functional.one_hot(group, left).to(patches)
        sums = patches.new_zeros(len(patches), left, patches.shape[2])
        index = group.to(patches.device)[None, :, None].expand_as(patches)
        return sums.scatter_add(1, index, patches) / share.sum(dim=0)[:, None]
    side, square = math.isqrt(count), math.isqrt(count // left)
    if side * side != count or side % square or square * square * left != count:
        problem = f"leaves {left:,} of {count:,} patches, which no squares make here"
        raise InvalidInput("encoder.op", op, problem, "give op keep or merge")
    sides = side // square
    grid = patches.reshape(len(patches), sides, square, sides, square, -1)
    return grid.mean(dim=(2, 4)).flatten(1, 2)


def _joined(first: Tensor, behind: Tensor) -> Tensor:
    import torch

    return torch.cat([first, behind], dim=1) if first.shape[1] else behind
