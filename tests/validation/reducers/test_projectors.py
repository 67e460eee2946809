"""TokenPacker, PVTC and LLaVA-STF square by square, with the modules' own weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from loops import normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.fusion import Fusion
from vlm_tokencost.validation.reducers.point_to_region import PointToRegion
from vlm_tokencost.validation.reducers.squares import squares
from vlm_tokencost.validation.reducers.tokenpacker import TokenPacker
from vlm_tokencost.validation.reducers.weights import attended, most_heads

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def without_gradients() -> Any:
    with torch.no_grad():
        yield


def slow_attention(query: Any, keys: list[Any], values: list[Any], heads: int) -> Any:
    """Attend with one query, head by head."""
    size, parts = len(query) // heads, []
    out = len(values[0]) // heads
    for head in range(heads):
        here = slice(head * size, (head + 1) * size)
        scores = [torch.dot(query[here], key[here]) / size**0.5 for key in keys]
        total = sum(score.exp() for score in scores)
        weights = [score.exp() / total for score in scores]
        there = slice(head * out, (head + 1) * out)
        pairs = zip(weights, values, strict=True)
        parts.append(sum(weight * value[there] for weight, value in pairs))
    return torch.cat(parts)


def of_square(grid: Any, side: int, row: int, column: int) -> list[Any]:
    """Return the patches of a square of one crop, row by row."""
    return [
        grid[row * side + down, column * side + across]
        for down in range(side)
        for across in range(side)
    ]


@pytest.mark.parametrize("heads", [1, 3])
def test_attention_against_loops(heads: int) -> None:
    query, key, value = normal(2, 4, 6), normal(2, 5, 6, seed=1), normal(2, 5, 12, seed=2)
    found = attended(query, key, value, heads)
    for one in range(2):
        for row in range(4):
            expected = slow_attention(query[one, row], list(key[one]), list(value[one]), heads)
            torch.testing.assert_close(found[one, row], expected)


def test_heads_divide_all_widths() -> None:
    assert most_heads(16, 4096) == 16
    assert most_heads(16, 112) == 16
    assert most_heads(16, 60) == 15
    assert most_heads(8, 60, 32) == 4


@pytest.mark.parametrize(("rows", "columns", "side"), [(4, 6, 2), (3, 3, 3), (2, 4, 1)])
def test_squares_against_loops(rows: int, columns: int, side: int) -> None:
    grid = normal(2, rows, columns, 3)
    cells = squares(grid, side)
    for one in range(2):
        expected = [
            torch.stack(of_square(grid[one], side, row, column))
            for row in range(rows // side)
            for column in range(columns // side)
        ]
        assert torch.equal(cells[one], torch.stack(expected))


@pytest.mark.parametrize("side", [0, 3])
def test_squares_that_do_not_fit(side: int) -> None:
    with pytest.raises(InvalidInput, match=f"side {side} does not divide a grid of 4×6"):
        squares(torch.ones(1, 4, 6, 2), side)


def middle(square: list[Any], side: int) -> Any:
    """Return what linear interpolation takes of a square: its middle, one or four patches."""
    if side % 2:
        return square[side * (side // 2) + side // 2]
    low, high = side // 2 - 1, side // 2
    return sum(square[side * i + j] for i in (low, high) for j in (low, high)) / 4


@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_tokenpacker_square_by_square(side: int) -> None:
    width, rows, columns = 256, 2, 1  # two heads of 128
    grid = normal(2, rows * side, columns * side, 4 * width)
    pack = TokenPacker.of(grid[..., :width])
    found = pack(grid, side)
    assert found.shape == (2, rows * columns, width)
    for one in range(2):
        for row in range(rows):
            cell = of_square(grid[one], side, row, 0)
            query = pack.norms[0](pack.query(middle([patch[-width:] for patch in cell], side)))
            keys = [pack.projections[1](pack.norms[1](pack.key(patch))) for patch in cell]
            values = [pack.projections[2](pack.norms[2](pack.value(patch))) for patch in cell]
            fetched = slow_attention(pack.projections[0](query), keys, values, heads=2)
            torch.testing.assert_close(found[one, row], pack.output(fetched))


def gated(layer: Any, query: Any, keys: list[Any], heads: int) -> Any:
    """Return a query behind a layer of PVTC."""

    def normed(rows: Any, at: int) -> Any:
        return rows / (rows.square().mean() + 1e-6).sqrt() * layer.norms[at].weight

    to_query, to_key, to_value, output = layer.attention
    values = [to_value(normed(key, 1)) for key in keys]
    projected = [to_key(normed(key, 1)) for key in keys]
    query = query + output(slow_attention(to_query(normed(query, 0)), projected, values, heads))
    first, gate, second = layer.network
    inner = first(normed(query, 2))
    return query + second(inner * torch.sigmoid(inner) * gate(normed(query, 2)))


@pytest.mark.parametrize("side", [1, 2, 3])
def test_pvtc_square_by_square(side: int) -> None:
    narrow, width, rows, columns = 6, 32, 2, 1  # 16 heads of 2
    grid, class_token = normal(2, rows * side, columns * side, narrow), normal(2, narrow, seed=1)
    project = PointToRegion.of(grid, width, side, rows * columns)
    found = project(class_token, grid)

    def entered(part: Any, state: Any) -> Any:
        made = part.projection(state / (state.square().mean() + 1e-6).sqrt())
        return made * torch.sigmoid(made)

    for one in range(2):
        whole = entered(project.global_input, class_token[one])
        for row in range(rows):
            cell = of_square(grid[one], side, row, 0)
            region = [entered(project.patches, patch) for patch in cell]
            local = entered(project.local_input, torch.cat(cell))
            expected = gated(project.local_layer, local, region, 16)
            expected = expected + gated(
                project.global_layer, whole * project.scale[row], region, 16
            )
            torch.testing.assert_close(found[one, row], expected)


def test_pvtc_of_another_grid() -> None:
    project = PointToRegion.of(torch.ones(1, 4), 16, 2, 4)
    with pytest.raises(InvalidInput, match="has 2 squares"):
        project(torch.ones(1, 4), torch.ones(1, 4, 2, 4))


@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (5, 3)])
def test_stf_square_by_square(rows: int, columns: int) -> None:
    """The last row and column of an odd grid make no token."""
    layers = normal(2, rows, columns, 8 * 3)
    fuse = Fusion.of(layers[..., :3], 10)
    found = fuse(layers)
    assert found.shape == (2, (rows // 2) * (columns // 2), 10)
    for one in range(2):
        for cell in range(found.shape[1]):
            square = of_square(layers[one], 2, *divmod(cell, columns // 2))
            fused = [fuse.blocks(patch) for patch in square]
            # feature by feature, the four patches of each side by side
            joined = torch.stack([patch[at] for at in range(3) for patch in fused])
            torch.testing.assert_close(found[one, cell], fuse.space(joined))


def test_widths_as_released() -> None:
    """LLaVA-1.5: 8,192 → 4,096 → 1,024, then 4,096 → 16,384 → 4,096."""
    with torch.device("meta"):
        fuse = Fusion.of(torch.empty(1, 1024), 4096)
    assert [list(fuse.blocks[at].weight.shape) for at in (0, 2)] == [[4096, 8192], [1024, 4096]]
    assert [list(fuse.space[at].weight.shape) for at in (0, 2)] == [[16384, 4096], [4096, 16384]]


#: Two crops of 4×4 patches and squares of 2×2, as (run, MACs of a crop); widths 6 and 16.
PATCHES, TOKENS, NARROW, WIDTH = 16, 4, 6, 16
CASES: dict[str, tuple[Callable[[Any], Any], int]] = {
    "tokenpacker": (
        lambda grid: TokenPacker.of(grid)(torch.cat([grid] * 4, dim=-1), 2),
        # query, queries and outputs; two MLPs 4·d_e → d_e → d_e, keys and values; attention
        3 * TOKENS * NARROW**2 + PATCHES * (2 * (4 + 1) + 2) * NARROW**2 + 2 * PATCHES * NARROW,
    ),
    "pvtc": (
        lambda grid: PointToRegion.of(grid, WIDTH, 2, TOKENS)(grid[:, 0, 0], grid),
        # three inputs; of two layers queries and outputs, keys and values, attention, network
        (2 * PATCHES + 1) * NARROW * WIDTH
        + 2 * 2 * TOKENS * WIDTH**2
        + 2 * 2 * PATCHES * WIDTH**2
        + 2 * 2 * PATCHES * WIDTH
        + 2 * 3 * TOKENS * 4 * WIDTH**2,
    ),
    "stf": (
        lambda grid: Fusion.of(grid, WIDTH)(torch.cat([grid] * 8, dim=-1)),
        PATCHES * (8 * 4 + 4) * NARROW**2
        + TOKENS * (4 * NARROW * 16 * NARROW + 16 * NARROW * WIDTH),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_flops_shapes_and_batches(name: str) -> None:
    run, macs = CASES[name]
    grid = normal(2, 4, 4, NARROW)
    assert sum(count_flops(lambda: run(grid)).values()) == 2 * 2 * macs
    tokens = run(grid)
    for one in range(2):
        torch.testing.assert_close(run(grid[one : one + 1]), tokens[one : one + 1])
    shown = run(torch.empty(2, 4, 4, NARROW, device="meta", dtype=torch.bfloat16))
    assert (shown.shape, shown.dtype) == (tokens.shape, torch.bfloat16)
