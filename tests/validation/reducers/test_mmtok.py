"""MMTok against the coverage of every candidate, summed anew in each round."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loops import cosine, first_of_largest, normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.mmtok import coverage, greedy_cover

torch = pytest.importorskip("torch")


def slow_coverage(text: Any, features: Any, states: Any) -> list[list[float]]:
    """Return means of shares by cosines, at 0.02 for text and at 0.2 for visual tokens, halved."""
    rows = []
    for others, one, temperature, weight in (
        (text.tolist(), features.tolist(), 0.02, 1 / len(text)),
        (states.tolist(), states.tolist(), 0.2, 0.5 / len(states)),
    ):
        for other in others:
            raised = [math.exp(cosine(other, visual) / temperature) for visual in one]
            rows.append([weight * value / math.fsum(raised) for value in raised])
    return rows


def slow_cover(covered: list[list[float]], count: int) -> list[int]:
    """Add, round by round, the token with which the sum of each row's best is largest."""
    picks: list[int] = []
    while len(picks) < count:
        sums = [
            -1.0
            if token in picks
            else math.fsum(max(row[pick] for pick in [*picks, token]) for row in covered)
            for token in range(len(covered[0]))
        ]
        picks.append(first_of_largest(sums))
    return picks


def test_coverage() -> None:
    text, features, states = normal(2, 4, 6), normal(2, 5, 6, seed=1), normal(2, 5, 3, seed=2)
    made = coverage(text, features, states)
    assert made.shape == (2, 9, 5)
    for crop in range(2):
        expected = slow_coverage(text[crop], features[crop], states[crop])
        assert made[crop].flatten().tolist() == pytest.approx(list(chain(*expected)), rel=1e-9)
        # all text tokens together count twice as much as all visual ones
        assert made[crop, :4].sum().item() == pytest.approx(1)
        assert made[crop, 4:].sum().item() == pytest.approx(0.5)


@pytest.mark.parametrize("count", [0, 1, 2, 6, 11])
def test_against_loops(count: int) -> None:
    covered = normal(3, 17, 11).abs()
    for made, one in zip(greedy_cover(covered, count), covered, strict=True):
        assert made.tolist() == slow_cover(one.tolist(), count)


#: Sums of these are exact, and many are equal.
EXACT = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=6, max_size=6)


@given(st.lists(EXACT, min_size=1, max_size=5), st.integers(0, 6))
def test_ties(covered: list[list[float]], count: int) -> None:
    made = greedy_cover(torch.tensor([covered]), count)
    assert made.tolist() == [slow_cover(covered, count)]


def test_fewer_picks_are_the_first_of_more() -> None:
    covered = normal(2, 20, 12).abs()
    assert torch.equal(greedy_cover(covered, 4), greedy_cover(covered, 9)[:, :4])


def test_equal_tokens_are_taken_in_order() -> None:
    assert greedy_cover(torch.full((2, 4, 3), 0.5), 3).tolist() == [[0, 1, 2]] * 2


def test_flops_of_llava() -> None:
    text, features, states = (
        torch.empty(2, *shape, device="meta") for shape in ((64, 4_096), (576, 4_096), (576, 1_024))
    )
    counted = count_flops(lambda: coverage(text, features, states))
    assert counted == {"aten.bmm": 2 * 2 * (64 * 4_096 * 576 + 576 * 576 * 1_024)}
    covered = torch.empty(2, 640, 576, device="meta")
    assert count_flops(lambda: greedy_cover(covered, 64)) == {}


def test_more_than_there_are() -> None:
    with pytest.raises(InvalidInput, match="count 4 is impossible with 3 tokens"):
        greedy_cover(torch.ones(1, 2, 3), 4)
