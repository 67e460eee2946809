"""Pruned runs against a masked one: the same tokens hidden from the same layers on.

In float64 both sides agree to 1e-12 although RMSNorm, rotary tables and eager attention's softmax
compute in float32: both round the same numbers, so that they round them equally. Where there is
no fused attention, eager attention's softmax is let compute in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from masked_reference import Reference, relative_error, rows_at
from small_figures import LAYERS
from small_models import (
    CROSSED,
    EAGER_ALONE,
    FURTHER,
    FURTHER_SEVERAL,
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


def before_the_connector(visual: int) -> Reduction:
    left = visual * 40 // 100
    return Reduction(compressed=(left, "before-connector"), entering=left)


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


class Exactness(NamedTuple):
    """An implementation of attention, a number format and the error that it is allowed."""

    attention: Attention
    dtype: Dtype
    bound: float


SINGLE, DOUBLE = Exactness("eager", "float32", 1e-5), Exactness("sdpa", "float64", 1e-12)
#: For the further families.
FEWER = {
    SINGLE: ("bare", "pyramiddrop"),
    DOUBLE: ("bare", "bare withdrawal", "fastv twice", "pyramiddrop", "divprune"),
}
RUNS = [
    pytest.param(case, way, exactness, id=f"{case}-{way}-{exactness.dtype}")
    for cases, ways in (
        ([*ONE_IMAGE, SEVERAL_IMAGES[5]], dict.fromkeys(FEWER, WAYS)),
        ([*FURTHER, *FURTHER_SEVERAL], FEWER),
    )
    for case in cases
    for exactness in ways
    for way in ways[exactness]
]


@pytest.mark.parametrize(("case", "way", "exactness"), RUNS)
def test_masked_reference(
    case: Small, way: str, exactness: Exactness, monkeypatch: pytest.MonkeyPatch
) -> None:
    attention, dtype, bound = exactness
    if case.model in EAGER_ALONE and attention == "sdpa":
        attention = "eager"
        monkeypatch.setattr(torch.nn.functional, "softmax", softmax_in_its_own_format)
    driver, model = driven(case.model, attention, dtype), own(case.model, attention, dtype)
    request = request_of(driver, case, batch=2)
    generator = torch.Generator().manual_seed(3)
    new = torch.randint(190, (2, STEPS), generator=generator)
    reference = Reference(model, driver.model_inputs(request), new, driver.adapter.specials())
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
    logits = reference.logits(final[:, reference.length - 1 :])
    assert relative_error(prefilled.logits, logits[:, :1]) <= bound
    for step in range(STEPS):
        decoded = driver.decode(prefilled, new[:, step : step + 1])
        assert relative_error(decoded, logits[:, step + 1 : step + 2]) <= bound


def softmax_in_its_own_format(values: Any, dim: int, dtype: Any = None) -> Any:
    return values.softmax(dim=dim)


CROSSED_WAYS = {
    way: WAYS[way] for way in (*(name for name in WAYS if name.startswith("bare")), "divprune")
} | {"bare before the connector": Way(before_the_connector, False)}


@pytest.mark.parametrize("exactness", [SINGLE, DOUBLE], ids=["float32", "float64"])
@pytest.mark.parametrize("way", CROSSED_WAYS)
@pytest.mark.parametrize("case", CROSSED, ids=str)
def test_masked_keys_of_cross_attention(case: Small, way: str, exactness: Exactness) -> None:
    attention, dtype, bound = exactness
    driver, model = driven(case.model, attention, dtype), own(case.model, attention, dtype)
    request = request_of(driver, case, batch=2)
    new = torch.randint(190, (2, STEPS), generator=torch.Generator().manual_seed(3))
    inputs = driver.model_inputs(request)
    reference = Reference(model, inputs, new, driver.adapter.specials())
    keys = len(case.images) * 4 * 17  # tiles of 4·4 patches and a class token
    reduction = CROSSED_WAYS[way].reduction(keys)
    prefilled = driver.prefill(request, reduction)
    assert prefilled.lengths == [reference.length] * LAYERS
    kept = {layer: tokens.keys.origin for layer, tokens in prefilled.stages.items()}
    if reduction.compressed:
        kept = {0: prefilled.entered.keys.origin}
    amounts = {layer: origin.shape[1] for layer, origin in kept.items()}
    assert amounts == {
        layer: count
        for layer, count in enumerate(reduction.visual or (reduction.entering,))
        if count != (keys, *reduction.visual)[layer]
    }
    for layer in (1, 4):  # each such layer holds the keys of the stage before it
        stage = max((first for first in amounts if first <= layer), default=None)
        left = keys if stage is None else amounts[stage]
        assert prefilled.cache.layers[layer].keys.shape[2] == left
    if 0 in amounts.values():  # nothing to look at: what the layer would add is left out
        del kept[3]
        reference.leave_out = (4,)
    traced = reference.run({}, CROSSED_WAYS[way].renumbers, kept)
    assert relative_error(prefilled.tokens.states, traced.final[:, : reference.length]) <= bound
    logits = reference.logits(traced.final[:, reference.length - 1 :])
    assert relative_error(prefilled.logits, logits[:, :1]) <= bound
    for step in range(STEPS):
        decoded = driver.decode(prefilled, new[:, step : step + 1])
        assert relative_error(decoded, logits[:, step + 1 : step + 2]) <= bound


def test_keys_of_padding_are_never_looked_at() -> None:
    case = CROSSED[0]  # 2 of 4 tiles are padding: 34 keys of 68
    driver = driven(case.model)
    visible = driver.prefill(request_of(driver, case)).entered.keys.visible
    image = 10  # 10 of 20 text tokens stand before <|image|>
    assert visible[0, :image].sum() == 0
    assert visible[0, image:, :34].all()
    assert visible[0, :, 34:].sum() == 0


def test_requests_of_a_batch_lose_different_tokens() -> None:
    driver = driven("llava-1.5-7b")
    prefilled = driver.prefill(
        request_of(driver, ONE_IMAGE[0], batch=2), WAYS["fastv"].reduction(16)
    )
    one, other = prefilled.stages[2].origin.tolist()
    assert one != other
