"""Tiles: a grid of equal squares, and perhaps a thumbnail of the whole image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, Self

from pydantic import StrictBool, model_validator

from ..errors import InvalidInput
from ..numeric import Count, Positive
from . import grids
from .base import Geometry, Rule, Size, VisualInput, check_sides, joined

#: How each choice of a grid is made: (rule, image) → (rows, columns).
_CHOICES: dict[str, Callable[[TilesRule, Size, int], Size]] = {
    "closest-aspect": lambda rule, image, most: grids.tile_grid(image, rule.tile_size, most),
    "covering": lambda rule, image, most: grids.covering_grid(image, rule.tile_size, most),
    "longest-edge": lambda rule, image, edge: grids.longest_edge_grid(image, rule.tile_size, edge),
    "canvas": lambda rule, image, most: grids.canvas_grid(image, rule.tile_size, most),
    "overlapping": lambda rule, image, most: grids.canvas_grid(
        (image[0] - rule.overlap, image[1] - rule.overlap),
        rule.tile_size - rule.overlap,
        most,
        grids.single_precision,
    ),
    "widest": lambda rule, image, most: grids.widest_grid(image, rule.tile_size, most),
    "native": lambda rule, image, most: grids.native_grid(image, rule.tile_size, most),
    "resolutions": lambda rule, image, most: grids.resolution_grid(image, rule.tile_size, most),
    "log-aspect": lambda rule, image, most: grids.log_aspect_grid(
        image, rule.tile_size, most, beyond=True
    ),
    "best-overlap": lambda rule, image, most: grids.overlap_grid(image, rule.tile_size, most),
}


class TilesRule(Rule):
    """A grid of equal tiles, and a thumbnail of the whole image.

    M = tiles · what the connector makes of one, the thumbnail's included; then what un-padding
    and overlap take away and learned separators add.

    Attributes:
        tile_size: Side of a tile in pixels.
        grid: How rows and columns are chosen; each choice is a function of `tokens.grids`. "fixed"
            is always `fixed_grid`.
        max_tiles: Most tiles of a grid, the thumbnail not counted.
        longest_edge: What grid "longest-edge" scales the image to, in pixels.
        fixed_grid: (rows, columns) of grid "fixed".
        thumbnail: When there is one: "several" with more than one tile.
        overlap: Pixels that neighbouring tiles share; their tokens are kept once.
        unpad: Whether tokens of the canvas beside and below the image are dropped, before the
            connector (Phi-4).
        separators: Learned separators, one after each row of tokens of canvas and thumbnail and
            one between the two; "connected" ones pass the connector, which makes M of M.
        padding: Up to how many crops an image is padded, all computed: "none"; "most" that the
            rule can make; as many as the image of the same "prompt" with the most.
        padding_attended: Whether the tokens of padding are cross-attention keys.
        tiled_images: Prompts of more images cut none of them.
        structural_per_tile, structural_per_tile_row: Vocabulary tokens for each tile and each row
            of tiles, where there are several.
        structural_between_tiles, structural_between_tile_rows: Likewise, one fewer.
        structural_per_token_row: Vocabulary tokens after each row of visual tokens.
    """

    kind: Literal["tiles"] = "tiles"
    tile_size: Positive
    grid: Literal[
        "closest-aspect",
        "covering",
        "longest-edge",
        "canvas",
        "overlapping",
        "widest",
        "native",
        "resolutions",
        "log-aspect",
        "best-overlap",
        "fixed",
    ] = "closest-aspect"
    max_tiles: Positive | None = None
    longest_edge: Positive | None = None
    fixed_grid: tuple[Positive, Positive] | None = None
    thumbnail: Literal["several", "always", "never"] = "several"
    overlap: Count = 0
    unpad: StrictBool = False
    separators: Literal["none", "unconnected", "connected"] = "none"
    padding: Literal["none", "most", "prompt"] = "none"
    padding_attended: StrictBool = False
    tiled_images: Positive | None = None
    structural_per_tile: Count = 0
    structural_per_tile_row: Count = 0
    structural_between_tiles: Count = 0
    structural_between_tile_rows: Count = 0
    structural_per_token_row: Count = 0

    @model_validator(mode="after")
    def _grid_has_its_number(self) -> Self:
        needed = {"longest-edge": "longest_edge", "fixed": "fixed_grid"}.get(self.grid, "max_tiles")
        for name in ("max_tiles", "longest_edge", "fixed_grid"):
            if (getattr(self, name) is None) == (name == needed):
                raise ValueError(f"grid {self.grid} goes with {needed} alone, of the three")
        if self.padding == "most" and self.max_tiles is None:
            raise ValueError("padding most goes with max_tiles")
        if self.overlap >= self.tile_size:
            raise ValueError(f"overlap {self.overlap} is not below tile_size {self.tile_size}")
        return self

    @property
    def settings(self) -> tuple[str, ...]:
        """The number of tiles, and whether padding tiles are computed."""
        tiles = ("max_tiles",) if self.max_tiles is not None else ()
        return (*tiles, "tiles") if self.padding != "none" else tiles

    def chosen(self, size: Size, images: int) -> Size:
        """Return the (rows, columns) of tiles of an image."""
        if self.tiled_images is not None and images > self.tiled_images:
            return 1, 1
        if self.fixed_grid is not None:
            return self.fixed_grid
        rows, columns = _CHOICES[self.grid](self, size, self.max_tiles or self.longest_edge or 1)
        check_sides(size, (rows, columns))
        return rows, columns

    def image(self, size: Size, geometry: Geometry, images: int) -> VisualInput:
        """Apply the rule to one image."""
        rows, columns = self.chosen(size, images)
        tiles = rows * columns
        several = tiles > 1
        thumbnail = self.thumbnail == "always" or (self.thumbnail == "several" and several)
        crop = geometry.grid((self.tile_size, self.tile_size))
        connected = geometry.connected(crop)
        canvas = self._canvas(size, (rows, columns), connected, geometry.patch_size)
        used = tiles + thumbnail
        computed = used
        if self.padding == "most" and self.max_tiles is not None:
            computed = self.max_tiles + (self.thumbnail != "never")
        attended = computed if self.padding_attended else used
        token_rows = canvas[0] + (connected[0] if thumbnail else 0)
        separators = 0 if self.separators == "none" else token_rows + thumbnail
        visual = math.prod(canvas) + (attended - tiles) * math.prod(connected) + separators
        projected = visual
        if self.separators != "connected":
            projected = computed * math.prod(connected)
        return VisualInput(
            crops=(crop,) * computed,
            crops_per_image=(computed,),
            connector_tokens=projected,
            visual_tokens=visual,
            separator_tokens=separators,
            structural_tokens=self._structural(rows, columns, token_rows),
            note=self._note(rows, columns, thumbnail, computed - used),
        )

    def together(self, parts: Sequence[VisualInput]) -> VisualInput:
        """Join the images; some families pad each to the crops of the largest."""
        seen = joined(parts)
        if self.padding != "prompt":
            return seen
        most = max(seen.crops_per_image)
        return seen._replace(
            crops=seen.crops[:1] * most * len(parts), crops_per_image=(most,) * len(parts)
        )

    def _canvas(self, size: Size, grid: Size, connected: Size, patch_size: int) -> Size:
        """Return the rows and columns of visual tokens of the tiles."""
        shared = [side * self.overlap // self.tile_size for side in connected]
        high, wide = (
            tiles * (side - both) + both
            for tiles, side, both in zip(grid, connected, shared, strict=True)
        )
        if not self.unpad:
            return high, wide
        target = grid[0] * self.tile_size, grid[1] * self.tile_size
        scale = min(target[1] / size[1], target[0] / size[0])
        # One side fills the canvas; which one is decided as there, on the ratios.
        if target[1] / size[1] < target[0] / size[0]:
            resized = int(size[0] * scale), target[1]
        else:
            resized = target[0], int(size[1] * scale)
        if min(resized) < 10:
            raise InvalidInput(
                "image_size",
                f"{size[0]}x{size[1]}",
                "is so elongated that the model's processor refuses it",
                "give a less elongated image",
            )
        rows, columns = (
            _kept(side, full, patch_size, tokens)
            for side, full, tokens in zip(resized, target, (high, wide), strict=True)
        )
        return rows, columns

    def _structural(self, rows: int, columns: int, token_rows: int) -> int:
        per_image = self.structural_per_image + token_rows * self.structural_per_token_row
        if rows * columns == 1:
            return per_image
        return (
            per_image
            + rows * columns * self.structural_per_tile
            + rows * self.structural_per_tile_row
            + (rows * columns - 1) * self.structural_between_tiles
            + (rows - 1) * self.structural_between_tile_rows
        )

    def _note(self, rows: int, columns: int, thumbnail: bool, padding: int) -> str:
        note = f"{rows}×{columns} tiles of {self.tile_size}×{self.tile_size}"
        note += " + thumbnail" if thumbnail else ""
        return note + (f", padded by {padding} more" if padding else "")


def _kept(resized: int, full: int, patch_size: int, tokens: int) -> int:
    """Return how many of a side's `tokens` hold a patch of the image, every other one looked at.

    Source: transformers 5.23 `Phi4MultimodalImageProcessor` (attention mask, `[0::2]`).
    """
    patches = full // patch_size
    kept = patches - (full - resized) // patch_size
    return math.ceil(kept * tokens / patches)
