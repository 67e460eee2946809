"""FastV and PyramidDrop against loops."""

from __future__ import annotations

from typing import Any

import pytest
from loops import attention, best, normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.fastv import fastv, rank
from vlm_tokencost.validation.reducers.pyramiddrop import pyramiddrop

torch = pytest.importorskip("torch")


def slow_scores(query: Any, key: Any, scaling: float, visual: Any) -> list[float]:
    """Return the mean over heads of the last token's row, for one sequence."""
    rows = [head[0] for head in attention(query, key, scaling)]
    return [sum(row[at] for row in rows) / len(rows) for at in visual.tolist()]


@pytest.mark.parametrize("rule", [fastv, pyramiddrop])
@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("count", [0, 1, 5, 8])
def test_against_loops(rule: Any, key_heads: int, count: int) -> None:
    query, key = normal(3, 4, 1, 6), normal(3, key_heads, 12, 6, seed=1)
    visual = torch.tensor([range(2, 10), range(1, 9), [0, 2, 4, 6, 7, 8, 9, 10]])
    kept = rule(query, key, 0.5, visual, count)
    scores = rank(query, key, 0.5, visual)
    assert kept.shape == (3, count)
    for one in range(3):
        expected = slow_scores(query[one], key[one], 0.5, visual[one])
        # float64 sums in another order: 1e-14 is some 50 units in the last place of 1
        assert scores[one].tolist() == pytest.approx(expected, abs=1e-14)
        assert kept[one].tolist() == best(expected, count)


@pytest.mark.parametrize("rule", [fastv, pyramiddrop])
def test_equal_keys_keep_the_first(rule: Any) -> None:
    query, key = torch.ones(1, 2, 1, 4), torch.ones(1, 2, 9, 4)
    key[0, :, 6] = 2  # column 6 is visual token 4
    visual = torch.arange(2, 8)[None]
    assert rule(query, key, 1.0, visual, 3).tolist() == [[0, 1, 4]]
    assert rule(query, key, 1.0, visual, 6).tolist() == [[0, 1, 2, 3, 4, 5]]


def test_one_visual_token() -> None:
    query, key = normal(2, 2, 1, 4), normal(2, 2, 3, 4)
    assert fastv(query, key, 1.0, torch.tensor([[1], [2]]), 1).tolist() == [[0], [0]]


def test_more_than_there_are() -> None:
    query, key, visual = normal(1, 2, 1, 4), normal(1, 2, 3, 4), torch.tensor([[0, 1]])
    for rule in (fastv, pyramiddrop):
        with pytest.raises(InvalidInput, match="count 3 is impossible with 2 tokens"):
            rule(query, key, 1.0, visual, 3)


def test_flops_of_llava() -> None:
    query = torch.empty(1, 32, 1, 128, device="meta")
    key = torch.empty(1, 32, 640, 128, device="meta")
    visual = torch.empty(1, 576, dtype=torch.int64, device="meta")
    # 2 · 640 tokens · 32 heads · 128
    assert count_flops(lambda: fastv(query, key, 0.1, visual, 288)) == {"aten.bmm": 5_242_880}
