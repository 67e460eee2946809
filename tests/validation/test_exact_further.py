"""`exact` equals FlopCounterMode at full size, to the integer: the families after the first.

Qwen3-VL with DeepStack and experts, SmolVLM, PaliGemma with both Gemmas, Gemma 3, and
Llama-3.2-Vision, whose visual tokens are keys. Configs and crops are written out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from counted_runs import (
    GEMMA_3,
    MLLAMA,
    PALIGEMMA,
    PALIGEMMA_2,
    QWEN3_MOE,
    SMOLVLM,
    TEXT,
    Case,
    Run,
    assert_equal,
    staged,
    total,
)
from vlm_tokencost.costmodel import (
    Compress,
    Schedule,
    Stage,
    Workload,
    evaluate,
    model_parameters,
)
from vlm_tokencost.costmodel.schedule import EncoderMerge
from vlm_tokencost.presets import load_model
from vlm_tokencost.validation.forward import Driver
from vlm_tokencost.validation.reduction import Reduction

RunOf = Callable[..., Run]

#: Structural tokens: around an image; fake token and tag per tile, a newline per row, and three.
STRUCTURAL = {
    QWEN3_MOE: 2,
    SMOLVLM: 3 + 12 * 2 + 4,
    PALIGEMMA: 0,
    PALIGEMMA_2: 0,
    GEMMA_3: 4,
}
#: 16·20 merged tokens; 64 per tile; 16²; 64²/4².
VISUAL = {
    QWEN3_MOE: 320,
    SMOLVLM: 13 * 64,
    PALIGEMMA: 256,
    PALIGEMMA_2: 256,
    GEMMA_3: 256,
}
KEYS = 4 * 1601  # four tiles of 40² patches and a class token

PREFIXES = {
    "model.visual.merger": "connector",
    "model.visual.deepstack_merger_list": "connector",
    "model.multi_modal_projector": "connector",
    "model.connector": "connector",
    "model.vision_tower": "vision",
    "model.vision_model": "vision",
    "model.visual": "vision",
    "model.language_model": "decoder",
    "model.text_model": "decoder",
    "lm_head": "head",
}


@pytest.mark.parametrize("case", [*VISUAL, MLLAMA], ids=str)
def test_parameters(driver_of: Callable[..., Driver], case: Case) -> None:
    counted = dict.fromkeys(("vision", "connector", "decoder", "head"), 0)
    for path, parameter in driver_of(case.model).model.named_parameters():
        component = next(PREFIXES[prefix] for prefix in PREFIXES if path.startswith(prefix))
        counted[component] += parameter.numel()
    assert model_parameters(load_model(case.model)) == counted


def half_from_layer_2(case: Case, visual: int, layers: int) -> Reduction:
    return staged(visual, layers, (2, visual // 2))


@pytest.mark.parametrize("case", VISUAL, ids=str)
def test_dense_and_pruned_generation(run_of: RunOf, case: Case) -> None:
    model = load_model(case.model)
    dense, pruned = run_of(case), run_of(case, half_from_layer_2)
    workload = Workload(images=case.images, text_tokens=TEXT, new_tokens=4)
    report = evaluate(model, workload, Schedule.keep(0.5, layer=2))
    assert dense.visual == VISUAL[case]
    length = VISUAL[case] + STRUCTURAL[case] + TEXT
    assert dense.lengths == [length] * model.decoder.num_hidden_layers
    left = length - VISUAL[case] + VISUAL[case] // 2
    assert pruned.lengths == [length] * 2 + [left] * (model.decoder.num_hidden_layers - 2)
    for run, scheduled in ((dense, False), (pruned, True)):
        assert_equal(report.bill("exact", scheduled=scheduled), run.prefill)
        assert_equal(report.decode_forward(1, scheduled=scheduled), run.decode(1))
    decoded = report.bill("exact", phase="decode")
    assert_equal(decoded, *(pruned.decode(step) for step in (1, 2, 3)))


# --- sliding windows ------------------------------------------------------------------------------


def test_a_full_window_bounds_what_decode_forwards_read(run_of: RunOf) -> None:
    images = 5  # 5 · 260 tokens and the text exceed the window of 1,024
    case = Case("gemma3-4b", ((896, 896),) * images, (((64, 64),),) * images)
    run = run_of(case)
    length = images * 260 + TEXT
    assert run.lengths == [length] * 34
    report = evaluate(load_model(case.model), Workload(images=case.images, text_tokens=TEXT))
    assert_equal(report.bill("exact"), run.prefill)
    for step in (1, 2):
        assert_equal(report.decode_forward(step), run.decode(step))
        # 8 heads of 256, twice; 29 layers hold 1,023 tokens and read them with the new one
        keys = 29 * 1_024 + 5 * (length + step)
        assert products(run.decode(step), "decoder", "aten.bmm") == 2 * 2 * 8 * 256 * keys


def products(counts: Any, component: str, operator: str) -> int:
    return sum(
        operators.get(operator, 0)
        for place, operators in counts.items()
        if place and place[0] == component
    )


# --- experts --------------------------------------------------------------------------------------


def to_254(case: Case, visual: int, layers: int) -> Reduction:
    return Reduction(compressed=(254, "after-connector"), entering=254)


def test_golden_qwen3_vl_30b_a3b_decoder_at_320_tokens(run_of: RunOf) -> None:
    run = run_of(QWEN3_MOE, to_254)
    assert run.lengths == [254 + 2 + TEXT] * 48
    assert total(run.prefill, "decoder") == 1_828_045_455_360
    # 8 of 128 experts of 768, three matrices, on each of 320 tokens
    routed = sum(
        sum(operators.values()) for place, operators in run.prefill.items() if place[0] == "experts"
    )
    assert routed == 48 * 2 * 320 * 8 * 3 * 2_048 * 768


# --- cross-attention ------------------------------------------------------------------------------

CROSS = (3, 8, 13, 18, 23, 28, 33, 38)


def crossed(steps: tuple[tuple[int, int], ...], case: Case, visual: int, layers: int) -> Reduction:
    return staged(visual, layers, *steps)


CROSSED: dict[str, Any] = {
    "dense": (None, None),
    "half from layer 9": (
        Schedule(stages=(Stage(first_layer=9, ratio="1/2"),)),
        partial(crossed, ((9, KEYS // 2),)),
    ),
    "a fifth, then none": (
        Schedule(stages=(Stage(first_layer=0, ratio="1/5"), Stage(first_layer=20, withdraw=True))),
        partial(crossed, ((0, KEYS // 5), (20, 0))),
    ),
    "compressed before the connector": (
        Schedule(compress=Compress(tokens=1_000, at="before-connector")),
        lambda *_: Reduction(compressed=(1_000, "before-connector"), entering=1_000),
    ),
}


@pytest.mark.parametrize("way", CROSSED)
def test_keys_of_cross_attention(run_of: RunOf, way: str) -> None:
    schedule, reducing = CROSSED[way]
    run = run_of(MLLAMA, reducing)
    report = evaluate(
        load_model(MLLAMA.model),
        Workload(images=MLLAMA.images, text_tokens=TEXT, new_tokens=4),
        schedule,
    )
    assert run.lengths == [1 + TEXT] * 40  # <|image|> alone stands in the text
    assert_equal(report.bill("exact"), run.prefill)
    assert_equal(report.bill("exact", phase="decode"), *(run.decode(step) for step in (1, 2, 3)))


def test_pruned_keys_are_not_projected(run_of: RunOf) -> None:
    dense, pruned = (run_of(MLLAMA, CROSSED[way][1]) for way in ("dense", "half from layer 9"))
    left = KEYS // 2
    # From layer 13 on: keys and values 4,096 → 1,024 each, and 32 heads of 128 over 65 queries
    saved = 6 * 2 * (KEYS - left) * (2 * 4_096 * 1_024 + (1 + TEXT) * 2 * 4_096)
    assert total(dense.prefill, "decoder") - total(pruned.prefill, "decoder") == saved
    saved = 6 * 2 * (KEYS - left) * 2 * 4_096  # a decode forward has one query, and no projection
    assert total(dense.decode(1), "decoder") - total(pruned.decode(1), "decoder") == saved


def test_golden_llama_3_2_vision_decoder() -> None:
    report = evaluate(load_model(MLLAMA.model), Workload(text_tokens=63))
    assert report.bill("exact").by_component()["decoder"] == 2_023_500_021_760


# --- selection rules ------------------------------------------------------------------------------


def stages(rule: str) -> tuple[Schedule, Any]:
    def reducing(case: Case, visual: int, layers: int) -> Reduction:
        return staged(visual, layers, (2, visual // 2), (8, visual // 4), selection=rule)

    steps = (Stage(first_layer=2, ratio="1/2"), Stage(first_layer=8, ratio="1/4"))
    return Schedule(stages=steps, selection=rule), reducing  # type: ignore[arg-type]


def compressed(rule: str, tokens: int, at: Any = "after-connector") -> tuple[Schedule, Any]:
    def reducing(case: Case, visual: int, layers: int) -> Reduction:
        return Reduction(compressed=(tokens, at), entering=tokens, selection=rule)

    return Schedule(compress=Compress(tokens=tokens, at=at), selection=rule), reducing  # type: ignore[arg-type]


def merging() -> tuple[Schedule, Any]:
    def reducing(case: Case, visual: int, layers: int) -> Reduction:
        return Reduction(merged=(8,) * 27, entering=256 - 27 * 8, selection="tome")

    return Schedule(encoder=EncoderMerge(merged_per_layer=8), selection="tome"), reducing


RULES = [
    ("fastv", GEMMA_3, stages("fastv")),
    ("pyramiddrop", QWEN3_MOE, stages("pyramiddrop")),
    ("pyramiddrop", GEMMA_3, stages("pyramiddrop")),
    ("sparsevlm", PALIGEMMA_2, stages("sparsevlm")),
    ("divprune", QWEN3_MOE, compressed("divprune", 60)),
    ("divprune", MLLAMA, compressed("divprune", 600)),
    ("visionzip", QWEN3_MOE, compressed("visionzip", 64)),
    ("visionzip", SMOLVLM, compressed("visionzip", 13 * 32)),
    ("visionzip", GEMMA_3, compressed("visionzip", 64)),
    ("visionzip", PALIGEMMA, compressed("visionzip", 64, "before-connector")),
    ("tome", PALIGEMMA, merging()),
]


@pytest.mark.parametrize(
    ("case", "rule"),
    [pytest.param(case, rule, id=f"{name}-{case.model}") for name, case, rule in RULES],
)
def test_rules(run_of: RunOf, case: Case, rule: tuple[Schedule, Any]) -> None:
    schedule, reducing = rule
    run = run_of(case, reducing)
    report = evaluate(
        load_model(case.model), Workload(images=case.images, text_tokens=TEXT), schedule
    )
    assert_equal(report.bill("exact"), run.prefill)
    assert_equal(report.decode_forward(1), run.decode(1))
    assert total(run.prefill, "selection") > 0
