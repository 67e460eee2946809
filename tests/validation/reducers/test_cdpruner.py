"""CDPruner against determinants of every candidate's submatrix."""

from __future__ import annotations

import math
from typing import Any

import pytest
from loops import cosine, dot, first_of_largest, normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.cdpruner import (
    conditional_kernel,
    greedy_determinant,
    relevance,
)
from vlm_tokencost.validation.reducers.text_tower import patch_projection

torch = pytest.importorskip("torch")


def slow_picks(kernel: Any, count: int) -> list[int]:
    """Add, round by round, the token that makes the determinant of the chosen largest."""
    picks: list[int] = []
    while len(picks) < count:
        found = [
            -math.inf
            if token in picks
            else torch.linalg.det(kernel[[*picks, token]][:, [*picks, token]]).item()
            for token in range(len(kernel))
        ]
        picks.append(first_of_largest(found))
    return sorted(picks)


@pytest.mark.parametrize("segments", [1, 3])
def test_relevance(segments: int) -> None:
    patches, question = normal(2, 6, 5), normal(2, segments, 768, seed=1)
    matrix = patch_projection(5, "cpu", torch.float64).tolist()
    made = relevance(patches, question)
    for request in range(2):
        projected = [[dot(row, patch) for row in matrix] for patch in patches[request].tolist()]
        asked = question[request].tolist()
        raw = [-math.fsum(cosine(one, text) for text in asked) / segments for one in projected]
        spread = max(raw) - min(raw)
        expected = [(one - min(raw) + 1e-6) / spread for one in raw]
        assert made[request].tolist() == pytest.approx(expected, rel=1e-9)


def test_equal_patches_are_equally_relevant() -> None:
    made = relevance(torch.ones(1, 4, 5), normal(1, 1, 768).float())
    assert made.tolist() == [[1.0] * 4]


def test_kernel() -> None:
    features, relevant = normal(2, 5, 3), normal(2, 5, seed=1).abs()
    made = conditional_kernel(features, relevant)
    for crop in range(2):
        rows, weights = features[crop].tolist(), relevant[crop].tolist()
        expected = [
            weights[one] * cosine(rows[one], rows[other]) * weights[other]
            for one in range(5)
            for other in range(5)
        ]
        assert made[crop].flatten().tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 9])
def test_against_determinants(count: int) -> None:
    rows = normal(4, 9, 12)  # more numbers than tokens: no determinant is zero
    kernel = rows @ rows.mT
    for made, one in zip(greedy_determinant(kernel, count), kernel, strict=True):
        assert made.tolist() == slow_picks(one, count)


def test_ties_go_to_the_lowest_index() -> None:
    # Tokens at right angles, of lengths 1, 2, 1, 2, 1: the determinant is the product of squares.
    kernel = torch.diag(torch.tensor([1.0, 4.0, 1.0, 4.0, 1.0]))[None]
    expected = {1: [1], 2: [1, 3], 3: [0, 1, 3], 4: [0, 1, 2, 3]}
    for count, picks in expected.items():
        assert greedy_determinant(kernel, count).tolist() == [picks]


def test_duplicates_come_last() -> None:
    features = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    kernel = conditional_kernel(features, torch.ones(1, 3))
    assert greedy_determinant(kernel, 2).tolist() == [[0, 2]]
    assert greedy_determinant(kernel, 3).tolist() == [[0, 1, 2]]


def test_more_tokens_than_dimensions() -> None:
    features = normal(2, 12, 3)
    kernel = conditional_kernel(features, torch.ones(2, 12, dtype=torch.float64))
    made = greedy_determinant(kernel, 12)
    assert made.tolist() == [list(range(12))] * 2  # nothing is chosen twice, nor is anything NaN


def test_flops_of_llava() -> None:
    features = torch.empty(1, 576, 4_096, device="meta")
    relevant = torch.empty(1, 576, device="meta")
    counted = count_flops(lambda: conditional_kernel(features, relevant))
    assert counted == {"aten.bmm": 2 * 576 * 576 * 4_096}
    kernel = torch.empty(2, 576, 576, device="meta")
    counted = count_flops(lambda: greedy_determinant(kernel, 128))
    # behind choice i the factor has i rows, and behind the last none is added: 0 + 1 + … + 126
    assert counted == {"aten.bmm": 2 * 2 * 576 * 8_001}
    patches, question = (
        torch.empty(1, *shape, device="meta") for shape in ((576, 1_024), (2, 768))
    )
    counted = count_flops(lambda: relevance(patches, question))
    assert sum(counted.values()) == 2 * (576 * 1_024 * 768 + 576 * 768 * 2)


def test_more_than_there_are() -> None:
    with pytest.raises(InvalidInput, match="count 4 is impossible with 3 tokens"):
        greedy_determinant(torch.eye(3)[None], 4)
