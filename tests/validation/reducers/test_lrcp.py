"""LRCP against numpy's singular vectors, and against merging in loops."""

from __future__ import annotations

import pytest
from diverse_loops import slow_lrcp, slow_residuals
from loops import normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.lrcp import lrcp, residuals

torch = pytest.importorskip("torch")
#: Fewer tokens than channels, as many, and more.
SHAPES = [(9, 14), (12, 12), (20, 7)]


@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_residuals(count: int, width: int) -> None:
    tokens = normal(3, count, width) + 2
    found = residuals(tokens)
    for sequence in range(3):
        expected = slow_residuals(tokens[sequence])
        assert found[sequence].tolist() == pytest.approx(expected, rel=1e-9)


def test_tokens_of_a_subspace_leave_nothing() -> None:
    tokens = normal(1, 30, 4) @ normal(1, 4, 9) + normal(9)
    assert float(residuals(tokens).max()) < 1e-24 * float(tokens.square().sum())
    tokens[0, 17] += normal(9, seed=2)
    assert int(residuals(tokens).argmax()) == 17


@pytest.mark.parametrize("kept_of_12", [1, 3, 7, 12])
def test_merging_against_loops(kept_of_12: int) -> None:
    tokens = normal(3, 12, 8)
    kept, merged = lrcp(tokens, kept_of_12)
    for sequence in range(3):
        residual = slow_residuals(tokens[sequence])
        expected = slow_lrcp(tokens[sequence].tolist(), residual, kept_of_12)
        assert kept[sequence].tolist() == sorted(expected)
        for place, row in zip(kept[sequence].tolist(), merged[sequence].tolist(), strict=True):
            assert row == pytest.approx(expected[place], rel=1e-12)


def test_equal_tokens() -> None:
    kept, merged = lrcp(torch.ones(2, 6, 4), 2)
    assert kept.tolist() == [[0, 1]] * 2  # nothing is left of any, and the lowest come first
    assert merged.tolist() == [[[1.0] * 4] * 2] * 2


@pytest.mark.parametrize(
    ("tokens", "width", "macs"),
    [
        # 576² · 4096, 2 · 4 · 576 · 4096, and (576 − 64) · 64 · 4096
        (576, 4096, 1_358_954_496 + 18_874_368 + 134_217_728),
        # 5000 · 3584², 2 · 4 · 5000 · 3584, and (5000 − 64) · 64 · 3584
        (5000, 3584, 64_225_280_000 + 143_360_000 + 1_132_199_936),
    ],
)
def test_flops(tokens: int, width: int, macs: int) -> None:
    states = torch.empty(2, tokens, width, device="meta")
    assert count_flops(lambda: lrcp(states, 64)) == {"aten.bmm": 2 * 2 * macs}


@pytest.mark.parametrize("count", [0, 4])
def test_what_cannot_be(count: int) -> None:
    with pytest.raises(InvalidInput, match=f"count {count} is impossible with 3 tokens"):
        lrcp(torch.zeros(1, 3, 2), count)
