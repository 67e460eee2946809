"""Choosing, gathering and adding rows, rows of attention."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loops import attention, best, normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers import common

torch = pytest.importorskip("torch")

#: Few values, so that most scores are tied.
TIED = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=40)


@given(TIED, st.data())
def test_top_and_other_indices(scores: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(scores)))
    expected = best(scores, count)
    top = common.top_indices(torch.tensor([scores, [-1.0, *scores[1:]]]), count)
    assert top.dtype == torch.int64
    assert top[0].tolist() == expected
    assert top[1].tolist() == best([-1.0, *scores[1:]], count)
    others = common.other_indices(top, len(scores))
    assert others[0].tolist() == [i for i in range(len(scores)) if i not in expected]


def test_ties_go_to_the_lowest_index_in_long_rows() -> None:
    assert common.top_indices(torch.ones(1, 5_000), 100)[0].tolist() == list(range(100))


@pytest.mark.parametrize("count", [-1, 4])
def test_a_count_that_is_not_there(count: int) -> None:
    with pytest.raises(InvalidInput, match=rf"count {count} is impossible .*; give 0 to 3"):
        common.top_indices(torch.zeros(2, 3), count)


@pytest.mark.parametrize("shape", [(), (3,), (3, 2)], ids=str)
def test_take(shape: tuple[int, ...]) -> None:
    rows, index = normal(2, 5, *shape), torch.tensor([[4, 0, 0], [1, 2, 3]])
    taken = common.take(rows, index)
    for sequence in range(2):
        for place in range(3):
            assert torch.equal(taken[sequence, place], rows[sequence, index[sequence, place]])


def test_add_rows_repeats() -> None:
    target, rows = normal(2, 4, 3), normal(2, 50, 3, seed=1)
    index = torch.randint(0, 4, (2, 50), generator=torch.Generator().manual_seed(0))
    before, expected = target.clone(), target.clone()
    for sequence in range(2):
        for row in range(50):
            expected[sequence, index[sequence, row]] += rows[sequence, row]
    assert torch.equal(common.add_rows(target, index, rows), expected), "summed in this order"
    assert torch.equal(target, before)
    assert count_flops(lambda: common.add_rows(target, index, rows)) == {}


def test_means_of_groups() -> None:
    rows = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [7.0, 8.0]]])
    means = common.mean_rows(torch.tensor([[2, 2, 0]]), rows, 3)
    assert means.tolist() == [[[7.0, 8.0], [0.0, 0.0], [2.0, 4.0]]]


def test_inner_products_are_symmetric() -> None:
    rows = normal(3, 37, 19).float()
    products = common.inner_products(rows)
    assert torch.equal(products, products.mT)
    torch.testing.assert_close(products, (rows[:, :, None] * rows[:, None]).sum(-1))


def test_unit_keeps_zeros() -> None:
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float16)
    assert common.unit(rows).tolist() == torch.tensor([[0.6, 0.8], [0.0, 0.0]]).tolist()
    assert common.unit(rows).dtype == torch.float32
    assert common.unit(normal(2, 3)).dtype == torch.float64


def close(made: Any, expected: Any) -> None:
    torch.testing.assert_close(made, torch.tensor(expected, dtype=made.dtype), rtol=0, atol=1e-12)


@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_attention_rows(key_heads: int) -> None:
    query, key = normal(2, 4, 3, 5), normal(2, key_heads, 7, 5, seed=1)
    close(
        common.attention_rows(query, key, 0.4),
        [attention(query[sequence], key[sequence], 0.4) for sequence in range(2)],
    )


def test_masked_attention_rows() -> None:
    query, key = normal(2, 4, 3, 5), normal(2, 2, 7, 5, seed=1)
    shown = torch.arange(7)[None, :] <= torch.tensor([[1], [4], [6]])
    expected = [
        attention(query[sequence], key[sequence], 0.4, lambda row, at: bool(shown[row, at]))
        for sequence in range(2)
    ]
    added = torch.zeros(3, 7).masked_fill(~shown, torch.finfo(torch.float32).min)
    for mask in (shown, shown[None, None], added[None, None], added.half().expand(2, 1, 3, 7)):
        close(common.attention_rows(query, key, 0.4, mask), expected)


def test_a_row_that_sees_nothing_is_a_number() -> None:
    query, key = normal(1, 2, 1, 4), normal(1, 2, 5, 4)
    blind = common.attention_rows(query, key, 1.0, torch.zeros(1, 1, 1, 5, dtype=torch.bool))
    close(blind, [[[[0.2] * 5]] * 2])


def test_half_precision_softmax_is_float32() -> None:
    query = torch.full((1, 1, 1, 64), 40.0, dtype=torch.float16)
    key = torch.stack([torch.full((64,), 40.0), torch.full((64,), 39.0)]).half()[None, None]
    # 64·40·40 = 102,400 overflows float16; the second product is 2,560 lower: e⁻²⁵⁶⁰ = 0
    assert common.attention_rows(query, key, 1.0).tolist() == [[[[1.0, 0.0]]]]
