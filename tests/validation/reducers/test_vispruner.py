"""VisPruner against rounds over lists of tokens."""

from __future__ import annotations

import pytest
from crop_loops import slow_vispruner
from hypothesis import given
from hypothesis import strategies as st
from loops import normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.vispruner import vispruner

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("count", "important"),
    # 37 tokens: rounds that end with 8 and with fewer, at odd and even numbers; one; none
    [(21, 0), (20, 7), (13, 0), (14, 7), (16, 8), (36, 1), (37, 18), (37, 37), (37, 0)],
)
def test_against_loops(count: int, important: int) -> None:
    features, scores = normal(3, 37, 5), normal(3, 37, seed=1)
    kept = vispruner(features, scores, count, important)
    for one in range(3):
        slow = slow_vispruner(features[one].tolist(), scores[one].tolist(), count, important)
        assert kept[one].tolist() == slow
        assert len(slow) == count


#: Of length 2, so that cosines are exact and most are tied.
SIGNS = st.lists(st.sampled_from([-1.0, 1.0]), min_size=4, max_size=4)


@given(st.lists(st.tuples(SIGNS, st.sampled_from([0.0, 1.0])), min_size=1, max_size=30), st.data())
def test_ties_and_duplicates(tokens: list[tuple[list[float], float]], data: st.DataObject) -> None:
    features, scores = [row for row, _ in tokens], [score for _, score in tokens]
    count = data.draw(st.integers((len(tokens) + 1) // 2, len(tokens)))
    important = data.draw(st.integers(0, max(0, count - 8)))
    expected = slow_vispruner(features, scores, count, important)
    for dtype in (torch.float32, torch.bfloat16):
        drawn = torch.tensor([features], dtype=dtype), torch.tensor([scores], dtype=dtype)
        assert vispruner(*drawn, count, important)[0].tolist() == expected


def test_flops_of_llava() -> None:
    features, scores = torch.empty(2, 576, 1024, device="meta"), torch.empty(2, 576, device="meta")
    # 64 by attention; 512 others become 64 in 56 rounds of eight, from 512, 504, … 72 tokens
    macs = 1024 * sum((left // 2) ** 2 for left in range(72, 513, 8))
    counted = count_flops(lambda: vispruner(features, scores, 128, 64))
    assert counted == {"aten.bmm": 2 * 2 * macs}


def test_flops_of_rounds_that_do_not_divide() -> None:
    features, scores = torch.empty(1, 729, 1152, device="meta"), torch.empty(1, 729, device="meta")
    # 665 others become 64: 75 rounds from 665, 657, … 73 tokens, then one that drops 1 of 65
    lengths = [*range(665, 72, -8), 65]
    macs = 1152 * sum(((left + 1) // 2) * (left // 2) for left in lengths)
    counted = count_flops(lambda: vispruner(features, scores, 128, 64))
    assert counted == {"aten.bmm": 2 * macs}


@pytest.mark.parametrize(
    ("count", "important", "sentence"),
    [
        (10, 2, "count 10 is impossible with 9 tokens; give 0 to 9"),
        (4, 5, "important 5 is impossible with 4 tokens; give 0 to 4"),
        (1, 0, "count 1 is too few for a round to drop 8 of 9 tokens; keep more tokens"),
    ],
)
def test_numbers_that_are_not_there(count: int, important: int, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        vispruner(normal(1, 9, 2), normal(1, 9), count, important)
