"""SCOPE against a greedy loop that sums the coverage of every candidate set anew."""

from __future__ import annotations

import pytest
from diverse_loops import slow_scope
from hypothesis import given
from hypothesis import strategies as st
from loops import normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.scope import scope

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("count", [0, 1, 2, 5, 12])
def test_against_loops(count: int) -> None:
    features, attention = normal(3, 12, 4), normal(3, 12, seed=1).softmax(dim=1)
    kept = scope(features, attention, count)
    for sequence in range(3):
        expected = slow_scope(features[sequence].tolist(), attention[sequence].tolist(), count)
        assert kept[sequence].tolist() == expected


#: Of length 2, so that cosines are exact and most gains are tied.
SIGNS = st.lists(st.sampled_from([-1.0, 1.0]), min_size=4, max_size=4)


@given(st.lists(SIGNS, min_size=1, max_size=12), st.data())
def test_ties(features: list[list[float]], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(features)))
    weights = st.lists(
        st.sampled_from([0.0, 0.25, 0.5]), min_size=len(features), max_size=len(features)
    )
    attention = data.draw(weights)
    kept = scope(torch.tensor([features]), torch.tensor([attention]), count)
    assert kept[0].tolist() == slow_scope(features, attention, count)


def test_equal_tokens_keep_the_first() -> None:
    assert scope(torch.ones(2, 6, 4), torch.ones(2, 6), 3).tolist() == [[0, 1, 2]] * 2
    assert scope(torch.zeros(2, 6, 4), torch.ones(2, 6), 3).tolist() == [[0, 1, 2]] * 2


def test_flops_of_llava() -> None:
    features = torch.empty(2, 576, 1024, device="meta")
    attention = torch.empty(2, 576, device="meta")
    # 2 · 2 sequences · 576² · 1024, whatever is kept
    for count in (32, 64):
        counted = count_flops(lambda count=count: scope(features, attention, count))
        assert counted == {"aten.bmm": 1_358_954_496}


def test_more_than_there_are() -> None:
    with pytest.raises(InvalidInput, match="count 4 is impossible with 3 tokens"):
        scope(torch.zeros(1, 3, 2), torch.zeros(1, 3), 4)
