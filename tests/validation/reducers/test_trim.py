"""TRIM against loops over patches."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loops import best, dot, normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.text_tower import patch_projection
from vlm_tokencost.validation.reducers.trim import question_scores, trim

torch = pytest.importorskip("torch")


def slow_trim(
    states: Any, scores: list[float], shares: list[tuple[int, int]]
) -> tuple[list[list[float]], list[float]]:
    kept, first = [], 0
    for patches, count in shares:
        kept += [first + place for place in best(scores[first : first + patches], count)]
        first += patches
    rows = states.tolist()
    others = [row for place, row in enumerate(rows) if place not in kept]
    mean = [math.fsum(column) / len(others) for column in zip(*others, strict=True)]
    return [rows[place] for place in kept], mean or [0.0] * len(rows[0])


def test_scores_are_negated_products_in_the_joint_space() -> None:
    patches, question = normal(2, 7, 5), normal(2, 1, 768, seed=1)
    matrix = patch_projection(5, "cpu", torch.float64).tolist()
    assert len(matrix) == 768
    made = question_scores(patches, question)
    for request in range(2):
        asked = question[request, 0].tolist()
        for place, patch in enumerate(patches[request].tolist()):
            projected = [dot(row, patch) for row in matrix]
            assert made[request, place].item() == pytest.approx(-dot(projected, asked), rel=1e-12)


@pytest.mark.parametrize(
    "shares",
    [[(12, 5)], [(12, 1)], [(12, 0)], [(12, 12)], [(8, 2), (4, 3)], [(5, 0), (3, 3), (4, 1)]],
    ids=str,
)
def test_against_loops(shares: list[tuple[int, int]]) -> None:
    states, scores = normal(3, 12, 4), normal(3, 12, seed=1)
    kept, mean = trim(states, scores, shares)
    assert mean.shape == (3, 1, 4)
    for one in range(3):
        rows, average = slow_trim(states[one], scores[one].tolist(), shares)
        assert kept[one].tolist() == rows
        assert mean[one, 0].tolist() == pytest.approx(average, rel=1e-12, abs=1e-15)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=12), st.data())
def test_ties(scores: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(scores)))
    states = torch.arange(len(scores), dtype=torch.float32)[None, :, None]
    kept, _ = trim(states, torch.tensor([scores]), [(len(scores), count)])
    assert kept[0, :, 0].tolist() == best(scores, count)


def test_flops_of_llava() -> None:
    patches = torch.empty(1, 576, 1_024, device="meta")
    question = torch.empty(1, 1, 768, device="meta")
    counted = count_flops(lambda: question_scores(patches, question))
    assert sum(counted.values()) == 2 * (576 * 1_024 * 768 + 576 * 768)
    assert count_flops(lambda: trim(patches, patches[:, :, 0], [(576, 121)])) == {}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_narrow_types(dtype: Any) -> None:
    states, scores = normal(2, 9, 4).to(dtype), normal(2, 9, seed=1)
    kept, mean = trim(states, scores, [(9, 4)])
    wide, average = trim(states.float(), scores, [(9, 4)])
    assert kept.dtype == mean.dtype == dtype
    assert torch.equal(kept, wide.to(dtype))
    assert torch.equal(mean, average.to(dtype))


def test_more_than_there_are() -> None:
    with pytest.raises(InvalidInput, match="count 4 is impossible with 3 tokens"):
        trim(torch.zeros(1, 3, 2), torch.zeros(1, 3), [(3, 4)])


def test_images_that_do_not_add_up() -> None:
    with pytest.raises(InvalidInput, match="patches 5 is impossible with 6 tokens"):
        trim(torch.zeros(1, 6, 2), torch.zeros(1, 6), [(3, 1), (2, 1)])
