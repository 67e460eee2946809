"""VisionTrim against loops over patches, heads and rounds."""

from __future__ import annotations

import math
from typing import Any

import pytest
from loops import attention, best, cosine, dot, first_of_largest, normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.text_tower import patch_projection
from vlm_tokencost.validation.reducers.visiontrim import (
    attended_scores,
    merge_by_question,
    visiontrim,
)

torch = pytest.importorskip("torch")


def unit(values: list[float]) -> list[float]:
    length = math.sqrt(math.fsum(value * value for value in values))
    return [value / length for value in values]


@pytest.mark.parametrize("class_token", [True, False])
def test_scores(class_token: bool) -> None:
    query, key = normal(2, 3, 7, 4), normal(2, 3, 7, 4, seed=1)
    made = attended_scores(query, key, 0.3, class_token)
    first = int(class_token)
    for crop in range(2):
        heads = attention(query[crop], key[crop], 0.3)
        mean = [
            [math.fsum(head[row][at] for head in heads) / 3 for at in range(7)] for row in range(7)
        ]
        patches = range(first, 7)
        received = unit(
            [math.fsum(mean[row][at] for row in patches if row != at) for at in patches]
        )
        expected = received
        if class_token:
            own = unit([mean[0][at] for at in patches])
            expected = [(one + other) / 2 for one, other in zip(own, received, strict=True)]
        assert made[crop].tolist() == pytest.approx(expected, rel=1e-9)


def slow_merge(others: Any, question: Any, count: int) -> list[list[float]]:
    """Merge by the definition, one patch after the other."""
    matrix = patch_projection(others.shape[1], "cpu", torch.float64).tolist()
    rows, asked = others.tolist(), question.tolist()

    def likeness(state: list[float]) -> list[float]:
        projected = [dot(row, state) for row in matrix]
        return [cosine(projected, token) for token in asked]

    own = [likeness(row) for row in rows]
    chosen = best([math.fsum(one) / len(asked) for one in own], count)
    targets = [rows[place] for place in chosen]
    sources = [place for place in range(len(rows)) if place not in chosen]
    for _ in range(3):
        of_targets = [likeness(target) for target in targets]
        went: list[list[list[float]]] = [[] for _ in targets]
        for place in sources:
            went[first_of_largest([dot(own[place], one) for one in of_targets])].append(rows[place])
        for at, members in enumerate(went):
            if members:
                means = [math.fsum(col) / len(members) for col in zip(*members, strict=True)]
                targets[at] = [a + b for a, b in zip(targets[at], means, strict=True)]
    return targets


@pytest.mark.parametrize("count", [1, 3, 10])
def test_merging(count: int) -> None:
    others, question = normal(2, 10, 5), normal(2, 4, 768, seed=1)
    made = merge_by_question(others, question, count)
    for crop in range(2):
        expected = slow_merge(others[crop], question[crop], count)
        for one, other in zip(made[crop].tolist(), expected, strict=True):
            assert one == pytest.approx(other, rel=1e-9)


def test_a_target_that_none_goes_to_stays() -> None:
    # All patches are alike: the first two are targets, and all others go to the first.
    others = torch.ones(1, 5, 3, dtype=torch.float64)
    made = merge_by_question(others, normal(1, 2, 768), 2)
    assert made.tolist() == [[[4.0] * 3, [1.0] * 3]]  # 1 + 3 rounds of a mean of 1


@pytest.mark.parametrize(("kept", "merged"), [(1, 1), (4, 3), (12, 0), (0, 12), (5, 7)])
def test_kept_and_merged(kept: int, merged: int) -> None:
    states, scores, question = normal(2, 12, 5), normal(2, 12, seed=1), normal(2, 3, 768, seed=2)
    made, places = visiontrim(states, scores, question, kept, merged)
    for crop in range(2):
        chosen = best(scores[crop].tolist(), kept)
        assert places[crop].tolist() == chosen
        assert made[crop, :kept].tolist() == states[crop, chosen].tolist()
        others = [place for place in range(12) if place not in chosen]
        expected = slow_merge(states[crop, others], question[crop], merged) if merged else []
        for one, other in zip(made[crop, kept:].tolist(), expected, strict=True):
            assert one == pytest.approx(other, rel=1e-9)


def test_ties_go_to_the_lowest_index() -> None:
    states = normal(1, 6, 3)
    _, places = visiontrim(states, torch.ones(1, 6), normal(1, 2, 768), 3, 0)
    assert places.tolist() == [[0, 1, 2]]


def test_flops_of_llava() -> None:
    query = torch.empty(2, 16, 577, 64, device="meta")
    counted = count_flops(lambda: attended_scores(query, query, 0.1, True))
    assert counted == {"aten.bmm": 2 * 2 * 577 * 577 * 1_024}
    others, question = (torch.empty(2, *one, device="meta") for one in ((528, 1_024), (64, 768)))
    counted = count_flops(lambda: merge_by_question(others, question, 16))
    once = 528 * 1_024 * 768 + 528 * 768 * 64
    in_a_round = 16 * 1_024 * 768 + 16 * 768 * 64 + 512 * 64 * 16
    assert sum(counted.values()) == 2 * 2 * (once + 3 * in_a_round)


def test_more_than_there_are() -> None:
    states, question = torch.zeros(1, 5, 2), torch.zeros(1, 1, 768)
    with pytest.raises(InvalidInput, match="count 6 is impossible with 5 tokens"):
        visiontrim(states, torch.zeros(1, 5), question, 6, 0)
    with pytest.raises(InvalidInput, match="merged 3 is impossible with 2 tokens"):
        visiontrim(states, torch.zeros(1, 5), question, 3, 3)
