"""DivPrune against a greedy loop that searches all picks again at every step."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loops import Row, cosine, first_of_largest, normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.divprune import divprune

torch = pytest.importorskip("torch")


def slow_divprune(features: list[Row], count: int) -> list[int]:
    everyone = range(len(features))
    distance = [[1 - cosine(features[i], features[j]) for j in everyone] for i in everyone]
    picks: list[int] = []
    while len(picks) < count:
        among = [[j for j in picks or everyone if j != i] for i in everyone]
        nearest = [
            -9.0 if i in picks else min((distance[i][j] for j in among[i]), default=0.0)
            for i in everyone
        ]
        picks.append(first_of_largest(nearest))
    return sorted(picks)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 12])
def test_against_loops(count: int) -> None:
    features = normal(3, 12, 5)
    for kept, one in zip(divprune(features, count), features, strict=True):
        assert kept.tolist() == slow_divprune(one.tolist(), count)


#: Of length 2, so that cosines are exact and most distances are tied.
SIGNS = st.lists(st.sampled_from([-1.0, 1.0]), min_size=4, max_size=4)


@given(st.lists(SIGNS, min_size=1, max_size=12), st.data())
def test_ties_and_duplicates(features: list[list[float]], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(features)))
    expected = slow_divprune(features, count)
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        assert divprune(torch.tensor([features], dtype=dtype), count)[0].tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_the_lower_of_two_that_are_each_others_nearest_is_first(dtype: Any) -> None:
    # A narrow bundle, and two tokens far from it that are equally far from one another.
    features = normal(60, 30, 5).to(dtype) / 100
    features[:, :, 0] += 1
    features[:, (11, 27)] = normal(60, 2, 5, seed=1).to(dtype) / 5
    features[:, (11, 27), 0] -= 1
    assert divprune(features, 1).tolist() == [[11]] * 60


@pytest.mark.parametrize("value", [1.0, 0.0])
def test_equal_features_keep_the_first(value: float) -> None:
    features = torch.full((2, 6, 4), value)
    assert divprune(features, 4).tolist() == [[0, 1, 2, 3]] * 2
    assert divprune(features, 6).tolist() == [[0, 1, 2, 3, 4, 5]] * 2


def test_length_does_not_matter() -> None:
    features = normal(1, 20, 6)
    scaled = features * 2.0 ** torch.arange(20)[None, :, None]
    assert torch.equal(divprune(scaled, 7), divprune(features, 7))


def test_more_than_there_are() -> None:
    with pytest.raises(InvalidInput, match="count 4 is impossible with 3 tokens"):
        divprune(torch.zeros(1, 3, 2), 4)


def test_flops_of_llava() -> None:
    features = torch.empty(1, 576, 4096, device="meta")
    # 2 · 576² · 4096, whatever is kept
    for count in (56, 288):
        counted = count_flops(lambda count=count: divprune(features, count))
        assert counted == {"aten.bmm": 2_717_908_992}
