"""Models and images so small that the whole suite runs on a laptop's CPU."""

from __future__ import annotations

import math
from typing import Any

from ...costmodel import InvalidInput, Model
from ...costmodel.tokens.anyres import AnyresRule
from ...costmodel.tokens.base import Size
from ...costmodel.tokens.fixed import FixedRule
from ...costmodel.tokens.native import NativeRule
from ...costmodel.tokens.tiles import TilesRule
from ..reduced import reduced, resized, scaled_parameters

#: Patches along a crop: full towers have 24 to 32.
SMALL_SIDE = 8
#: 8 × 8 = 64 visual tokens of Qwen-VL, in four windows where there are windows.
SMALL_NATIVE_IMAGE: Size = (224, 224)


def small(model: Model, side: int = SMALL_SIDE) -> Model:
    """Return the reduced model with small crops; native resolution takes small images.

    Layers, token rule and grids of crops stay, only that each crop has fewer patches: side × side,
    or as many more as the connector joins.
    """
    few = reduced(model)
    rule, vision = few.token_rule, few.vision
    if isinstance(rule, NativeRule):
        return few
    if not isinstance(rule, FixedRule | AnyresRule | TilesRule):
        raise InvalidInput(
            "token_rule.kind", rule.kind, "has no small form", "measure the model at full size"
        )
    patch, merge = vision.patch_embedding.patch_size, few.connector.merge_size
    side = math.ceil(side / merge) * merge
    size = side * patch
    full = _crop_size(rule)
    changes: dict[str, Any] = {"default_image": _scaled(rule.default_image, full, size)}
    if isinstance(rule, FixedRule):
        changes["image_size"] = size
    elif isinstance(rule, TilesRule):
        changes["tile_size"] = size
        if rule.longest_edge is not None:
            changes["longest_edge"] = rule.longest_edge * size // full
    else:
        changes["crop_size"] = size
        changes["resolutions"] = tuple(_scaled(one, full, size) for one in rule.resolutions)
    positions = vision.position_embeddings - (full // patch) ** 2 + side**2
    return resized(
        few,
        id=f"{few.id}, crops of {side} × {side} patches",
        token_rule=resized(rule, **changes),
        vision=resized(
            vision,
            position_embeddings=positions,
            extra_parameters=scaled_parameters(vision, vision.position_embeddings, positions),
        ),
    )


def _crop_size(rule: FixedRule | AnyresRule | TilesRule) -> int:
    if isinstance(rule, FixedRule):
        return rule.image_size
    return rule.tile_size if isinstance(rule, TilesRule) else rule.crop_size


def _scaled(sides: tuple[int, int], full: int, size: int) -> Size:
    return sides[0] * size // full, sides[1] * size // full
