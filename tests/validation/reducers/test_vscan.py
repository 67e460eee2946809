"""VScan's scans and merging against loops over windows and tokens."""

from __future__ import annotations

import pytest
from crop_loops import merged_into_nearest, slow_vscan
from hypothesis import given
from hypothesis import strategies as st
from loops import normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.vscan import merge_rest, vscan

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("rows", "columns", "count"),
    # a window has one token, or two, or as many as there are; none; uneven windows; keep all
    [(8, 8, 32), (8, 8, 64), (8, 8, 31), (8, 8, 1), (7, 9, 40), (3, 60, 170), (4, 4, 16)],
)
def test_against_loops(rows: int, columns: int, count: int) -> None:
    deep, shallow = normal(3, rows * columns), normal(3, rows * columns, seed=1)
    kept = vscan(deep, shallow, (rows, columns), count)
    for one in range(3):
        expected = slow_vscan(deep[one].tolist(), shallow[one].tolist(), rows, columns, count)
        assert kept[one].tolist() == expected


def test_the_released_setting_by_hand() -> None:
    # 96 of 24×24: 3 of each of 16 windows of 6×6, and 48 globally
    shallow = torch.zeros(1, 576)
    corners = [row * 24 + column for row in (0, 6, 12, 18) for column in (0, 6, 12, 18)]
    shallow[0, corners] = 1
    deep = torch.zeros(1, 576)
    deep[0, 576 - 48 :] = 1
    # the corner and, at no score, its two right neighbours; the last window's are none of the 48
    windows = {corner + step for corner in corners for step in range(3)}
    assert set(vscan(deep, shallow, (24, 24), 96)[0].tolist()) == windows | set(range(528, 576))


@given(st.integers(4, 9), st.integers(4, 9), st.data())
def test_ties(rows: int, columns: int, data: st.DataObject) -> None:
    tokens = rows * columns
    scores = st.lists(st.sampled_from([0.0, 1.0]), min_size=tokens, max_size=tokens)
    deep, shallow = data.draw(scores), data.draw(scores)
    count = data.draw(st.integers(1, tokens))
    kept = vscan(torch.tensor([deep]), torch.tensor([shallow]), (rows, columns), count)
    assert kept[0].tolist() == slow_vscan(deep, shallow, rows, columns, count)


@pytest.mark.parametrize("kept", [[0], [3, 4, 9], list(range(12))], ids=len)
def test_merging_against_loops(kept: list[int]) -> None:
    tokens = normal(2, 12, 5)
    merged = merge_rest(tokens, torch.tensor([kept] * 2))
    for one in range(2):
        expected = torch.tensor(
            merged_into_nearest(tokens[one].tolist(), kept), dtype=torch.float64
        )
        torch.testing.assert_close(merged[one], expected, rtol=1e-12, atol=1e-12)


def test_cosines_of_a_part() -> None:
    tokens = torch.tensor([[[2.0, 0, 5], [0, 2, 7], [0, 4, 9]]])
    merged = merge_rest(tokens, torch.tensor([[0, 1]]), tokens[..., :1] + 1)
    # by the first column alone, 3, 1 and 1, all cosines are 1
    assert merged.tolist() == [[[1, 2, 7], [0, 2, 7]]]


def test_equal_cosines_go_to_the_first() -> None:
    tokens = torch.tensor([[[2.0, 0], [4, 0], [0, 2], [6, 0]]])
    # token 3 is as much like token 0 as like token 1
    assert merge_rest(tokens, torch.tensor([[0, 1, 2]])).tolist() == [[[4, 0], [4, 0], [0, 2]]]


def test_flops_and_bad_counts() -> None:
    tokens, scores = torch.empty(2, 576, 4096, device="meta"), torch.empty(2, 576, device="meta")
    kept = vscan(scores, scores, (24, 24), 96)
    # the 480 others against 96, in each of two crops
    counted = count_flops(lambda: merge_rest(tokens, kept))
    assert counted == {"aten.bmm": 2 * 2 * 480 * 96 * 4096}
    assert count_flops(lambda: vscan(scores, scores, (24, 24), 96)) == {}
    with pytest.raises(InvalidInput, match="count 17 is impossible with 16 tokens; give 0 to 16"):
        vscan(normal(1, 16), normal(1, 16), (4, 4), 17)
