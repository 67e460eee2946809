"""TokenCarve against numpy's singular values, and against sets that merge in loops."""

from __future__ import annotations

import pytest
from diverse_loops import slow_contributions, slow_fused, slow_tokencarve
from hypothesis import given
from hypothesis import strategies as st
from loops import normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.tokencarve import contributions, fused, tokencarve

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(("tokens", "width"), [(9, 14), (12, 12), (20, 7)])
def test_contributions(tokens: int, width: int) -> None:
    states = normal(3, tokens, width) + 1
    found = contributions(states)
    for sequence in range(3):
        expected = slow_contributions(states[sequence])
        assert found[sequence].tolist() == pytest.approx(expected, rel=1e-9)


@given(
    st.integers(1, 9).flatmap(
        lambda size: st.tuples(
            *[st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=size, max_size=size)] * 2
        )
    )
)
def test_fused_ranks(scores: tuple[list[float], list[float]]) -> None:
    found = fused(*(torch.tensor([one]) for one in scores))
    assert found[0].tolist() == slow_fused(*scores)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 11])
def test_against_loops(count: int) -> None:
    states, attention = normal(3, 16, 9), normal(3, 16, seed=1).softmax(dim=1)
    kept, made = tokencarve(states, attention, count)
    for sequence in range(3):
        expected = slow_tokencarve(
            states[sequence].tolist(),
            attention[sequence].tolist(),
            slow_contributions(states[sequence]),
            count,
        )
        assert kept[sequence].tolist() == sorted(expected)
        for place, row in zip(kept[sequence].tolist(), made[sequence].tolist(), strict=True):
            assert row == pytest.approx(expected[place], rel=1e-12)


def test_equal_tokens() -> None:
    kept, made = tokencarve(torch.zeros(2, 6, 3), torch.zeros(2, 6), 3)
    # The first four are the best, and the fourth or third, equally near, goes: the better ranked.
    assert kept.tolist() == [[0, 1, 3]] * 2
    assert made.tolist() == [[[0.0] * 3] * 3] * 2


@pytest.mark.parametrize(
    ("tokens", "width", "count", "macs"),
    [
        # 576² · 4096, and 96 · 96 · 4096 of 192
        (576, 4096, 128, 1_358_954_496 + 37_748_736),
        # 5000 · 3584² twice, and 47 · 47 · 3584 of ⌊1.5 · 63⌋ = 94
        (5000, 3584, 63, 2 * 64_225_280_000 + 7_917_056),
    ],
)
def test_flops(tokens: int, width: int, count: int, macs: int) -> None:
    states = torch.empty(2, tokens, width, device="meta")
    attention = torch.empty(2, tokens, device="meta")
    counted = count_flops(lambda: tokencarve(states, attention, count))
    assert counted == {"aten.bmm": 2 * 2 * macs}


@pytest.mark.parametrize("count", [0, 6])
def test_what_cannot_be(count: int) -> None:
    # 9 of 8 tokens would be merged to 6
    with pytest.raises(InvalidInput, match=f"count {count} is impossible with 5 tokens"):
        tokencarve(torch.zeros(1, 8, 2), torch.zeros(1, 8), count)
