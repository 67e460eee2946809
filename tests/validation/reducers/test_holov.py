"""HoloV against the released rule, followed run by run on lists."""

from __future__ import annotations

import pytest
from crop_loops import holov_score, holov_shares, slow_holov
from hypothesis import given
from hypothesis import strategies as st
from loops import normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.holov import holov, run_lengths, shares

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("count", [1, 15, 16, 40, 70, 85])
def test_against_loops(count: int) -> None:
    # 85 tokens: five runs of six, eleven of five; attention differs enough for runs to fill up
    tokens, attention = normal(3, 85, 4), (2 * normal(3, 85, seed=1)).softmax(dim=1)
    index, filled = holov(tokens, attention, count)
    assert index.shape == filled.shape == (3, count)
    for one in range(3):
        expected = slow_holov(tokens[one].tolist(), attention[one].tolist(), count)
        assert index[one].tolist() == expected + [84] * (count - len(expected))
        assert filled[one].tolist() == [place < len(expected) for place in range(count)]


def test_a_run_that_is_full_leaves_zero_vectors() -> None:
    tokens = normal(1, 32, 4)
    attention = torch.full((1, 32), 1e-6, dtype=torch.float64)
    attention[0, 4:6] = 1  # nearly the whole share goes to a run of two
    index, filled = holov(tokens, attention, 20)
    assert index[0, :2].tolist() == [4, 5]
    assert filled[0].tolist() == [True] * 2 + [False] * 18


@given(st.lists(st.sampled_from([1.0, 2.0, 4.0]), min_size=16, max_size=16), st.integers(1, 100))
def test_shares_with_ties(scores: list[float], count: int) -> None:
    drawn = torch.tensor([scores], dtype=torch.float64)
    found = shares(drawn, count)[0].tolist()
    assert found == holov_shares(scores, count)
    assert sum(found) == count


def test_equal_attention_goes_to_the_lowest_index() -> None:
    tokens, attention = normal(1, 64, 4), torch.full((1, 64), 0.25, dtype=torch.float64)
    index = holov(tokens, attention, 16).kept[0].tolist()
    share = holov_shares(
        [holov_score(tokens[0, r : r + 4].tolist(), [0.25] * 4) for r in range(0, 64, 4)], 16
    )
    assert index == [run * 4 + place for run in range(16) for place in range(share[run])]


def test_flops() -> None:
    tokens, attention = torch.empty(2, 576, 4096, device="meta"), torch.empty(2, 576, device="meta")
    # 16 runs of 36
    counted = count_flops(lambda: holov(tokens, attention, 64))
    assert counted == {"aten.bmm": 2 * 2 * 16 * 36**2 * 4096}
    # 1521 = 16·95 + 1
    tokens, attention = torch.empty(1, 1521, 64, device="meta"), torch.empty(1, 1521, device="meta")
    counted = count_flops(lambda: holov(tokens, attention, 64))
    assert counted == {"aten.bmm": 2 * (15 * 95**2 + 96**2) * 64}


def test_numbers_that_are_not_there() -> None:
    assert sum(run_lengths(1521)) == 1521
    with pytest.raises(InvalidInput, match="visual_tokens 31 make no 16 runs of at least 2"):
        holov(normal(1, 31, 2), normal(1, 31), 4)
    with pytest.raises(InvalidInput, match="count 33 is impossible with 32 tokens; give 0 to 32"):
        holov(normal(1, 32, 2), normal(1, 32), 33)
