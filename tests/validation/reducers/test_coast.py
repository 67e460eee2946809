"""COAST against loops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loops import attention, normal
from slow_ranked import slow_coast, slow_entropy
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.coast import anchors, coast, entropy, text_attention

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(("count", "many"), [(1, 1), (2, 1), (5, 4), (128, 102), (192, 153)])
def test_anchors(count: int, many: int) -> None:
    assert anchors(count) == many


@pytest.mark.parametrize("count", [1, 2, 3, 6, 20, 59, 60])
def test_coast(count: int) -> None:
    states = normal(3, 60, 5)
    largest, last = normal(3, 60, seed=1).abs(), normal(3, 60, seed=2).abs()
    largest[2] = largest[2] ** 12  # concentrated
    made = coast(states, largest, last, count)
    for one in range(3):
        rows = [tensor[one].tolist() for tensor in (states, largest, last)]
        assert made[one].tolist() == slow_coast(*rows, count)


def test_the_context_grows_with_entropy() -> None:
    states = normal(1, 300, 5)
    last = normal(1, 300, seed=2)
    flat, peaked = torch.ones(1, 300), torch.zeros(1, 300)
    peaked[0, 0] = 1
    # 110 kept: 22 are no anchors; ⌊22·0.15⌋ = 3 and ⌊22·0.05⌋ = 1 of them are unlike the anchors
    spread, narrow = coast(states, flat, last, 110), coast(states, peaked, last, 110)
    for made, scores in ((spread, flat), (narrow, peaked)):
        rows = states[0].tolist(), scores[0].tolist(), last[0].tolist()
        assert made[0].tolist() == slow_coast(*rows, 110)
    assert not torch.equal(spread, narrow)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=9))
def test_entropy(scores: list[float]) -> None:
    if not sum(scores):
        scores = [1.0, *scores]
    made = entropy(torch.tensor([scores], dtype=torch.float64))
    assert made.item() == pytest.approx(min(1, slow_entropy(scores)), abs=1e-12)


def test_equal_tokens_stay_in_order() -> None:
    # four anchors, and of places left one, which is the context's: the last of equal tokens
    ones = torch.ones(1, 20)
    assert coast(torch.ones(1, 20, 3), ones, ones, 5).tolist() == [[0, 1, 2, 3, 19]]


def test_text_attention() -> None:
    query, key = normal(2, 4, 3, 6), normal(2, 2, 8, 6, seed=1)
    visual = torch.tensor([[1, 2, 5], [0, 3, 4]])
    shown = torch.ones(3, 8, dtype=torch.bool)
    shown[0, 4:] = False
    largest, last = text_attention(query, key, 0.5, visual, shown)
    for one in range(2):
        heads = attention(query[one], key[one], 0.5, lambda row, at: shown[row, at])
        rows = [[sum(head[row][at] for head in heads) / 4 for at in range(8)] for row in range(3)]
        for place, at in enumerate(visual[one].tolist()):
            assert largest[one, place].item() == pytest.approx(max(row[at] for row in rows))
            assert last[one, place].item() == pytest.approx(rows[2][at])


@pytest.mark.parametrize("count", [0, 61])
def test_more_than_there_are(count: int) -> None:
    with pytest.raises(InvalidInput, match=rf"count {count} is impossible .* give 1 to 60"):
        coast(normal(1, 60, 5), torch.ones(1, 60), torch.ones(1, 60), count)


def test_flops_of_llava() -> None:
    states, scores = torch.empty(1, 576, 4096, device="meta"), torch.empty(1, 576, device="meta")
    # 576 − 102 candidates against 102 anchors and the reference's mean
    macs = (576 - 102) * (102 + 1) * 4096
    assert count_flops(lambda: coast(states, scores, scores, 128)) == {"aten.bmm": 2 * macs}
    query, key = (
        torch.empty(1, 32, 64, 128, device="meta"),
        torch.empty(1, 32, 640, 128, device="meta"),
    )
    visual = torch.empty(1, 576, dtype=torch.int64, device="meta")
    counted = count_flops(lambda: text_attention(query, key, 0.1, visual))
    assert counted == {"aten.bmm": 2 * 64 * 640 * 4096}
