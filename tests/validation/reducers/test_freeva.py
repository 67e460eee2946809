"""FreeVA's three ways against loops."""

from __future__ import annotations

import pytest
from loops import normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.freeva import freeva

torch = pytest.importorskip("torch")


def test_all() -> None:
    frames = normal(2, 3, 5, 4)
    made, each = freeva(frames, 15)
    assert torch.equal(made, frames.flatten(1, 2)) and each == 1


@pytest.mark.parametrize("tokens", [6, 7])
def test_maxima_of_pairs(tokens: int) -> None:
    frames = normal(2, 3, tokens, 4)
    made, each = freeva(frames, 9)
    expected = [
        [
            [max(float(one[f, 2 * i, c]), float(one[f, 2 * i + 1, c])) for c in range(4)]
            for f in range(3)
            for i in range(3)
        ]
        for one in frames
    ]
    assert (made.tolist(), each) == (expected, 2)


def test_the_mean_over_frames() -> None:
    frames = normal(2, 3, 5, 4)
    made, each = freeva(frames, 5)
    torch.testing.assert_close(made, (frames[:, 0] + frames[:, 1] + frames[:, 2]) / 3)
    assert each == 1


@pytest.mark.parametrize("count", [15, 6, 5])
def test_no_products_and_shapes_alone(count: int) -> None:
    frames = torch.empty(2, 3, 5, 4, dtype=torch.bfloat16, device="meta")
    found = []
    assert count_flops(lambda: found.append(freeva(frames, count)[0])) == {}
    assert (found[0].shape, found[0].dtype) == ((2, count, 4), torch.bfloat16)


@pytest.mark.parametrize("count", [0, 4, 7, 16])
def test_other_amounts(count: int) -> None:
    sentence = f"compressed {count} is no way to aggregate 3 frames of 5 tokens; give 15, 6 or 5"
    with pytest.raises(InvalidInput, match=sentence):
        freeva(normal(1, 3, 5, 4), count)
