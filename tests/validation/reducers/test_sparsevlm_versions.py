"""SparseVLM 1.0's rank and 2.0's corrected heads against loops."""

from __future__ import annotations

import math
from itertools import product

import pytest
from loops import attention, best, normal
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.sparsevlm import rater_scores
from vlm_tokencost.validation.reducers.sparsevlm_versions import (
    mean_over_raters,
    position_bias,
    priority_scores,
    rank,
    relation,
)

torch = pytest.importorskip("torch")

RATERS = [[True, False, True], [False, True, False]]
VISUAL = [1, 2, 4, 5]


@pytest.mark.parametrize(("rows", "columns"), [(3, 7), (7, 3), (5, 5), (1, 6), (6, 1)])
@pytest.mark.parametrize("true_rank", [0, 1, 2, 3, 5])
def test_rank_is_that_of_the_singular_values(rows: int, columns: int, true_rank: int) -> None:
    inner = max(true_rank, 1)
    made = normal(2, rows, inner) @ normal(2, inner, columns, seed=1) * (true_rank > 0)
    expected = min(true_rank, rows, columns)
    assert rank(made).tolist() == [expected] * 2
    assert torch.linalg.matrix_rank(made.float()).tolist() == [expected] * 2


def test_rank_counts_from_the_bound_of_float32_on() -> None:
    # max(3, 4)·2⁻²³ = 4.8e-7
    matrix = torch.zeros(2, 3, 4)
    matrix[:, 0, 0] = 1
    matrix[0, 1, 1], matrix[1, 1, 1] = 6e-7, 4e-7
    assert rank(matrix).tolist() == torch.linalg.matrix_rank(matrix).tolist() == [2, 1]


def test_rows_that_do_not_rate_leave_the_rank() -> None:
    query, key = normal(1, 2, 6, 4), normal(1, 2, 9, 4, seed=1)
    raters = torch.tensor([[True, True, False, False, True, False]])
    seen = relation(query, key, 0.5, raters, torch.arange(8)[None])
    assert rank(seen).tolist() == [3]


def test_relation_and_its_mean() -> None:
    query, key, raters = normal(2, 4, 3, 6), normal(2, 2, 7, 6, seed=1), torch.tensor(RATERS)
    visual = torch.tensor([VISUAL] * 2)
    shown = torch.ones(3, 7, dtype=torch.bool)
    shown[0, 5:] = False
    made = relation(query, key, 0.5, raters, visual, shown)
    for one, row, place in product(range(2), range(3), range(4)):
        heads = attention(query[one], key[one], 0.5, lambda at, to: shown[at, to])
        value = sum(head[row][VISUAL[place]] for head in heads) / 4 * RATERS[one][row]
        assert made[one, row, place].item() == pytest.approx(value, abs=1e-14)
    scores = rater_scores(query, key, 0.5, raters, visual, shown)
    torch.testing.assert_close(mean_over_raters(made, raters), scores, rtol=1e-13, atol=1e-14)


def test_position_bias_of_plain_rotation() -> None:
    # Ones turned by angles a and b have the product 2·Σ cos(a_i − b_i).
    angles = [normal(1, 3, 4), normal(1, 5, 4, seed=1)]
    turned = [torch.cat([one.cos() - one.sin(), one.cos() + one.sin()], dim=-1) for one in angles]
    made = position_bias(*turned)
    for row, column in product(range(3), range(5)):
        offsets = (angles[0][0, row] - angles[1][0, column]).tolist()
        expected = 2 * sum(map(math.cos, offsets)) / math.sqrt(8)
        assert made[0, row, column].item() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("heads", [16, 14, 4])
def test_priority_scores(heads: int) -> None:
    query, key = normal(2, heads, 3, 6), normal(2, 2, 7, 6, seed=1)
    bias = 2 + normal(2, 3, 4, seed=2).abs()
    bias[:, 1] *= -1
    raters, visual = torch.tensor(RATERS), torch.tensor([VISUAL] * 2)
    made = priority_scores(query, key, 0.5, raters, visual, bias)
    for one in range(2):
        who = [row for row in range(3) if RATERS[one][row]]
        rows = [
            [
                [head[row][at] / bias[one, row, place].item() for place, at in enumerate(VISUAL)]
                for row in who
            ]
            for head in attention(query[one], key[one], 0.5)
        ]
        top = best([sum(map(sum, head)) for head in rows], min(heads, 14))
        for place in range(4):
            total = sum(rows[head][row][place] for head in top for row in range(len(who)))
            expected = total / len(top) / len(who)
            assert made[one, place].item() == pytest.approx(expected, abs=1e-14)


def test_equal_heads_go_to_the_lowest_index() -> None:
    # Fourteen heads prefer token 0, the fifteenth token 1 as much: their sums are equal.
    key = torch.tensor([[[[1.0], [0], [0]]] * 14 + [[[0.0], [1], [0]]]])
    one = torch.ones(1, 1, dtype=torch.bool)
    visual = torch.tensor([[0, 1]])
    made = priority_scores(torch.ones(1, 15, 1, 1), key, 1.0, one, visual, torch.ones(1, 1, 2))
    whole = math.e + 2
    assert made.tolist() == [[pytest.approx(math.e / whole), pytest.approx(1 / whole)]]


def test_no_rater_divides_by_a_bias_of_zero() -> None:
    query, key = normal(1, 2, 3, 4), normal(1, 2, 7, 4, seed=1)
    bias = torch.ones(1, 3, 4)
    bias[0, 1] = 0
    made = priority_scores(query, key, 1.0, torch.tensor(RATERS[:1]), torch.tensor([VISUAL]), bias)
    assert made.isfinite().all()


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_flops(device: str) -> None:
    def made(*shape: int) -> object:
        return torch.ones(2, *shape, device=device)

    raters = torch.ones(2, 5, dtype=torch.bool, device=device)
    visual = torch.arange(8).expand(2, -1).to(device)
    # 5 rows · 12 tokens · 16 heads · 8
    macs = 5 * 12 * 16 * 8
    arguments = made(16, 5, 8), made(4, 12, 8), 0.3, raters, visual
    assert count_flops(lambda: relation(*arguments)) == {"aten.bmm": 2 * 2 * macs}
    bias = made(5, 8)
    assert count_flops(lambda: priority_scores(*arguments, bias)) == {"aten.bmm": 2 * 2 * macs}
    # 5 · 8 · 6, and 5 · 8 · 5 or 8 · 5 · 5 whichever side is the longer
    assert count_flops(lambda: position_bias(made(5, 6), made(8, 6))) == {"aten.bmm": 2 * 2 * 240}
    for shape in ((5, 8), (8, 5)):
        matrix = made(*shape)
        assert count_flops(lambda matrix=matrix: rank(matrix)) == {"aten.bmm": 2 * 2 * 200}
