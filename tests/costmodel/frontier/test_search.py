"""The dynamic program: by hand, and against every schedule of small grids."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from every_schedule import best_of, every_schedule, per_layer
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.costmodel.frontier import Point, Space, Table, search


def table(dense: int, layers: list[list[int]]) -> Table:
    """Return a table of amounts per layer and level, of which the last level is the dense one."""
    changes = tuple(tuple(amount - row[-1] for amount in row[:-1]) for row in layers)
    return Table(dense, changes)


def test_two_layers_by_hand():
    # Both layers cost 1, 3 or 7 with 1, 2 or 3 tokens; the second is worth twice as much a token.
    # Stages at layer 0 and 1 (0: one token, 1: two): (cost, value) with value n_0 + 2·n_1
    #   dense (7 + 7, 3 + 6) = (14, 9); (0,1) (3 + 3, 2 + 4) = (6, 6); (0,0) (2, 3);
    #   (1,1) (7 + 3, 3 + 4) = (10, 7); (1,0) (7 + 1, 3 + 2) = (8, 5): beaten by (6, 6);
    #   (0,1),(1,0) (3 + 1, 2 + 2) = (4, 4)
    cost = Table(14, ((-6, -4), (-6, -4)))
    value = Table(9, ((-2, -1), (-4, -2)))
    space = Space((0, 1), 2, (0, 1, 2))
    assert space.size == 6
    expected = (
        Point(2, 3, ((0, 0),), 0),
        Point(4, 4, ((0, 1), (1, 0)), 0),
        Point(6, 6, ((0, 1),), 0),
        Point(10, 7, ((1, 1),), 0),
        Point(14, 9, (), 0),
    )
    found = search(space, cost, value)
    assert found.points == expected
    assert found.least == 2
    assert search(space, cost, value, 9).points == expected[:3]
    assert search(space, cost, value, 10).points == expected[:4]
    assert search(space, cost, value, 1).points == ()
    assert search(space, cost, value, 1).least == 2


def test_ties_go_to_the_fewest_stages_and_then_to_the_first():
    # Cost and value are the tokens themselves: n_0 + n_1 + n_2 with 1, 2 or 3 tokens each.
    sums = Table(9, ((-2, -1),) * 3)
    found = search(Space((0, 1, 2), 2, (0, 1, 2)), sums, sums)
    # 7 = 3 + 2 + 2 (2 from layer 1), or 3 + 3 + 1 (1 from layer 2); 6 = 2 + 2 + 2, or 3 + 2 + 1
    assert found.points == (
        Point(3, 3, ((0, 0),), 0),
        Point(4, 4, ((0, 1), (1, 0)), 0),
        Point(5, 5, ((1, 0),), 1),  # 3 + 1 + 1, or 2 + 2 + 1
        Point(6, 6, ((0, 1),), 1),
        Point(7, 7, ((1, 1),), 1),
        Point(8, 8, ((2, 1),), 0),
        Point(9, 9, (), 0),
    )


def grid_of(seed: int):
    """Return a random space with its tables, and what each layer has, dense level last."""
    rng = random.Random(seed)
    depth, levels = rng.randint(2, 7), rng.randint(1, 5)
    layers = tuple(sorted(rng.sample(range(depth), rng.randint(1, depth))))
    counts = rng.choice([(1,), (2,), (1, 2), (0, 1, 2, 3), (0, 1, 2, 3, 4), (0, 3), (2, 4)])
    tokens = sorted(rng.sample(range(1, 40), levels + 1))
    quadratic, size = rng.choice([0, 1, 3]), 10 ** rng.randint(0, 12)
    costs = [[size * (a * n + quadratic * n * n) for n in tokens] for a in _weights(rng, depth, 1)]
    if rng.random() < 0.3:  # any numbers at all, also costs that fall as tokens grow
        costs = [[rng.randint(-9, 9) for _ in tokens] for _ in range(depth)]
    values = [[w * n for n in tokens] for w in _weights(rng, depth, 0)]
    return Space(layers, levels, counts), costs, values


def _weights(rng: random.Random, depth: int, least: int) -> list[int]:
    kind = rng.choice(["equal", "falling", "few", "any"])
    if kind == "equal":
        return [1] * depth
    if kind == "falling":
        return [max(least, 2 ** (depth - layer)) for layer in range(depth)]
    top = 3 if kind == "few" else 10**9
    return [rng.randint(least, top) for _ in range(depth)]


def summed(layers: list[list[int]], levels: list[int]) -> int:
    return sum(row[level] for row, level in zip(layers, levels, strict=True))


@pytest.mark.parametrize("seed", range(300))
def test_against_every_schedule(seed):
    space, costs, values = grid_of(seed)
    depth, dense = len(costs), space.levels
    rows = list(every_schedule(space.layers, space.levels, space.stages))
    assert len(rows) == space.size
    full = [dense] * depth
    cost, value = (table(summed(one, full), one) for one in (costs, values))
    if not rows:
        with pytest.raises(InvalidInput, match="makes no schedule"):
            search(space, cost, value)
        return
    priced = []
    for stages in rows:
        levels = per_layer(stages, depth, dense)
        priced.append((summed(costs, levels), summed(values, levels), stages))
    amounts = sorted(amount for amount, _, _ in priced)
    for budget in (None, amounts[0] - 1, amounts[0], amounts[len(amounts) // 2], 10**40):
        found = search(space, cost, value, budget)
        assert found.least == amounts[0]
        assert [tuple(point) for point in found.points] == best_of(priced, budget)
        assert all(a.cost < b.cost and a.value < b.value for a, b in pairwise(found.points))


def test_a_common_factor_beyond_64_bits_is_no_obstacle():
    factor = 7**40
    cost, value = Table(9, ((-2, -1),) * 3), Table(9, ((-2, -1),) * 3)
    large = Table(9 * factor, tuple(tuple(factor * one for one in row) for row in cost.changes))
    space = Space((0, 1, 2), 2, (0, 1, 2))
    few, many = (search(space, one, value, 7 * unit) for one, unit in ((cost, 1), (large, factor)))
    assert [point.cost for point in many.points] == [factor * point.cost for point in few.points]
    assert [point[1:] for point in many.points] == [point[1:] for point in few.points]


def test_what_cannot_be_searched_is_refused():
    ones = Table(2, ((-1,), (-1,)))
    with pytest.raises(InvalidInput, match="more than 64 bits hold"):
        search(Space((0, 1), 1, (1,)), Table(0, ((-(2**64),), (-1,))), ones)
    with pytest.raises(InvalidInput, match="steps of the search"):
        search(Space(tuple(range(80)), 500, (1, 2, 3)), ones, ones)
    with pytest.raises(InvalidInput, match="choices for each of 4 stages"):
        search(Space(tuple(range(1000)), 35, (4,)), Table(0, ((0,) * 35,) * 1000), ones)
