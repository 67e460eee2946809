"""Pooling against loops, and LDPv2's convolution against a sum over neighbours."""

from __future__ import annotations

import math
from typing import Any

import pytest
from loops import normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.pooling import (
    PositionInjection,
    pool_grid,
)

torch = pytest.importorskip("torch")


def mean(rows: list[list[float]]) -> list[float]:
    return [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]


def slow_pool(grid: list[list[list[float]]], side: int) -> list[list[float]]:
    """Average cells ⌊i·length/side⌋ … ⌈(i + 1)·length/side⌉ − 1, row by row."""

    def cell(place: int, length: int) -> range:
        return range(place * length // side, math.ceil((place + 1) * length / side))

    return [
        mean([grid[row][column] for row in cell(i, len(grid)) for column in cell(j, len(grid[0]))])
        for i in range(side)
        for j in range(side)
    ]


@pytest.mark.parametrize(
    ("rows", "columns", "side"), [(6, 6, 3), (6, 6, 1), (6, 6, 6), (5, 7, 3), (4, 6, 2)]
)
def test_cells_against_loops(rows: int, columns: int, side: int) -> None:
    grid = normal(2, rows, columns, 5)
    pooled = pool_grid(grid, side)
    expected = [slow_pool(one, side) for one in grid.tolist()]
    torch.testing.assert_close(pooled, torch.tensor(expected, dtype=torch.float64))


def test_m3s_scales_of_a_grid_of_24() -> None:
    grid = torch.arange(576.0).view(1, 24, 24, 1)
    # the mean of 0 … 575; the first of 3×3 squares of 8: rows and columns 0 … 7 average 3.5
    assert pool_grid(grid, 1).tolist() == [[[287.5]]]
    assert pool_grid(grid, 3)[0, 0].tolist() == [3.5 * 24 + 3.5]
    assert torch.equal(pool_grid(grid, 24), grid.flatten(1, 2))


@pytest.mark.parametrize("side", [0, 5])
def test_no_larger_square(side: int) -> None:
    with pytest.raises(InvalidInput, match="side"):
        pool_grid(torch.ones(1, 4, 6, 2), side)


def slow_injection(tokens: Any, convolution: Any, side: int) -> Any:
    """Add the sum over the nine neighbours that exist, channel by channel, and the bias."""
    made = tokens + convolution.bias
    for row in range(side):
        for column in range(side):
            for down in (-1, 0, 1):
                for across in (-1, 0, 1):
                    there = row + down, column + across
                    if min(there) >= 0 and max(there) < side:
                        weight = convolution.weight[:, 0, 1 + down, 1 + across]
                        neighbour = tokens[:, there[0] * side + there[1]]
                        made[:, row * side + column] += weight * neighbour
    return made


@pytest.mark.parametrize("side", [1, 2, 4])
def test_injection_against_neighbours(side: int) -> None:
    tokens = normal(2, side**2, 3)
    inject = PositionInjection.of(tokens)
    with torch.no_grad():
        expected = slow_injection(tokens, inject.convolution, side)
        torch.testing.assert_close(inject(tokens), expected)


def test_flops() -> None:
    grid = normal(2, 6, 6, 5)
    assert count_flops(lambda: pool_grid(grid, 3)) == {}
    inject = PositionInjection.of(normal(1, 1, 5))
    # 9 MACs for each of 5 channels of 16 tokens, of two requests
    assert count_flops(lambda: inject(normal(2, 16, 5))) == {"aten.convolution": 2 * 2 * 9 * 5 * 16}


def test_shapes_alone_and_narrow_types() -> None:
    grid = torch.empty(2, 4, 4, 6, device="meta", dtype=torch.bfloat16)
    pooled = pool_grid(grid, 2)
    made = PositionInjection.of(pooled)(pooled)
    assert made.shape == (2, 4, 6)
    assert (made.device.type, made.dtype) == ("meta", torch.bfloat16)
    assert torch.get_default_dtype() == torch.float32


def test_the_same_weights_always_and_the_callers_random_numbers_go_on() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, other = (PositionInjection.of(torch.ones(2, 4)).convolution.weight for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(one, other)
