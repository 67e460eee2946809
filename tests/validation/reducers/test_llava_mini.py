"""LLaVA-Mini's resampler and pre-fusion against loops, with the modules' own weights."""

from __future__ import annotations

import math
from typing import Any

import pytest
from loops import normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.llava_mini import (
    Resampler,
    connected,
    image_places,
    pre_fused,
    sine_positions,
)

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def without_gradients() -> Any:
    with torch.no_grad():
        yield


@pytest.mark.parametrize(("side", "width"), [(1, 8), (3, 8), (2, 10)])
def test_sines_against_loops(side: int, width: int) -> None:
    """The first half tells the column, the second the row, each sines before cosines."""
    quarter = width // 4
    expected = []
    for row in range(side):
        for column in range(side):
            token = []
            for place in (column, row):
                angles = [place / 10_000 ** (4 * i / width) for i in range(quarter)]
                token += [math.sin(angle) for angle in angles]
                token += [math.cos(angle) for angle in angles]
            expected.append(token + [0.0] * (width - 4 * quarter))
    torch.testing.assert_close(
        sine_positions(side, width), torch.tensor(expected), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("side", [1, 2])
def test_resampler_against_loops(side: int) -> None:
    """On a grid of the queries' own size, positions are not interpolated."""
    width, heads = 16, 8
    grid = normal(2, side, side, width)
    resample = Resampler.of(grid, side)
    found = resample(grid)
    size = width // heads
    for one in range(2):
        patches = [resample.norms[1](patch) for patch in grid[one].flatten(0, 1)]
        pairs = zip(patches, resample.positions, strict=True)
        keys = [resample.projections[1](patch + place) for patch, place in pairs]
        values = [resample.projections[2](patch) for patch in patches]
        for at in range(side**2):
            placed = resample.norms[0](resample.query[at]) + resample.positions[at]
            query, parts = resample.projections[0](placed), []
            for head in range(heads):
                here = slice(head * size, (head + 1) * size)
                scores = [float(torch.dot(query[here], key[here])) / size**0.5 for key in keys]
                total = math.fsum(map(math.exp, scores))
                parts.append(
                    sum(
                        math.exp(score) / total * value[here]
                        for score, value in zip(scores, values, strict=True)
                    )
                )
            torch.testing.assert_close(found[one, at], resample.output(torch.cat(parts)))


def test_one_query_sees_one_position_everywhere() -> None:
    """A single position, interpolated to any grid, is itself: order does not matter then."""
    grid = normal(1, 4, 4, 16)
    resample = Resampler.of(grid, 1)
    torch.testing.assert_close(resample(grid), resample(grid.flip(1)))
    assert not torch.allclose(Resampler.of(grid, 2)(grid), Resampler.of(grid, 2)(grid.flip(1)))


def test_images_are_fused_one_by_one_and_their_texts_averaged() -> None:
    visual, compressed = normal(2, 3, 5, 4), normal(2, 3, 2, 4, seed=1)
    text = normal(2, 6, 4, seed=2)

    def run(states: Any) -> Any:
        assert states.shape == (6, 13, 4)
        return states.cumsum(dim=1)

    fused, said = pre_fused(run, visual, compressed, text)
    for one in range(2):
        texts = []
        for image in range(3):
            parts = [visual[one, image], compressed[one, image], text[one]]
            after = torch.cat(parts).cumsum(dim=0)
            torch.testing.assert_close(fused[one, 2 * image : 2 * image + 2], after[5:7])
            texts.append(after[7:])
        torch.testing.assert_close(said[one], sum(texts) / 3)


def test_the_connectors_own_weights() -> None:
    connector = torch.nn.Module()
    connector.linear_1, connector.linear_2 = torch.nn.Linear(3, 5), torch.nn.Linear(5, 5)
    connector.act = torch.nn.ReLU()
    states = torch.randn(2, 4, 3)
    expected = connector.linear_2(connector.linear_1(states).relu())
    torch.testing.assert_close(connected(connector, states), expected)


def test_places() -> None:
    assert image_places(2, 16, 4) == [0, 1, 2, 3, 16, 17, 18, 19]
    with pytest.raises(InvalidInput, match="count 17 is impossible with 16 tokens"):
        image_places(2, 16, 17)


@pytest.mark.parametrize("side", [1, 3])
def test_flops_and_shapes(side: int) -> None:
    grid = normal(2, 4, 4, 16)
    resample = Resampler.of(grid, side)
    # keys and values of 16 patches, queries and outputs, scores and values; two images
    macs = 16 * 2 * 16**2 + side**2 * 2 * 16**2 + 2 * side**2 * 16 * 16
    assert sum(count_flops(lambda: resample(grid)).values()) == 2 * 2 * macs
    shown = torch.empty(2, 4, 4, 16, device="meta", dtype=torch.bfloat16)
    made = Resampler.of(shown, side)(shown)
    assert (made.shape, made.dtype) == ((2, side**2, 16), torch.bfloat16)
