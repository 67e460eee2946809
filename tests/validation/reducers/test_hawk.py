"""HAWK against loops over heads, text and visual tokens."""

from __future__ import annotations

import pytest
from crop_loops import hawk_scores
from loops import best, normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.hawk import hawk, head_weights

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("key_heads", [4, 2])
@pytest.mark.parametrize("count", [0, 1, 5, 11])
def test_against_loops(count: int, key_heads: int) -> None:
    query, key = normal(2, 4, 6, 5), normal(2, key_heads, 11, 5, seed=1)
    weights = (0.5, 0.25, 0.0, 0.25)
    raters = [[1, 4, 5], [0]]
    marked = torch.tensor([[token in rater for token in range(6)] for rater in raters])
    kept = hawk(query, key, marked, weights, count)
    for one in range(2):
        assert kept[one].tolist() == best(
            hawk_scores(query[one], key[one], raters[one], weights), count
        )


def test_ties_and_tokens_that_do_not_rate() -> None:
    query, key = torch.ones(1, 2, 2, 4), torch.ones(1, 1, 5, 4)
    query[0, :, 1] = float("inf")  # would spoil every score
    key[0, 0, 3] = 2
    marked = torch.tensor([[True, False]])
    assert hawk(query, key, marked, (0.5, 0.5), 3).tolist() == [[0, 1, 3]]


def test_the_weights_are_the_published_ones() -> None:
    # arXiv 2604.07812's code: the raw vector sums to 1.2616; heads 1 and 26 by it
    weights = head_weights(28, published=True)
    assert weights[1] == pytest.approx(0.3 / 1.2616, rel=1e-6)
    assert weights[26] == 0
    assert sum(weights) == pytest.approx(1, rel=1e-12)
    assert head_weights(28, published=False) == (1 / 28,) * 28
    assert head_weights(14, published=True) == (1 / 14,) * 14


def test_flops_of_qwen() -> None:
    query = torch.empty(2, 28, 64, 128, device="meta")
    key = torch.empty(2, 4, 1521, 128, device="meta")
    raters = torch.empty(2, 64, dtype=torch.bool, device="meta")
    weights = head_weights(28, published=True)
    counted = count_flops(lambda: hawk(query, key, raters, weights, 302))
    assert counted == {"aten.bmm": 2 * 2 * 64 * 1521 * 28 * 128}


def test_numbers_that_are_not_there() -> None:
    query, key = normal(1, 2, 3, 4), normal(1, 2, 5, 4)
    raters = torch.ones(1, 3, dtype=torch.bool)
    with pytest.raises(InvalidInput, match="count 6 is impossible with 5 tokens; give 0 to 5"):
        hawk(query, key, raters, (0.5, 0.5), 6)
    with pytest.raises(InvalidInput, match="weights 3 is impossible"):
        hawk(query, key, raters, (0.5, 0.25, 0.25), 2)
