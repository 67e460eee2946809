"""VisionZip against loops, and its contextual tokens against the matrix that they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loops import Row, attention, best, cosine, first_of_largest, normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.visionzip import (
    Zipped,
    class_token_scores,
    received_scores,
    visionzip,
)

torch = pytest.importorskip("torch")


def slow_groups(
    scores: list[float], keys: list[Row], dominant: int, contextual: int, class_token: bool
) -> tuple[list[int], list[list[int]]]:
    """Return the dominant tokens, and for each contextual one its target and what it absorbs."""
    tokens = range(len(scores))
    first = [0] if class_token else []
    among = [token for token in tokens if token not in first]
    chosen = best([scores[token] for token in among], dominant - len(first))
    kept = first + [among[at] for at in chosen]
    remaining = [token for token in tokens if token not in kept]
    if contextual == 0:
        return kept, []
    targets = remaining[:: max(1, len(remaining) // contextual)][:contextual]
    groups = [[target] for target in targets]
    for token in remaining:
        if token not in targets:
            likeness = [cosine(keys[token], keys[target]) for target in targets]
            groups[first_of_largest(likeness)].append(token)
    return kept, groups


def slow_matrix(kept: list[int], groups: list[list[int]], tokens: int) -> Any:
    """Return W, such that W·X are the tokens that come out."""
    matrix = torch.zeros(len(kept) + len(groups), tokens, dtype=torch.float64)
    for row, token in enumerate(kept):
        matrix[row, token] = 1
    for row, (target, *absorbed) in enumerate(groups, start=len(kept)):
        matrix[row, target] = 1
        for token in absorbed:
            matrix[row, token] = 1 / len(absorbed)
    return matrix


def groups_of(zipped: Zipped, one: int) -> list[list[int]]:
    """Return the groups of one sequence as the rule reports them."""
    groups = [[target] for target in zipped.targets[one].tolist()]
    for token, group in zip(
        zipped.sources[one].tolist(), zipped.assignment[one].tolist(), strict=True
    ):
        groups[group].append(token)
    return groups


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize(
    ("dominant", "contextual"),
    [(5, 3), (5, 4), (1, 1), (1, 15), (9, 8), (12, 5), (5, 7), (6, 0), (17, 0), (16, 1)],
    ids=str,
)
def test_against_loops_and_the_matrix(dominant: int, contextual: int, class_token: bool) -> None:
    states, scores, keys = normal(3, 17, 6), normal(3, 17, seed=1), normal(3, 17, 4, seed=2)
    zipped = visionzip(states, scores, keys, dominant, contextual, class_token)
    assert zipped.tokens.shape == (3, dominant + contextual, 6)
    for one in range(3):
        kept, groups = slow_groups(
            scores[one].tolist(), keys[one].tolist(), dominant, contextual, class_token
        )
        assert zipped.dominant[one].tolist() == kept
        assert groups_of(zipped, one) == groups
        dense = slow_matrix(kept, groups, 17) @ states[one]
        torch.testing.assert_close(zipped.tokens[one], dense, rtol=1e-12, atol=1e-12)
        assert torch.equal(zipped.tokens[one, :dominant], states[one, kept])


#: Of length 2, so that cosines are exact and most similarities are tied.
SIGNS = st.lists(st.sampled_from([-1.0, 1.0]), min_size=4, max_size=4)


@given(
    st.lists(st.tuples(SIGNS, st.sampled_from([0.0, 1.0])), min_size=2, max_size=14),
    st.booleans(),
    st.data(),
)
def test_ties_and_duplicates(
    tokens: list[tuple[list[float], float]], class_token: bool, data: st.DataObject
) -> None:
    keys, scores = [key for key, _ in tokens], [score for _, score in tokens]
    dominant = data.draw(st.integers(1, len(tokens)))
    contextual = data.draw(st.integers(0, len(tokens) - dominant))
    kept, groups = slow_groups(scores, keys, dominant, contextual, class_token)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        key, score = torch.tensor([keys], dtype=dtype), torch.tensor([scores], dtype=dtype)
        zipped = visionzip(key, score, key, dominant, contextual, class_token)
        assert zipped.dominant[0].tolist() == kept
        assert groups_of(zipped, 0) == groups
        assert zipped.tokens.dtype == dtype


def test_a_target_that_nothing_resembles_stays_as_it_is() -> None:
    states = torch.tensor([[[9.0], [1.0], [2.0], [4.0], [8.0]]])
    keys = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]])
    zipped = visionzip(states, torch.tensor([[1.0, 0, 0, 0, 0]]), keys, 1, 2, class_token=False)
    # Of tokens 1, 2, 3, 4 the targets are 1 and 3; 2 and 4 resemble 1: 1 + (2 + 8)/2
    assert zipped.tokens[0, :, 0].tolist() == [9, 6, 4]


def test_the_class_token_stays_whatever_it_scores() -> None:
    states, keys = torch.arange(5.0)[None, :, None], torch.ones(1, 5, 2)
    scores = torch.tensor([[-7.0, 1.0, float("inf"), 3.0, 2.0]])
    before = scores.clone()
    assert visionzip(states, scores, keys, 3, 1, class_token=True).dominant.tolist() == [[0, 2, 3]]
    assert torch.equal(scores, before)
    assert visionzip(states, scores, keys, 1, 0, class_token=True).tokens.tolist() == [[[0.0]]]


@pytest.mark.parametrize(
    ("dominant", "contextual", "sentence"),
    [
        (0, 2, "dominant 0 is impossible .*; give 1 to 5"),
        (6, 0, "dominant 6 is impossible .*; give 1 to 5"),
        (3, 3, "contextual 3 is impossible .*; give 0 to 2"),
    ],
)
def test_numbers_that_are_not_there(dominant: int, contextual: int, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        visionzip(normal(1, 5, 2), normal(1, 5), normal(1, 5, 2), dominant, contextual, True)


@pytest.mark.parametrize("key_heads", [4, 2])
def test_class_token_scores(key_heads: int) -> None:
    query, key = normal(2, 4, 1, 5), normal(2, key_heads, 9, 5, seed=1)
    scores = class_token_scores(query, key, 0.5)
    for one in range(2):
        heads = attention(query[one], key[one], 0.5)
        expected = [sum(head[0][at] for head in heads) for at in range(9)]
        # float64 sums in another order: 1e-14 is some 50 units in the last place of 1
        assert scores[one].tolist() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("rows_at_once", [1, 4, 9, 512])
def test_received_scores(rows_at_once: int) -> None:
    query, key = normal(2, 4, 9, 5), normal(2, 2, 9, 5, seed=1)
    scores = received_scores(query, key, 0.5, rows_at_once)
    for one in range(2):
        heads = attention(query[one], key[one], 0.5)
        expected = [sum(row[at] for head in heads for row in head) / 9 for at in range(9)]
        # float64 sums in another order: 1e-14 is some 50 units in the last place of 1
        assert scores[one].tolist() == pytest.approx(expected, abs=1e-14)
        assert sum(scores[one].tolist()) == pytest.approx(4), "each head hands out 1 per query"


def test_flops_of_llava() -> None:
    states, keys = torch.empty(1, 577, 1024, device="meta"), torch.empty(1, 577, 64, device="meta")
    scores = torch.empty(1, 577, device="meta")
    # 576 − 53 patches remain beside the class token: 2 · (523 − 10) · 10 · 64
    counted = count_flops(lambda: visionzip(states, scores, keys, 54, 10, class_token=True))
    assert counted == {"aten.bmm": 656_640}
    assert visionzip(states, scores, keys, 54, 10, class_token=True).tokens.shape == (1, 64, 1024)


def test_flops_of_siglip_scores() -> None:
    query = torch.empty(2, 16, 729, 72, device="meta")
    # 2 · 2 crops · 729² · 16 heads · 72, in blocks of 512 and 217 rows
    assert count_flops(lambda: received_scores(query, query, 0.1)) == {"aten.bmm": 2_448_880_128}
