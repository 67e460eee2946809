"""How many rows and columns of tiles an image is cut into: one function per family's choice."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator

from .base import Size


def grids_of(max_tiles: int) -> Iterator[Size]:
    """Yield every (rows, columns) of at most `max_tiles` tiles, rows first."""
    for rows in range(1, max_tiles + 1):
        for columns in range(1, max_tiles // rows + 1):
            yield rows, columns


def tile_grid(image: Size, tile_size: int, max_tiles: int) -> Size:
    """Choose the (rows, columns) of tiles whose aspect ratio is closest to the image's.

    Among grids of equal aspect ratio a larger one is taken only while the image has more than
    half its pixels. Source: transformers 5.23 `get_optimal_tiled_canvas` (InternVL, Aya Vision).
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


def covering_grid(image: Size, tile_size: int, max_tiles: int) -> Size:
    """Choose the fewest tiles that keep more than 90 % of the image's pixels, else the most pixels.

    A tile's part of the image is shrunk until its longer side fits the tile. Source: transformers
    5.23 `get_min_tile_covering_grid` (Ovis2), whose caller then takes rows for columns: the number
    of tiles is the same.
    """
    height, width = image

    def kept(side: int, parts: int) -> list[int]:
        return [side // parts] * (parts - 1) + [side - (parts - 1) * (side // parts)]

    def area(high: int, wide: int) -> float:
        longer, shorter = max(high, wide), min(high, wide)
        if longer <= tile_size:
            return longer * shorter
        return tile_size * (shorter / longer * tile_size)

    def covered(grid: Size) -> float:
        return sum(
            area(high, wide) for high in kept(height, grid[0]) for wide in kept(width, grid[1])
        ) / (height * width)

    ratios = {grid: covered(grid) for grid in sorted(grids_of(max_tiles), key=math.prod)}
    enough = [grid for grid, ratio in ratios.items() if ratio > 0.9]
    if enough:
        return min(enough, key=lambda grid: (math.prod(grid), -ratios[grid]))
    return min(ratios, key=lambda grid: (-ratios[grid], math.prod(grid)))


def longest_edge_grid(image: Size, tile_size: int, longest_edge: int) -> Size:
    """Scale the longest edge, up or down, to `longest_edge` and cover the image with tiles.

    The other side keeps the aspect ratio, odd lengths rounded up to even ones. Source:
    transformers 5.23 `Idefics3ImageProcessor` (also SmolVLM).
    """
    height, width = image
    aspect = width / height
    if width >= height:
        height, width = even(int(longest_edge / aspect)), longest_edge
    else:
        height, width = longest_edge, even(int(longest_edge * aspect))
    return math.ceil(height / tile_size), math.ceil(width / tile_size)


def even(length: int) -> int:
    """Round a length up to an even one of at least 1 pixel."""
    return max(length + length % 2, 1)


def single_precision(value: float) -> float:
    """Round to what a 32-bit float holds."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


def canvas_grid(
    image: Size, tile_size: int, max_tiles: int, rounded: Callable[[float], float] = float
) -> Size:
    """Choose the canvas that scales the image up least; if all shrink it, that shrinks it least.

    Equal scales take the fewest tiles, then the fewest rows. Source: transformers 5.23
    `get_optimal_tiled_canvas` of Llama-3.2-Vision; `select_tiling` of Molmo, which divides in
    single precision (`rounded`) and takes margins off, so that a side may be 0 or negative.
    """

    def scale(side: int, tiles: int) -> float:
        return rounded(tiles * tile_size / side) if side else math.inf

    scales = {
        grid: min(scale(image[0], grid[0]), scale(image[1], grid[1]))
        for grid in sorted(grids_of(max_tiles), key=lambda grid: (math.prod(grid), grid[0]))
    }
    growing = [value for value in scales.values() if value >= 1]
    wanted = min(growing) if growing else max(scales.values())
    return next(grid for grid, value in scales.items() if value == wanted)


def widest_grid(image: Size, tile_size: int, max_tiles: int) -> Size:
    """Choose the most tiles along the longer side, whatever the image's size.

    With s tiles along the longer side and ⌈s / aspect⌉ along the other, the largest s of at most
    `max_tiles` tiles. Source: processing_phi3_v.py of microsoft/Phi-3.5-vision-instruct.
    """
    aspect = max(image) / min(image)
    long = 1
    while (long + 1) * math.ceil((long + 1) / aspect) <= max_tiles:
        long += 1
    short = math.ceil(int(long * tile_size / aspect) / tile_size)
    return (long, short) if image[0] > image[1] else (short, long)


def native_grid(image: Size, tile_size: int, max_tiles: int) -> Size:
    """Cover the image's own pixels with tiles; when that takes too many, as `tile_grid`.

    Source: transformers 5.23 `Phi4MultimodalImageProcessor.dynamic_preprocess`.
    """
    rows, columns = (math.ceil(side / tile_size) for side in image)
    return (
        (rows, columns) if rows * columns <= max_tiles else tile_grid(image, tile_size, max_tiles)
    )


def resolution_grid(image: Size, tile_size: int, max_tiles: int) -> Size:
    """Choose among all canvases of at most `max_tiles` tiles as LLaVA's anyres does.

    Source: processing_deepseek_vl_v2.py of deepseek-ai/DeepSeek-VL2.
    """
    from .anyres import best_resolution  # a spec costs start-up time, and few choices need this

    grids = sorted(grids_of(max_tiles), key=math.prod)
    height, width = best_resolution(image, [(r * tile_size, c * tile_size) for r, c in grids])
    return height // tile_size, width // tile_size


def log_aspect_grid(image: Size, tile_size: int, max_tiles: int, beyond: bool) -> Size:
    """Choose about as many slices as the image has tiles' worth of pixels, by log aspect ratio.

    With n = ⌈pixels / tile_size²⌉, at most `max_tiles`: the grids of n-1, n and n+1 slices.
    MiniCPM-V leaves an image of n = 1 whole and never exceeds `max_tiles`; LLaVA-UHD (`beyond`)
    does both: it may halve that image, and cut one slice more than `max_tiles`.
    Source: image_processing_minicpmv.py of openbmb/MiniCPM-V-2_6 (`get_sliced_grid`);
    slice_logic.py of thunlp/LLaVA-UHD@7a3a1b6 (`cal_num_of_slices`).
    """
    height, width = image
    wanted = min(math.ceil(height * width / tile_size**2), max_tiles)
    if beyond:
        counts = [wanted, wanted + 1] if wanted <= 2 else [wanted - 1, wanted, wanted + 1]
    elif wanted <= 1:
        return 1, 1
    else:
        counts = [n for n in (wanted - 1, wanted, wanted + 1) if 1 < n <= max_tiles]
    candidates = [
        (count // columns, columns)
        for count in counts
        for columns in range(1, count + 1)
        if count % columns == 0
    ]
    log_aspect = math.log(width / height)
    return min(candidates, key=lambda grid: abs(log_aspect - math.log(grid[1] / grid[0])))


def overlap_grid(image: Size, tile_size: int, max_tiles: int) -> Size:
    """Choose the grid that the image fills best and whose area is closest to 1.4² times its own.

    Score: pixels of the image, scaled into the grid, per pixel of the grid, and a tenth of the
    intersection over union with the image enlarged 1.4 times. Strips of one row or column have at
    most 9 tiles. Source: llava/patch_divide.py of CircleRadon/TokenPacker@9b8024b.
    """
    height, width = image

    def score(grid: Size) -> float:
        high, wide = grid[0] * tile_size, grid[1] * tile_size
        scale = min(high / height, wide / width)
        filled = round(height * scale) * round(width * scale) / (high * wide)
        both = min(high, 1.4 * height) * min(wide, 1.4 * width)
        return filled + 0.1 * both / (high * wide + 1.96 * height * width - both + 1e-5)

    grids = [grid for grid in grids_of(max_tiles) if min(grid) > 1 or max(grid) <= 9]
    return max(sorted(grids, key=math.prod), key=score)
