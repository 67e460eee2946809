"""G-Prune against a graph of dictionaries that passes on what every token has."""

from __future__ import annotations

import math

import pytest
from diverse_loops import slow_gathered
from loops import normal
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.gprune import gathered

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("spread", [0.2, 0.6, 3.0])
def test_against_loops(spread: float) -> None:
    tokens = spread * normal(3, 14, 5)
    tokens[:, :, 0] += 1  # some are alike, and some are not
    found = gathered(tokens)
    for sequence in range(3):
        expected = slow_gathered(tokens[sequence].tolist())
        assert found[sequence].tolist() == pytest.approx(expected, rel=1e-9)
    assert spread == 0.2 or len({round(value, 9) for value in found[0].tolist()}) == 14


def test_a_cosine_of_a_half_is_a_neighbour() -> None:
    # Of length 2: the first two have 3 of 4 signs in common, cosine 1/2; the last has cosines 0.
    signs = [[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, -1.0], [1.0, -1.0, 0.0, 0.0]]
    tokens = torch.tensor([signs], dtype=torch.float64)
    # Each keeps 1 − s of what it has and hands s on: both have 2 throughout, and two neighbours.
    assert gathered(tokens)[0].tolist() == pytest.approx([1.0, 1.0, math.sqrt(2)], rel=1e-12)


def test_zeros_hand_on_to_all() -> None:
    tokens = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [-3.0, -4.0]]])
    # The token of zeros gets nothing; what it has, 0, goes to all three.
    assert gathered(tokens)[0].tolist() == pytest.approx([0.0, 5.0, 5.0])


def test_alone() -> None:
    assert gathered(torch.tensor([[[3.0, 4.0]]])).tolist() == [[5.0]]


def test_flops() -> None:
    tokens = torch.empty(2, 576, 4096, device="meta")
    # 2 · 2 sequences · (576² · 4096 + 5 · 576²)
    assert count_flops(lambda: gathered(tokens)) == {"aten.bmm": 5_442_453_504}
