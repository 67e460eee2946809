"""Pruned runs against a masked one: the same tokens hidden from the same layers on.

In float64 both sides agree to 1e-12 although RMSNorm, rotary tables and eager attention's softmax
compute in float32: both round the same numbers, so that they round them equally.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from masked_reference import Reference, relative_error, rows_at
from small_models import (
    LAYERS,
    ONE_IMAGE,
    SEVERAL_IMAGES,
    Attention,
    Dtype,
    Small,
    driven,
    own,
    request_of,
)
from vlm_tokencost.validation.reduction import Reduction
from vlm_tokencost.validation.sequence import VISUAL

torch = pytest.importorskip("torch")
STEPS = 5


def stages(rule: str | None, *steps: tuple[int, int]) -> Callable[[int], Reduction]:
    """From each (first layer, percent) on, keep so many percent of M."""

    def reduction(visual: int) -> Reduction:
        amounts = [visual] * LAYERS
        for first, percent in steps:
            amounts[first:] = [visual * percent // 100] * (LAYERS - first)
        return Reduction(visual=tuple(amounts), entering=visual, selection=rule)

    return reduction


def compressed(rule: str | None) -> Callable[[int], Reduction]:
    def reduction(visual: int) -> Reduction:
        left = visual * 40 // 100
        return Reduction(compressed=(left, "after-connector"), entering=left, selection=rule)

    return reduction


class Way(NamedTuple):
    """A reduction, by M, and whether it gives survivors new position ids."""

    reduction: Callable[[int], Reduction]
    renumbers: bool


WAYS = {
    "bare": Way(stages(None, (1, 70), (4, 20)), False),
    "bare from layer 0": Way(stages(None, (0, 30)), False),
    "bare withdrawal": Way(stages(None, (2, 50), (3, 0)), False),
    "fastv": Way(stages("fastv", (2, 50)), False),
    "fastv twice": Way(stages("fastv", (1, 80), (4, 30)), False),
    "pyramiddrop": Way(stages("pyramiddrop", (0, 75), (2, 50), (4, 25)), True),
    "pyramiddrop, then nothing": Way(stages("pyramiddrop", (2, 50), (5, 0)), True),
    "divprune": Way(compressed("divprune"), True),
    # Without a rule nothing is renumbered inside the LLM, but what enters it is.
    "bare compression": Way(compressed(None), True),
}


@pytest.mark.parametrize(
    ("attention", "dtype", "bound"),
    [("eager", "float32", 1e-5), ("sdpa", "float64", 1e-12)],
)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", [*ONE_IMAGE, SEVERAL_IMAGES[5]], ids=str)
def test_masked_reference(
    case: Small, way: str, attention: Attention, dtype: Dtype, bound: float
) -> None:
    driver, model = driven(case.model, attention, dtype), own(case.model, attention, dtype)
    request = request_of(driver, case, batch=2)
    generator = torch.Generator().manual_seed(3)
    new = torch.randint(190, (2, STEPS), generator=generator)
    reference = Reference(model, driver.model_inputs(request), new)
    reduction = WAYS[way].reduction(int(reference.visual[0].sum()))

    prefilled = driver.prefill(request, reduction)
    kept = {layer: tokens.origin for layer, tokens in prefilled.stages.items()}
    if reduction.compressed:
        kept = {0: prefilled.entered.origin}
    assert kept, "nothing was pruned"
    for origin in kept.values():  # what is not visual stays, once each and in order
        assert (origin.diff() > 0).all()
        for sequence, places in enumerate(origin):
            assert set(torch.where(~reference.visual[sequence])[0].tolist()) <= {*places.tolist()}
    visual = {
        layer: int((tokens.kinds == VISUAL).sum(1)[0]) for layer, tokens in prefilled.stages.items()
    }
    assert visual == {
        layer: count
        for layer, count in enumerate(reduction.visual)
        if count != (reduction.entering, *reduction.visual)[layer]
    }

    final = reference.run(kept, WAYS[way].renumbers).final
    expected = rows_at(final, prefilled.tokens.origin)
    assert relative_error(prefilled.tokens.states, expected) <= bound
    logits = model.lm_head(final[:, reference.length - 1 :])
    assert relative_error(prefilled.logits, logits[:, :1]) <= bound
    for step in range(STEPS):
        decoded = driver.decode(prefilled, new[:, step : step + 1])
        assert relative_error(decoded, logits[:, step + 1 : step + 2]) <= bound


def test_requests_of_a_batch_lose_different_tokens() -> None:
    driver = driven("llava-1.5-7b")
    prefilled = driver.prefill(
        request_of(driver, ONE_IMAGE[0], batch=2), WAYS["fastv"].reduction(16)
    )
    one, other = prefilled.stages[2].origin.tolist()
    assert one != other
