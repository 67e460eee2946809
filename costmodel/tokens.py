"""Visual-token rules: from an image's size to the tokens of encoder, connector and LLM.

Each rule is the preprocessing of one family as transformers 5.23 does it, as a pure function of
image sizes. Sizes are (height, width) in pixels, grids are (rows, columns).
"""

import math
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple, TypeAlias

from pydantic import Field

from .errors import InvalidInput
from .numeric import Count, Positive, Spec

Size: TypeAlias = tuple[int, int]


class VisualInput(NamedTuple):
    """The visual side of one sequence.

    Attributes:
        crops: Patch grid (rows, columns) of each sequence that passes the encoder.
        crops_per_image: How many of them each image has.
        connector_tokens: Tokens that leave the connector.
        visual_tokens: M, positions in the LLM: kept connector tokens and learned separators.
        separator_tokens: How many of M are learned separators, which skip encoder and connector.
        structural_tokens: S, vocabulary tokens that the processor adds around images.
        note: What the rule did, for the reader.
    """

    crops: tuple[Size, ...]
    crops_per_image: tuple[int, ...]
    connector_tokens: int
    visual_tokens: int
    separator_tokens: int
    structural_tokens: int
    note: str


class _Rule(Spec):
    """What all rules have.

    Attributes:
        default_image: Size (height, width) that is priced when none is given.
        structural_per_image: Vocabulary tokens that the processor adds per image.
    """

    default_image: tuple[Positive, Positive]
    structural_per_image: Count = 0
    source: Annotated[tuple[str, ...], Field(min_length=1)]


class FixedRule(_Rule):
    """Every image is resized to one square: M = (image_size / patch / merge)²."""

    kind: Literal["fixed"] = "fixed"
    image_size: Positive


class AnyresRule(_Rule):
    """LLaVA's anyres: one base crop and a grid of crops, un-padded, one newline per row.

    M = side² + rows·columns + rows, side being the patches along a crop and rows × columns the
    grid of patches left after the padding of the best-fitting resolution is cut off.

    Attributes:
        crop_size: Side of a crop in pixels.
        resolutions: Candidate canvases (height, width), multiples of crop_size.
        max_crops: Grids above 1.21·max_crops·side² patches are shrunk to about max_crops·side²
            (LLaVA-OneVision's anyres_max_9); None never shrinks.
        several_images: What several images in one prompt become: "anyres" each, or the "base"
            crop alone with one newline.
    """

    kind: Literal["anyres"] = "anyres"
    crop_size: Positive
    resolutions: tuple[tuple[Positive, Positive], ...]
    max_crops: Positive | None = None
    several_images: Literal["anyres", "base"]


class NativeRule(_Rule):
    """Native resolution: sides rounded to multiples of patch·merge, pixels kept within limits.

    M = (height / patch / merge) · (width / patch / merge).

    Attributes:
        min_pixels, max_pixels: The checkpoint's image-processor limits.
    """

    kind: Literal["native"] = "native"
    min_pixels: Positive
    max_pixels: Positive


class TilesRule(_Rule):
    """Dynamic tiles: the grid of closest aspect ratio, and a thumbnail when there is more than one.

    M = tiles · (tile_size / patch / merge)².
    """

    kind: Literal["tiles"] = "tiles"
    tile_size: Positive
    max_tiles: Positive


TokenRule = Annotated[FixedRule | AnyresRule | NativeRule | TilesRule, Field(discriminator="kind")]

#: JPEG's own limit per side; a larger size is a slip.
LARGEST_SIDE = 65_535


def visual_input(
    rule: FixedRule | AnyresRule | NativeRule | TilesRule,
    images: Sequence[Size],
    patch_size: int,
    merge_size: int,
) -> VisualInput:
    """Apply a family's rule to the images of one sequence.

    Raises:
        InvalidInput: An image that the family's processor refuses.
    """
    several = len(images) > 1
    parts = [_one_image(rule, image, patch_size, merge_size, several) for image in images]
    notes: list[str] = []
    for part in parts:
        if part.note not in notes:
            notes.append(part.note)
    return VisualInput(
        crops=tuple(crop for part in parts for crop in part.crops),
        crops_per_image=tuple(len(part.crops) for part in parts),
        connector_tokens=sum(part.connector_tokens for part in parts),
        visual_tokens=sum(part.visual_tokens for part in parts),
        separator_tokens=sum(part.separator_tokens for part in parts),
        structural_tokens=sum(part.structural_tokens for part in parts),
        note="; ".join(notes),
    )


def _one_image(
    rule: FixedRule | AnyresRule | NativeRule | TilesRule,
    image: Size,
    patch_size: int,
    merge_size: int,
    several: bool,
) -> VisualInput:
    if isinstance(rule, FixedRule):
        side = rule.image_size // patch_size
        crops: tuple[Size, ...] = ((side, side),)
        kept, separators = (side // merge_size) ** 2, 0
        note = f"resized to {rule.image_size}×{rule.image_size}"
    elif isinstance(rule, NativeRule):
        height, width = fit_native(image, patch_size * merge_size, rule.min_pixels, rule.max_pixels)
        crops = ((height // patch_size, width // patch_size),)
        kept, separators = height * width // (patch_size * merge_size) ** 2, 0
        note = f"native resolution {height}×{width}"
    elif isinstance(rule, TilesRule):
        rows, columns = tile_grid(image, rule.tile_size, rule.max_tiles)
        tiles = rows * columns + (rows * columns > 1)
        side = rule.tile_size // patch_size
        crops = ((side, side),) * tiles
        kept, separators = tiles * (side // merge_size) ** 2, 0
        thumbnail = " + thumbnail" if tiles > 1 else ""
        note = f"{rows}×{columns} tiles of {rule.tile_size}×{rule.tile_size}{thumbnail}"
    else:
        side = rule.crop_size // patch_size
        if several and rule.several_images == "base":
            crops, kept, separators = ((side, side),), side * side, 1
            note = f"base crop of {rule.crop_size}×{rule.crop_size} alone (several images)"
        else:
            height, width = best_resolution(image, rule.resolutions)
            grid = (height // rule.crop_size, width // rule.crop_size)
            rows, columns = unpadded_grid(image, side * grid[0], side * grid[1])
            if rule.max_crops is not None:
                rows, columns = shrunk_grid(rows, columns, rule.max_crops * side**2)
            crops = ((side, side),) * (1 + grid[0] * grid[1])
            kept, separators = side * side + rows * columns, rows
            note = (
                f"anyres: base crop + {grid[0]}×{grid[1]} crops of {rule.crop_size}×"
                f"{rule.crop_size}, un-padded to {rows}×{columns} patches + {rows} newlines"
            )
    return VisualInput(
        crops=crops,
        crops_per_image=(len(crops),),
        connector_tokens=sum(rows * columns for rows, columns in crops) // merge_size**2,
        visual_tokens=kept + separators,
        separator_tokens=separators,
        structural_tokens=rule.structural_per_image,
        note=note,
    )


def best_resolution(image: Size, resolutions: Sequence[Size]) -> Size:
    """Choose the canvas that keeps most of the image's pixels, then wastes fewest of its own.

    The first of equals wins. Source: transformers 5.23 `select_best_resolution`.
    """
    height, width = image

    def merit(canvas: Size) -> tuple[int, int]:
        scale = min(canvas[1] / width, canvas[0] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - canvas[0] * canvas[1]

    return max(resolutions, key=merit)


def unpadded_grid(image: Size, rows: int, columns: int) -> Size:
    """Cut the padding of an aspect-preserving resize off a rows × columns grid of patches.

    Source: transformers 5.23 `unpad_image`, floats and rounding to 7 digits as there.
    """
    height, width = image
    if width / height > columns / rows:
        padding = (rows - int(round(height * (columns / width), 7))) // 2
        return rows - 2 * padding, columns
    padding = (columns - int(round(width * (rows / height), 7))) // 2
    return rows, columns - 2 * padding


def shrunk_grid(rows: int, columns: int, most: int) -> Size:
    """Shrink a grid of patches to about `most` when it exceeds that by more than 1.1² times.

    Source: transformers 5.23 `LlavaOnevisionModel.pack_image_features`.
    """
    factor = math.sqrt(rows * columns / most)
    if factor <= 1.1:
        return rows, columns
    return int(rows // factor), int(columns // factor)


def fit_native(image: Size, factor: int, min_pixels: int, max_pixels: int) -> Size:
    """Round an image's sides to multiples of `factor` within the pixel limits.

    Source: transformers 5.23 `smart_resize` of Qwen2-VL (sides round half to even).

    Raises:
        InvalidInput: The sides differ by more than 200 times, which that function refuses.
    """
    height, width = image
    if max(image) / min(image) > 200:
        raise InvalidInput(
            "image_size",
            f"{height}x{width}",
            "has an aspect ratio above 200, which the model's processor refuses",
            "give sides within 200 times of one another",
        )
    fitted = round(height / factor) * factor, round(width / factor) * factor
    if fitted[0] * fitted[1] > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        return (
            max(factor, math.floor(height / shrink / factor) * factor),
            max(factor, math.floor(width / shrink / factor) * factor),
        )
    if fitted[0] * fitted[1] < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        return (
            math.ceil(height * grow / factor) * factor,
            math.ceil(width * grow / factor) * factor,
        )
    return fitted


def tile_grid(image: Size, tile_size: int, max_tiles: int) -> Size:
    """Choose the (rows, columns) of tiles whose aspect ratio is closest to the image's.

    Among grids of equal aspect ratio a larger one is taken only while the image has more than
    half its pixels. Source: transformers 5.23 `get_optimal_tiled_canvas` (InternVL).
    """
    height, width = image
    grids = [
        (rows, columns)
        for columns in range(1, max_tiles + 1)
        for rows in range(1, max_tiles // columns + 1)
    ]
    best, best_difference = (1, 1), math.inf
    for rows, columns in sorted(grids, key=math.prod):
        difference = abs(width / height - columns / rows)
        larger_pays = height * width > 0.5 * tile_size**2 * rows * columns
        if difference < best_difference or (difference == best_difference and larger_pays):
            best, best_difference = (rows, columns), difference
    return best
