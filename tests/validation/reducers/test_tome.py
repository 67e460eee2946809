"""ToMe against loops, and merging against the matrix that it is."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loops import Row, best, cosine, first_of_largest, normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.tome import match, merge, proportional_bias, tome

torch = pytest.importorskip("torch")


def slow_groups(metric: list[Row], merged: int, class_token: bool) -> list[list[int]]:
    """Return, for every token that comes out, the tokens that it is made of."""
    even, odd = list(range(0, len(metric), 2)), list(range(1, len(metric), 2))
    similarity = [[cosine(metric[a], metric[b]) for b in odd] for a in even]
    partner = [first_of_largest(row) for row in similarity]
    score = [max(row) for row in similarity]
    if class_token:
        score[0] = -math.inf
    leaving = best(score, merged)
    groups = [[even[a]] for a in range(len(even)) if a not in leaving]
    into = {b: [token] for b, token in enumerate(odd)}
    for a in leaving:
        into[partner[a]].append(even[a])
    return groups + list(into.values())


def slow_matrix(groups: list[list[int]], sizes: list[float]) -> list[list[float]]:
    """Return W, such that W·X are the weighted means of the groups."""
    made = []
    for group in groups:
        total = sum(sizes[token] for token in group)
        made.append([sizes[at] / total if at in group else 0.0 for at in range(len(sizes))])
    return made


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize(("tokens", "merged"), [(13, 4), (13, 6), (12, 5), (3, 1), (12, 1)])
def test_against_loops_and_the_matrix(tokens: int, merged: int, class_token: bool) -> None:
    states, metric = normal(3, tokens, 7), normal(3, tokens, 4, seed=1)
    sizes = torch.randint(1, 9, (3, tokens), generator=torch.Generator().manual_seed(2)).float()
    made, totals = tome(states, sizes, metric, merged, class_token)
    assert made.dtype == torch.float64 and totals.dtype == torch.float32
    for one in range(3):
        groups = slow_groups(metric[one].tolist(), merged, class_token)
        matrix = torch.tensor(slow_matrix(groups, sizes[one].tolist()), dtype=torch.float64)
        torch.testing.assert_close(made[one], matrix @ states[one], rtol=1e-12, atol=1e-12)
        assert totals[one].tolist() == [sum(sizes[one, group].tolist()) for group in groups]
    assert torch.equal(totals.sum(1), sizes.sum(1))


@pytest.mark.parametrize("class_token", [True, False])
def test_merging_the_identity_gives_the_matrix(class_token: bool) -> None:
    metric, sizes = normal(1, 15, 4), torch.arange(1.0, 16)[None]
    matching = match(metric, 6, class_token)
    matrix, _ = merge(torch.eye(15, dtype=torch.float64)[None], sizes, matching)
    groups = slow_groups(metric[0].tolist(), 6, class_token)
    expected = torch.tensor(slow_matrix(groups, sizes[0].tolist()), dtype=torch.float64)
    torch.testing.assert_close(matrix[0], expected, rtol=0, atol=1e-15)
    states = normal(1, 15, 3, seed=5)
    dense = matrix @ states
    torch.testing.assert_close(merge(states, sizes, matching)[0], dense, rtol=1e-12, atol=1e-12)


#: Of length 2, so that cosines are exact and most similarities are tied.
SIGNS = st.lists(st.sampled_from([-1.0, 1.0]), min_size=4, max_size=4)


@given(st.lists(SIGNS, min_size=2, max_size=14), st.booleans(), st.data())
def test_ties_and_duplicates(
    metric: list[list[float]], class_token: bool, data: st.DataObject
) -> None:
    merged = data.draw(st.integers(0, (len(metric) - class_token) // 2))
    groups = slow_groups(metric, merged, class_token)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        matching = match(torch.tensor([metric], dtype=dtype), merged, class_token)
        leaving = [at for group in groups for at in group[1:]]
        assert sorted(2 * at for at in matching.merged[0].tolist()) == sorted(leaving)
        partners = matching.partner[0].tolist()
        for at, partner in zip(matching.merged[0].tolist(), partners, strict=True):
            assert [2 * partner + 1] == [group[0] for group in groups if 2 * at in group]


def test_equal_tokens_merge_in_order_into_the_first() -> None:
    # 0 is the class token; 2 and 4 are the first even ones, 1 the first odd one.
    states, sizes = torch.arange(9.0).double()[None, :, None], torch.ones(1, 9)
    made, totals = tome(states, sizes, torch.ones(1, 9, 4), 2, class_token=True)
    assert made[0, :, 0].tolist() == [0, 6, 8, (1 + 2 + 4) / 3, 3, 5, 7]
    assert totals.tolist() == [[1, 1, 1, 3, 1, 1, 1]]


def test_the_class_token_never_merges() -> None:
    metric = torch.ones(1, 7, 2)  # the class token is like every other
    for merged in range(1, 4):
        assert 0 not in match(metric, merged, class_token=True).merged
    assert match(metric, 3, class_token=False).merged.tolist() == [[0, 1, 2]]


def test_nothing_to_merge() -> None:
    states, sizes, metric = normal(2, 5, 3), torch.ones(2, 5), normal(2, 5, 4)
    made = tome(states, sizes, metric, 0, class_token=True)
    assert made[0] is states and made[1] is sizes
    assert count_flops(lambda: tome(states, sizes, metric, 0, class_token=True)) == {}


@pytest.mark.parametrize(
    ("tokens", "class_token", "limit"), [(9, True, 4), (8, True, 3), (8, False, 4), (1, True, 0)]
)
def test_more_than_can_merge(tokens: int, class_token: bool, limit: int) -> None:
    with pytest.raises(InvalidInput, match=rf"merged .* is impossible .*; give 0 to {limit}"):
        match(torch.zeros(1, tokens, 2), limit + 1, class_token)


def test_block_after_block_gives_the_mean_of_all_it_stands_for() -> None:
    states, sizes = torch.eye(21, dtype=torch.float64)[None], torch.ones(1, 21)
    for block in range(3):
        metric = normal(1, states.shape[1], 4, seed=block)
        states, sizes = tome(states, sizes, metric, 4, class_token=True)
    # Of each row of W the entries are 0 or one over the number of tokens merged.
    assert torch.equal((states > 0).sum(2), sizes.long())
    torch.testing.assert_close(states.amax(2), 1 / sizes.double(), rtol=1e-12, atol=0)
    assert sizes.sum() == 21 and sizes.shape == (1, 9)


def test_many_tokens_into_one_do_not_lose_precision() -> None:
    # 300 ones and one 2 in bfloat16: 302/301 rounds to 1; a bfloat16 sum would stop at 256.
    metric, states = torch.ones(1, 600, 2).bfloat16(), torch.ones(1, 600, 1).bfloat16()
    states[0, 1] = 2
    made, totals = tome(states, torch.ones(1, 600), metric, 300, class_token=False)
    assert totals[0, 0] == 301 and made[0, 0] == 1 and made.dtype == torch.bfloat16


def test_proportional_bias() -> None:
    bias = proportional_bias(torch.tensor([[1.0, 3.0, 2.0]]))
    assert bias.shape == (1, 1, 1, 3)
    # Equal products: the softmax divides attention as the sizes do.
    assert bias.softmax(-1).flatten().tolist() == pytest.approx([1 / 6, 3 / 6, 2 / 6])


def test_flops_of_clip() -> None:
    states, sizes = torch.empty(1, 577, 1024, device="meta"), torch.empty(1, 577, device="meta")
    metric = torch.empty(1, 577, 64, device="meta")
    # 2 · 289 · 288 · 64
    counted = count_flops(lambda: tome(states, sizes, metric, 16, class_token=True))
    assert counted == {"aten.bmm": 10_653_696}
