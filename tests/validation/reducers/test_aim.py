"""AIM's merging and PageRank against loops."""

from __future__ import annotations

import math

import pytest
from loops import attention, normal
from slow_ranked import slow_merge
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.aim import merge_neighbours, page_rank

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("tokens", [1, 2, 9, 16])
@pytest.mark.parametrize("count", [1, 3, 4, 8, 9, 16])
@pytest.mark.parametrize("width", [2, 5])
def test_merging(tokens: int, count: int, width: int) -> None:
    states = normal(3, tokens, 5)
    if count > tokens:
        with pytest.raises(InvalidInput, match=f"frame tokens {count} .* give 1 to {tokens}"):
            merge_neighbours(states, count, width)
        return
    made = merge_neighbours(states, count, width)
    for one in range(3):
        places, rows = slow_merge(states[one].tolist(), count, width)
        assert made.places[one].tolist() == places
        expected = torch.tensor(rows, dtype=torch.float64)
        torch.testing.assert_close(made.states[one], expected, rtol=1e-12, atol=1e-12)


def test_equal_tokens_merge_into_the_first() -> None:
    states = torch.ones(1, 6, 2)
    states[0, :, 1] = torch.arange(6.0)
    made = merge_neighbours(states, 5, width=1)  # the first even token joins the first odd one
    assert made.places.tolist() == [[1, 2, 3, 4, 5]]
    assert made.states[0, :, 1].tolist() == [0.5, 2, 3, 4, 5]
    made = merge_neighbours(states, 3, width=1)
    assert made.places.tolist() == [[1, 3, 5]]
    assert made.states[0, :, 1].tolist() == [(1 + 0 + 2 + 4) / 4, 3, 5]


def test_more_than_six_rounds() -> None:
    with pytest.raises(InvalidInput, match=r"frame tokens 1 is impossible .* give 2 to 65"):
        merge_neighbours(torch.ones(1, 65, 2), 1)
    assert merge_neighbours(torch.ones(1, 64, 2), 1).places.tolist() == [[63]]


@pytest.mark.parametrize("key_heads", [4, 2])
@pytest.mark.parametrize("causal", [True, False])
def test_page_rank(key_heads: int, causal: bool) -> None:
    query, key = normal(2, 4, 7, 6), normal(2, key_heads, 7, 6, seed=1)
    mask = torch.ones(7, 7, dtype=torch.bool).tril() if causal else None
    visual = torch.tensor([[1, 2, 5], [0, 3, 4]])
    made = page_rank(query, key, 0.05, visual, mask)
    for one in range(2):
        # Logits over a temperature of 0.1 are those at ten times the scaling.
        heads = attention(query[one], key[one], 0.5, lambda row, at: at <= row or not causal)
        ranks = []
        for head in heads:
            rank = [1 / 7] * 7
            for _ in range(5):
                rank = [math.fsum(rank[a] * head[a][b] for a in range(7)) for b in range(7)]
            ranks.append(rank)
        for place, token in enumerate(visual[one].tolist()):
            expected = math.sqrt(math.fsum(rank[token] ** 2 for rank in ranks) / 4)
            assert made[one, place].item() == pytest.approx(expected, rel=1e-12)


def test_soft_bound_comes_before_the_temperature() -> None:
    # tanh bounds the logits 3 and 0 to 2·tanh(1.5) = 1.810 and 0: a step goes to the first token
    # with exp(18.10)/(exp(18.10) + 1), wherever it starts.
    query, key = torch.ones(1, 1, 2, 1), torch.tensor([[[[3.0], [0]]]])
    made = page_rank(query.double(), key.double(), 1.0, torch.tensor([[0, 1]]), softcap=2.0)
    weight = math.exp(10 * 2 * math.tanh(1.5))
    assert made[0].tolist() == pytest.approx([weight / (weight + 1), 1 / (weight + 1)], rel=1e-9)


def test_flops() -> None:
    query, key = (
        torch.empty(2, 28, 100, 128, device="meta"),
        torch.empty(2, 4, 100, 128, device="meta"),
    )
    visual = torch.empty(2, 60, dtype=torch.int64, device="meta")
    # 100² of 28 · 128, and five steps of 28 heads
    macs = 100**2 * 28 * 128 + 5 * 28 * 100**2
    assert count_flops(lambda: page_rank(query, key, 0.1, visual)) == {"aten.bmm": 2 * 2 * macs}
    frames = torch.empty(32, 196, 3584, device="meta")
    # 196 → 98 → 49 tokens
    macs = 32 * (98 * 98 + 49 * 49) * 3584
    assert count_flops(lambda: merge_neighbours(frames, 49)) == {"aten.bmm": 2 * macs}
    # 195 → 98 → 50: 98 · 97, and 49 · 49, of which 48 merge
    macs = 32 * (98 * 97 + 49 * 49) * 3584
    counted = count_flops(lambda: merge_neighbours(frames[:, :195], 50))
    assert counted == {"aten.bmm": 2 * macs}
