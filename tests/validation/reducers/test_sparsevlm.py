"""SparseVLM's raters, scores and recycling against loops."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loops import Row, attention, best, dot, normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.sparsevlm import cluster, rater_scores, raters, recycle

torch = pytest.importorskip("torch")


def slow_raters(visual: list[Row], text: list[Row]) -> list[bool]:
    relevance = [0.0] * len(text)
    for one in visual:
        weights = [math.exp(dot(one, word)) for word in text]
        for at, weight in enumerate(weights):
            relevance[at] += weight / sum(weights) / len(visual)
    above = [value > sum(relevance) / len(text) for value in relevance]
    return above if any(above) else [True] * len(text)


def slow_cluster(tokens: list[Row], clusters: int) -> list[int]:
    everyone, width = range(len(tokens)), len(tokens[0])
    squared = [
        [sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) / width for other in tokens]
        for one in tokens
    ]
    distance = [[math.sqrt(value) for value in row] for row in squared]
    spread = [sum(sorted(row)[:clusters]) / clusters for row in squared]
    worth = []
    for i in everyone:
        denser = [j for j in everyone if (spread[j], j) < (spread[i], i)]
        separation = min((distance[i][j] for j in denser), default=max(map(max, distance)))
        worth.append(separation * math.exp(-spread[i]))
    centres = best(worth, clusters)
    return [
        centres.index(i)
        if i in centres
        else min(range(clusters), key=lambda at: (distance[centres[at]][i], at))
        for i in everyone
    ]


@pytest.mark.parametrize(("images", "words"), [(9, 6), (1, 6), (9, 2)])
def test_raters(images: int, words: int) -> None:
    visual, text = normal(5, images, 4), normal(5, words, 4, seed=1)
    made = raters(visual, text)
    assert made.dtype == torch.bool
    expected = [slow_raters(visual[one].tolist(), text[one].tolist()) for one in range(5)]
    assert made.tolist() == expected


@pytest.mark.parametrize("words", [1, 2, 3, 7, 10])
def test_equal_words_all_rate(words: int) -> None:
    assert raters(normal(2, 5, 4), torch.ones(2, words, 4, dtype=torch.float64)).all()


def test_large_products_do_not_overflow() -> None:
    visual = torch.full((1, 3, 4), 200.0, dtype=torch.float16)
    text = torch.tensor([[[200.0] * 4, [-200.0] * 4, [199.0] * 4]], dtype=torch.float16)
    assert raters(visual, text).tolist() == [[True, False, False]]


@pytest.mark.parametrize("key_heads", [4, 1])
def test_rater_scores(key_heads: int) -> None:
    # Text before and after the visual tokens 2 … 7, and a causal mask.
    words = [0, 1, 8, 9, 10]
    query, key = normal(2, 4, 5, 6), normal(2, key_heads, 11, 6, seed=1)
    chosen = torch.tensor([[True, False, True, False, True], [False, False, False, True, False]])
    visual = torch.arange(2, 8).expand(2, 6)
    shown = torch.arange(11)[None, :] <= torch.tensor(words)[:, None]
    made = rater_scores(query, key, 0.5, chosen, visual, shown)
    for one in range(2):
        heads = attention(query[one], key[one], 0.5, lambda row, at: at <= words[row])
        who = [row for row in range(5) if chosen[one, row]]
        for place, at in enumerate(range(2, 8)):
            total = sum(head[row][at] for head, row in product(heads, who))
            assert made[one, place].item() == pytest.approx(total / 4 / len(who), abs=1e-14)


def test_one_word_scores_as_it_attends() -> None:
    query, key = normal(1, 2, 1, 4), normal(1, 2, 6, 4, seed=1)
    chosen = torch.ones(1, 1, dtype=torch.bool)
    made = rater_scores(query, key, 1.0, chosen, torch.tensor([[3, 1]]))
    heads = attention(query[0], key[0], 1.0)
    expected = [(heads[0][0][at] + heads[1][0][at]) / 2 for at in (3, 1)]
    # float64 sums in another order: 1e-14 is some 50 units in the last place of 1
    assert made[0].tolist() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("tokens", [1, 2, 12, 30])
@pytest.mark.parametrize("clusters", [1, 2, 4, 12])
def test_cluster(tokens: int, clusters: int) -> None:
    points = normal(3, tokens, 5).float() + 1_000  # so far out, squares cancel
    if clusters > tokens:
        with pytest.raises(InvalidInput, match=rf"clusters {clusters} .* give 1 to {tokens}"):
            cluster(points, clusters)
        return
    made = cluster(points, clusters)
    for one in range(3):
        assert made[one].tolist() == slow_cluster(points[one].tolist(), clusters)


#: A grid of width 4, so that distances are exact and many of them tied.
GRID = st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=4, max_size=4)


@given(st.lists(GRID, min_size=1, max_size=12), st.data())
def test_cluster_ties_and_duplicates(points: list[list[float]], data: st.DataObject) -> None:
    clusters = data.draw(st.integers(1, len(points)))
    expected = slow_cluster(points, clusters)
    assert sorted(set(expected)) == list(range(clusters)), "no cluster is empty"
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        assert cluster(torch.tensor([points], dtype=dtype), clusters)[0].tolist() == expected


def test_equal_tokens_cluster_around_the_first() -> None:
    # All distances are 0: the first two are the centres, and the others join the first.
    assert cluster(torch.ones(1, 6, 3), 2).tolist() == [[0, 1, 0, 0, 0, 0]]


def test_two_clouds() -> None:
    left = normal(6, 3) / 100
    points = torch.stack([*left[:3], *(left[3:] + 1)])[None]
    assert cluster(points, 2).tolist() == [[0, 0, 0, 1, 1, 1]]


@pytest.mark.parametrize(("recycled", "clusters"), [(9, 3), (12, 1), (4, 4)])
def test_recycle_is_a_matrix(recycled: int, clusters: int) -> None:
    states, scores = normal(3, 16, 6), normal(3, 16, seed=1)
    kept = torch.tensor([[0, 3, 4, 11], [0, 1, 2, 3], [12, 13, 14, 15]])
    made = recycle(states, scores, kept, recycled, clusters)
    for one in range(3):
        dropped = [token for token in range(16) if token not in kept[one].tolist()]
        top = best([scores[one, token].item() for token in dropped], recycled)
        chosen = [dropped[at] for at in top]
        groups = slow_cluster(states[one, chosen].tolist(), clusters)
        matrix = torch.zeros(clusters, 16, dtype=torch.float64)
        for token, group in zip(chosen, groups, strict=True):
            matrix[group, token] = 1 / groups.count(group)
        torch.testing.assert_close(made[one], matrix @ states[one], rtol=1e-12, atol=1e-12)


def test_equal_scores_recycle_the_first_of_the_dropped() -> None:
    states = torch.arange(8.0)[None, :, None]
    made = recycle(states, torch.ones(1, 8), torch.tensor([[1, 2]]), 3, 1)
    assert made.item() == pytest.approx((0 + 3 + 4) / 3)


def test_more_than_was_dropped() -> None:
    states, scores = normal(1, 8, 2), normal(1, 8)
    with pytest.raises(InvalidInput, match="recycled 7 is impossible with 6 tokens"):
        recycle(states, scores, torch.tensor([[1, 2]]), 7, 1)


def test_flops_of_llava() -> None:
    states, scores = torch.empty(1, 576, 4096, device="meta"), torch.empty(1, 576, device="meta")
    kept = torch.empty(1, 300, dtype=torch.int64, device="meta")
    text = torch.empty(1, 64, 4096, device="meta")
    # 2 · 576 · 64 · 4096, and 2 · 83² · 4096 for the tokens that become 9
    assert count_flops(lambda: raters(states, text)) == {"aten.bmm": 301_989_888}
    counted = count_flops(lambda: recycle(states, scores, kept, 83, 9))
    assert counted == {"aten.bmm": 56_434_688}
    assert recycle(states, scores, kept, 83, 9).shape == (1, 9, 4096)
