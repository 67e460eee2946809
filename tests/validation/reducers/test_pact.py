"""PACT against loops."""

from __future__ import annotations

import math
from typing import Any

import pytest
from loops import attention, cosine, normal
from slow_ranked import slow_pact
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.pact import centres, cluster, importance, survivors

torch = pytest.importorskip("torch")


def drawn(tokens: int, seed: int = 0) -> tuple[Any, Any, Any]:
    return (
        normal(3, tokens, 6, seed=seed),
        normal(3, tokens, seed=seed + 1),
        normal(3, tokens, 3, seed=seed + 2),
    )


@pytest.mark.parametrize(("tokens", "left"), [(20, 11), (40, 22), (60, 33), (576, 316), (1, 0)])
def test_survivors(tokens: int, left: int) -> None:
    assert survivors(tokens) == left


@pytest.mark.parametrize("key_heads", [4, 2])
def test_importance(key_heads: int) -> None:
    query, key, states = normal(2, 4, 1, 6), normal(2, key_heads, 9, 6, seed=1), normal(2, 9, 5)
    made = importance(query, key, 0.5, states)
    for one in range(2):
        heads = attention(query[one], key[one], 0.5)
        for token in range(9):
            length = math.sqrt(sum(value**2 for value in states[one, token].tolist()))
            expected = sum(head[0][token] for head in heads) / 4 * length
            assert made[one, token].item() == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("cutoff", [0.0, 0.1, 0.5, 1.0, 2.5])
@pytest.mark.parametrize("count", [1, 4, 11])
def test_cluster(cutoff: float, count: int) -> None:
    states, scores, keys = drawn(20)
    made = cluster(states, scores, keys, count, cutoff)
    lost = []
    for one in range(3):
        rows = [tensor[one].tolist() for tensor in (states, scores, keys)]
        chosen, means, sizes = slow_pact(*rows, count, cutoff)
        assert made.centres[one].tolist() == chosen
        assert made.sizes[one].tolist() == sizes
        torch.testing.assert_close(
            made.states[one], torch.tensor(means, dtype=torch.float64), rtol=1e-12, atol=1e-12
        )
        lost.append(20 - sum(sizes))
    if cutoff == 2.5:  # no distance exceeds 2
        assert lost == [0] * 3
    elif count == 1:
        assert min(lost) > 0


def test_the_densest_others_fill_the_number() -> None:
    # Token 1, between 0 and 3, is the densest; 2 is on the far side, and 3 on its own.
    keys = [[1.0, 0], [1, 0.1], [1, -0.1], [0, 1]]
    distance = torch.tensor([[[1 - cosine(one, other) for other in keys] for one in keys]])
    assert centres(distance, 1, 2.0).tolist() == [[1]]
    assert centres(distance, 2, 2.0).tolist() == [[0, 1]]
    # 3 is 1 − 0.1/√1.01 = 0.9 from 1, the others less than 0.02
    assert centres(distance, 2, 0.5).tolist() == [[1, 3]]


def test_equal_tokens_go_to_the_lowest_index() -> None:
    states = torch.arange(20.0)[None, :, None]
    made = cluster(states, torch.ones(1, 20), torch.ones(1, 20, 4), 2)
    assert made.centres.tolist() == [[0, 1]]
    # The second stays on its own: all others, dropped ones too, join the first.
    assert made.sizes.tolist() == [[19, 1]]
    assert made.states[0, :, 0].tolist() == [pytest.approx((190 - 1) / 19), 1]


@pytest.mark.parametrize("count", [0, 12])
def test_more_than_survive(count: int) -> None:
    states, scores, keys = drawn(20)
    with pytest.raises(InvalidInput, match=rf"clusters {count} .* give 1 to 11"):
        cluster(states, scores, keys, count)


def test_flops_of_llava() -> None:
    states, scores = torch.empty(1, 576, 4096, device="meta"), torch.empty(1, 576, device="meta")
    # 316² · 4096 between survivors, and 260 dropped ones against 165 centres
    macs = 316**2 * 4096 + 260 * 165 * 4096
    counted = count_flops(lambda: cluster(states, scores, states, 165))
    assert counted == {"aten.bmm": 2 * macs}
    query, key = (
        torch.empty(1, 32, 1, 128, device="meta"),
        torch.empty(1, 32, 576, 128, device="meta"),
    )
    counted = count_flops(lambda: importance(query, key, 0.1, states))
    assert counted == {"aten.bmm": 2 * 576 * 4096}
