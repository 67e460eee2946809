"""DART against pivots that pick one after another from a shrinking list."""

from __future__ import annotations

import pytest
from diverse_loops import slow_dart
from hypothesis import given
from hypothesis import strategies as st
from loops import normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.dart import dart, key_lengths

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("count", [4, 5, 12, 13, 19, 24])
def test_against_loops(count: int) -> None:
    visual, text = normal(3, 24, 6), normal(3, 9, 6, seed=1)
    lengths = [normal(3, size, seed=2).abs() for size in (24, 9)]
    kept = dart(visual, text, *lengths, count)
    for sequence in range(3):
        arguments = [one[sequence].tolist() for one in (visual, text, *lengths)]
        assert kept[sequence].tolist() == slow_dart(*arguments, count)  # type: ignore[arg-type]


#: Of length 2, so that cosines are exact and most of them are tied.
SIGNS = st.lists(st.sampled_from([-1.0, 1.0]), min_size=4, max_size=4)


@given(
    st.lists(SIGNS, min_size=4, max_size=14),
    st.lists(SIGNS, min_size=4, max_size=6),
    st.data(),
)
def test_ties(visual: list[list[float]], text: list[list[float]], data: st.DataObject) -> None:
    count = data.draw(st.integers(4, len(visual)))
    lengths = [
        data.draw(st.lists(st.sampled_from([1.0, 2.0]), min_size=size, max_size=size))
        for size in (len(visual), len(text))
    ]
    tensors = [torch.tensor([one]) for one in (visual, text, *lengths)]
    kept = dart(*tensors, count)[0].tolist()
    assert kept == slow_dart(visual, text, *lengths, count)


def test_lengths_of_keys() -> None:
    key = normal(2, 3, 5, 4)
    for sequence in range(2):
        expected = [
            sum(abs(value) for head in key[sequence].tolist() for value in head[place])
            for place in range(5)
        ]
        assert key_lengths(key)[sequence].tolist() == pytest.approx(expected, rel=1e-14)


def test_flops_of_llava() -> None:
    visual, text, one, other = (
        torch.empty(2, *shape, device="meta") for shape in ((576, 4096), (64, 4096), (576,), (64,))
    )
    # 2 · 2 sequences · 8 pivots · 576 · 4096, whatever is kept
    for count in (64, 192):
        counted = count_flops(lambda count=count: dart(visual, text, one, other, count))
        assert counted == {"aten.bmm": 75_497_472}


@pytest.mark.parametrize(
    ("visual", "text", "count", "sentence"),
    [
        (9, 4, 3, "count 3 is impossible with 9 tokens; give 4 to 9"),
        (9, 4, 10, "count 10 is impossible with 9 tokens; give 4 to 9"),
        (9, 3, 5, "text_tokens 3 leaves DART without its 4 text pivots; give at least 4"),
    ],
)
def test_what_cannot_be(visual: int, text: int, count: int, sentence: str) -> None:
    tensors = [torch.zeros(1, *shape) for shape in ((visual, 5), (text, 5), (visual,), (text,))]
    with pytest.raises(InvalidInput, match=sentence):
        dart(*tensors, count)
