"""FlashSloth's pooling and query module against loops, with the modules' own weights."""

from __future__ import annotations

import math
from typing import Any

import pytest
from loops import normal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.counters import count_flops
from vlm_tokencost.validation.reducers.flashsloth import AttentionPooling, QueryModule

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def without_gradients() -> Any:
    with torch.no_grad():
        yield


def softmax(scores: list[float]) -> list[float]:
    total = math.fsum(map(math.exp, scores))
    return [math.exp(score) / total for score in scores]


def test_squares_are_weighed_by_their_scores() -> None:
    grid = normal(2, 3, 6, 4)
    pool = AttentionPooling.of(grid)
    found = pool(grid)
    assert found.shape == (2, 2, 4)
    first, _, last = pool.score
    for one in range(2):
        for cell in range(2):
            patches = [grid[one, row, 3 * cell + column] for row in range(3) for column in range(3)]
            scores = [
                float(last.bias)
                + math.fsum(
                    float(weight) * max(float(row @ patch + bias), 0.0)
                    for weight, row, bias in zip(
                        last.weight[0], first.weight, first.bias, strict=True
                    )
                )
                for patch in patches
            ]
            pairs = zip(softmax(scores), patches, strict=True)
            torch.testing.assert_close(
                found[one, cell], sum(share * patch for share, patch in pairs)
            )


def test_equal_patches_are_pooled_to_themselves() -> None:
    patch = torch.tensor([0.5, -1.0, 2.0, 0.0])
    grid = patch.expand(1, 3, 3, 4)
    torch.testing.assert_close(AttentionPooling.of(grid)(grid)[0, 0], patch)


def test_three_must_divide_the_grid() -> None:
    grid = torch.ones(1, 4, 6, 4)
    with pytest.raises(InvalidInput, match="side 3 does not divide a grid of 4×6"):
        AttentionPooling.of(grid)(grid)


def fetch(query: Any, keys: list[Any], values: list[Any], heads: int) -> Any:
    size, out, parts = len(query) // heads, len(values[0]) // heads, []
    for head in range(heads):
        here, there = (slice(head * one, (head + 1) * one) for one in (size, out))
        scores = [float(query[here] @ key[here]) / math.sqrt(size) for key in keys]
        pairs = zip(softmax(scores), values, strict=True)
        parts.append(sum(share * value[there] for share, value in pairs))
    return torch.cat(parts)


def test_the_query_module_token_by_token() -> None:
    """The question first, from which no residual goes on; then all patches, at full width."""
    learned, text, patches = normal(2, 2, 6), normal(2, 3, 6, seed=1), normal(2, 5, 8, seed=2)
    module = QueryModule.of(learned, patches)
    found = module(learned, text, patches, 2)
    for one in range(2):
        said = [module.norms[1](module.down(token)) for token in text[one]]
        shown = [module.norms[2](module.patches_down(patch)) for patch in patches[one]]
        for at in range(2):
            query = module.of_text[0](module.norms[0](module.down(learned[one, at])))
            keys, values = ([part(token) for token in said] for part in module.of_text[1:])
            asked = module.of_patches[0](fetch(query, keys, values, 2))
            keys = [module.of_patches[1](patch) for patch in shown]
            values = [module.of_patches[2](patch) for patch in patches[one]]
            expected = learned[one, at] + module.up(fetch(asked, keys, values, 2))
            torch.testing.assert_close(found[one, at], expected)


def test_flops_and_shapes() -> None:
    grid, width, half, wide = normal(2, 6, 6, 8), 8, 4, 10
    learned, text = normal(2, 9, wide), normal(2, 7, wide)
    pool = AttentionPooling.of(grid)
    # a hidden layer and a score for each of 36 patches, of two requests
    assert sum(count_flops(lambda: pool(grid)).values()) == 2 * 2 * 36 * (8 * 8 + 8)
    module, patches = QueryModule.of(learned, grid), grid.flatten(1, 2)
    macs = (
        (9 + 7) * wide * half  # learned tokens and question to half width
        + 36 * width * half  # patches to half width
        + (9 + 9) * half**2  # queries of both attentions
        + 7 * 2 * half**2  # keys and values of the question
        + 36 * half**2  # keys of the patches
        + 36 * width**2  # their values
        + 2 * 9 * 7 * half  # attention to the question
        + 9 * 36 * (half + width)  # attention to the patches
        + 9 * width * wide  # back
    )
    found = count_flops(lambda: module(learned, text, patches, 4))
    assert sum(found.values()) == 2 * 2 * macs
    shown = [part.to("meta", torch.bfloat16) for part in (learned, text, patches)]
    made = QueryModule.of(shown[0], shown[2])(*shown, 4)
    assert (made.shape, made.dtype) == (learned.shape, torch.bfloat16)
