"""HiRED against loops over crops."""

from __future__ import annotations

import pytest
from crop_loops import slow_hired
from hypothesis import given
from hypothesis import strategies as st
from loops import normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.hired import crop_shares, hired

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("whole", [0, 3])
@pytest.mark.parametrize("count", [1, 2, 11, 24, 40, 47, 48])
def test_against_loops(count: int, whole: int) -> None:
    early, late = normal(5, 12), normal(5, 4, 12, seed=1)
    kept = hired(early, late, whole, count)
    for one in range(5):
        assert kept[one].tolist() == slow_hired(
            early[one].tolist(), late[one].tolist(), whole, count
        )


@given(st.integers(1, 4), st.integers(2, 9), st.data())
def test_ties(crops: int, tokens: int, data: st.DataObject) -> None:
    levels = st.sampled_from([0.0, 1.0])
    early = data.draw(st.lists(levels, min_size=tokens, max_size=tokens))
    flat = data.draw(st.lists(levels, min_size=crops * tokens, max_size=crops * tokens))
    count, whole = data.draw(st.integers(1, crops * tokens)), data.draw(st.integers(0, crops - 1))
    late = [flat[crop * tokens : (crop + 1) * tokens] for crop in range(crops)]
    kept = hired(torch.tensor([early]), torch.tensor([late]), whole, count)
    assert kept[0].tolist() == slow_hired(early, late, whole, count)


def test_shares_by_hand() -> None:
    # Of 12 tokens the six of highest score are 0, 1, 2, 3, 4 and 11: runs of four have 4, 1 and 1.
    early = torch.tensor([[9.0, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 9]])
    assert crop_shares(early, 3, 11).tolist() == [[7, 1, 1]]  # ⌊44/6⌋, ⌊11/6⌋, ⌊11/6⌋


def test_a_full_crop_leaves_its_tokens_to_others() -> None:
    early = torch.tensor([[1.0, 1, 0, 0]])  # all that counts is in the first part
    late = torch.tensor([[[1.0, 2, 3, 4], [1, 2, 3, 4], [7, 8, 5, 6]]])
    # 5 of the whole image's 4, then 6 for the first part's 4: the third's best two
    assert hired(early, late, 0, 10).tolist() == [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]


def test_no_products_and_bad_counts() -> None:
    early, late = torch.empty(1, 576, device="meta"), torch.empty(1, 5, 576, device="meta")
    assert count_flops(lambda: hired(early, late, 0, 576)) == {}
    assert hired(early, late, 0, 576).shape == (1, 576)
    with pytest.raises(InvalidInput, match="count 49 is impossible with 48 tokens; give 0 to 48"):
        hired(normal(1, 12), normal(1, 4, 12), 0, 49)
