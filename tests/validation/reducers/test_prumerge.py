"""LLaVA-PruMerge against loops over the tokens of a crop."""

from __future__ import annotations

import pytest
from crop_loops import slow_prumerge
from hypothesis import given
from hypothesis import strategies as st
from loops import normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.prumerge import merge, outliers, outliers_and_grid

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("tokens", [40, 20])  # more and fewer than 32 others
@pytest.mark.parametrize("kept", [0, 1, 7, "all"])
def test_merging_against_loops(tokens: int, kept: int | str) -> None:
    count = tokens if kept == "all" else int(kept)
    states, keys = normal(2, tokens, 3), normal(2, tokens, 4, seed=1)
    scores = normal(2, tokens, seed=2).softmax(dim=1)
    chosen = outliers(scores, count)
    merged = merge(states, scores, keys, chosen)
    assert merged.shape == (2, count + 1, 3)
    for one in range(2):
        expected = slow_prumerge(
            states[one].tolist(), scores[one].tolist(), keys[one].tolist(), chosen[one].tolist()
        )
        # float64 sums in another order
        torch.testing.assert_close(
            merged[one], torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12
        )


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=40), st.data())
def test_choosing_with_ties(scores: list[float], data: st.DataObject) -> None:
    tokens = range(len(scores))
    count = data.draw(st.integers(0, len(scores)))
    ranked = sorted(tokens, key=lambda token: -scores[token])
    drawn = torch.tensor([scores])
    assert outliers(drawn, count)[0].tolist() == ranked[:count]
    best = ranked[: count // 4]
    rest = [token for token in tokens if token not in best]
    samples = count - count // 4
    grid = [rest[index * len(rest) // samples] for index in range(samples)]
    assert outliers_and_grid(drawn, count)[0].tolist() == best + grid
    assert len(set(best + grid)) == count


def test_equal_cosines_go_to_the_lowest_index() -> None:
    # 33 others of equal keys: the last of them is not taken in
    states = torch.ones(1, 34, 1)
    scores = torch.ones(1, 34)
    states[0, 33] = 1000
    merged = merge(states, scores, torch.ones(1, 34, 2), torch.tensor([[0]]))
    assert merged[0, :, 0].tolist() == [1 + 32, 32 + 1000]


def test_flops_of_llava() -> None:
    states, keys = (torch.empty(2, 576, 1024, device="meta") for _ in range(2))
    scores = torch.empty(2, 576, device="meta")
    # 31 kept patches, each against the 575 others
    kept = outliers(scores, 31)
    assert count_flops(lambda: merge(states, scores, keys, kept)) == {
        "aten.bmm": 2 * 2 * 31 * 575 * 1024
    }


@pytest.mark.parametrize("choose", [outliers, outliers_and_grid])
def test_numbers_that_are_not_there(choose: object) -> None:
    with pytest.raises(InvalidInput, match="count 6 is impossible with 5 tokens; give 0 to 5"):
        choose(normal(1, 5), 6)  # type: ignore[operator]
