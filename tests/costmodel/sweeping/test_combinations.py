"""The rows of a grid of stages: beside itertools, in order, from any place."""

from __future__ import annotations

from itertools import combinations, product
from math import comb

import pytest
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.costmodel.sweeping import Combinations
from vlm_tokencost.costmodel.sweeping import combinations as module


def expected(grid):
    """Return all rows: layers that grow, shares that shrink, both in lexicographic order."""
    layers = combinations(grid.layers, grid.stages)
    shares = sorted(
        tuple(sorted(one, reverse=True)) for one in combinations(grid.numerators, grid.stages)
    )
    return [(one, other) for one, other in product(layers, shares)]


def rows_of(reader, first, count):
    layers, shares = reader.read(first, count)
    return [
        (tuple(map(int, one)), tuple(map(int, other)))
        for one, other in zip(zip(*layers, strict=True), zip(*shares, strict=True), strict=True)
    ]


@pytest.mark.parametrize("tabled", [True, False], ids=["tables", "numbers"])
@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_rows_are_those_of_itertools(monkeypatch, stages, tabled):
    if not tabled:
        monkeypatch.setattr(module, "TABLED", 0)
    grid = Combinations((1, 2, 5, 9, 10, 30), (1, 3, 4, 7, 20), stages)
    rows = expected(grid)
    assert grid.rows == len(rows) == comb(6, stages) * comb(5, stages)
    reader = grid.reader()
    assert rows_of(reader, 0, grid.rows) == rows
    assert list(grid.stages_from()) == rows
    for first in range(grid.rows):
        assert list(grid.stages_from(first)) == rows[first:]
        for count in (0, 1, 2, 7):
            if first + count <= grid.rows:
                assert rows_of(reader, first, count) == rows[first : first + count]


def test_one_share_for_many_layers():
    reader = Combinations(tuple(range(10_000)), (5,), 1).reader()
    assert rows_of(reader, 9_000, 3) == [((9000,), (5,)), ((9001,), (5,)), ((9002,), (5,))]


def test_large_grids_are_read_at_their_ends():
    grid = Combinations((1, 2, 3, 4), tuple(range(1, 1001)), 3)
    assert grid.rows == 4 * comb(1000, 3) == 664_668_000
    reader = grid.reader()
    assert rows_of(reader, 0, 1) == [((1, 2, 3), (3, 2, 1))]
    assert rows_of(reader, grid.rows - 1, 1) == [((2, 3, 4), (1000, 999, 998))]
    # the last choice of shares, then the first again with the next layers
    each = comb(1000, 3)
    assert rows_of(reader, each - 1, 2) == [((1, 2, 3), (1000, 999, 998)), ((1, 2, 4), (3, 2, 1))]


def test_more_stages_than_values_is_an_empty_grid():
    assert Combinations((1, 2), (1, 2, 3), 3).rows == 0
    assert rows_of(Combinations((1, 2), (1, 2, 3), 3).reader(), 0, 0) == []


def test_rows_that_are_not_there():
    with pytest.raises(InvalidInput, match="not all there"):
        Combinations((1, 2), (1, 2), 1).reader().read(3, 2)
