"""The `exact` convention equals what a FLOP counter measures on transformers, to the integer.

The counted side uses nothing of the cost model: configs from published_configs.py, crops written
out, visual tokens as the model makes them, tokens per layer from arithmetic in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import pytest
from counted_runs import (
    CLIP,
    FAMILIES,
    INTERNVL,
    LLAVA,
    NEXT,
    QWEN2_5,
    SIGLIP,
    TEXT,
    TILE,
    Case,
    Counts,
    Run,
    assert_equal,
    staged,
    total,
)
from vlm_tokencost.costmodel import (
    Compress,
    Counting,
    Schedule,
    Stage,
    Workload,
    evaluate,
    model_parameters,
)
from vlm_tokencost.presets import load_model
from vlm_tokencost.validation.counters import count_by_module
from vlm_tokencost.validation.forward import ROTARY, Driver
from vlm_tokencost.validation.reduction import Reduction

DriverOf = Callable[..., Driver]
RunOf = Callable[..., Run]

SMALLER_THAN_A_WINDOW = Case("qwen2.5-vl-7b", ((56, 56),), (((4, 4),),))
OTHER_SIZES = [
    Case("llava-next-mistral-7b", ((500, 1000),), ((CLIP,) * 3,)),  # base + 1×2
    Case("llava-next-mistral-7b", ((300, 900),), ((CLIP,) * 4,)),  # base + 1×3
    Case("llava-onevision-7b", ((1000, 1152),), ((SIGLIP,) * 10,)),  # base + 3×3
    Case("llava-onevision-7b", ((2304, 2304),), ((SIGLIP,) * 37,)),  # base + 6×6, shrunk to max_9
    Case("internvl3-8b", ((896, 1344),), ((TILE,) * 7,)),  # 2×3 and a thumbnail
    Case("qwen2.5-vl-7b", ((1000, 300),), (((72, 22),),)),  # 1008×308 pixels, 9 × 2¾ windows
    Case("qwen2-vl-7b", ((1092, 1092),), (((78, 78),),)),
    Case("qwen2.5-vl-7b", ((1092, 1092),), (((78, 78),),)),  # 9¾ × 9¾ windows
    SMALLER_THAN_A_WINDOW,
    Case("qwen2.5-vl-3b", ((1000, 300),), (((72, 22),),)),
]
SEVERAL_IMAGES = [
    Case("llava-1.5-7b", ((480, 640), (336, 336)), ((CLIP,), (CLIP,))),
    Case("llava-next-mistral-7b", ((672, 672), (300, 900)), ((CLIP,) * 5, (CLIP,) * 4)),
    # base crops alone
    Case("llava-onevision-7b", ((1000, 1152), (384, 384)), ((SIGLIP,), (SIGLIP,))),
    Case("internvl3-8b", ((448, 448), (896, 1344)), ((TILE,), (TILE,) * 7)),
    Case("qwen2-vl-7b", ((448, 644), (896, 896)), (((32, 46),), ((64, 64),))),
    Case("qwen2.5-vl-7b", ((448, 644), (1000, 300)), (((32, 46),), ((72, 22),))),
]
FAST_V = Schedule.keep(0.5, layer=2)
PYRAMID = Schedule(
    stages=(
        Stage(first_layer=8, ratio=0.5),
        Stage(first_layer=16, ratio=0.25),
        Stage(first_layer=24, ratio=0.125),
    )
)
WITHDRAW = Schedule(stages=(Stage(first_layer=16, withdraw=True),))


def each(cases: Iterable[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=str)


def half_from_layer_2(case: Case, visual: int, layers: int) -> Reduction:
    return staged(visual, layers, (2, visual // 2))


def pyramid(case: Case, visual: int, layers: int) -> Reduction:
    return staged(visual, layers, (8, visual // 2), (16, visual // 4), (24, visual // 8))


def nothing_from_layer_16(case: Case, visual: int, layers: int) -> Reduction:
    return staged(visual, layers, (16, 0))


#: Each schedule beside what the driver is told.
SCHEDULES: dict[str, Any] = {
    "half": (FAST_V, half_from_layer_2),
    "pyramid": (PYRAMID, pyramid),
    "withdraw": (WITHDRAW, nothing_from_layer_16),
}


def workload(case: Case, **options: Any) -> Workload:
    return Workload(images=case.images, text_tokens=TEXT, **options)


@pytest.mark.parametrize("model_id", [*(case.model for case in FAMILIES), "qwen2.5-vl-3b"])
def test_parameters(driver_of: DriverOf, model_id: str) -> None:
    prefixes = {
        "model.visual.merger": "connector",
        "model.multi_modal_projector": "connector",
        "model.image_newline": "connector",
        "model.vision_tower": "vision",
        "model.visual": "vision",
        "model.language_model": "decoder",
        "lm_head": "head",  # absent when it is tied: a shared parameter is listed once
    }
    counted = dict.fromkeys(("vision", "connector", "decoder", "head"), 0)
    for path, parameter in driver_of(model_id).model.named_parameters():
        component = next(prefixes[prefix] for prefix in prefixes if path.startswith(prefix))
        counted[component] += parameter.numel()
    assert model_parameters(load_model(model_id)) == counted


@each([*FAMILIES, *OTHER_SIZES, *SEVERAL_IMAGES])
def test_dense_prefill(run_of: RunOf, case: Case) -> None:
    report = evaluate(load_model(case.model), workload(case))
    assert_equal(report.bill("exact", scheduled=False), run_of(case).prefill)


@each([*FAMILIES, SEVERAL_IMAGES[-1]])
def test_dense_decode_forward(run_of: RunOf, case: Case) -> None:
    report = evaluate(load_model(case.model), workload(case))
    assert_equal(report.decode_forward(1), run_of(case).decode(1))


@each(FAMILIES)
def test_pruned_generation_with_logits_at_all_positions(run_of: RunOf, case: Case) -> None:
    check_generation(run_of, case, "half", logits="all")


@pytest.mark.parametrize(
    ("case", "schedule"),
    [(LLAVA, "pyramid"), (QWEN2_5, "pyramid"), (INTERNVL, "withdraw")],
    ids=str,
)
def test_pruned_generation(run_of: RunOf, case: Case, schedule: str) -> None:
    check_generation(run_of, case, schedule)


def check_generation(
    run_of: RunOf, case: Case, name: str, logits: Literal["last", "all"] = "last"
) -> None:
    schedule, reducing = SCHEDULES[name]
    run = run_of(case, reducing, logits=logits)
    asked = workload(case, new_tokens=3)
    report = evaluate(load_model(case.model), asked, schedule, Counting(logits=logits))
    assert_equal(report.bill("exact"), run.prefill)
    # The prefill left as many keys in each layer as it processed there; each forward adds one.
    assert_equal(report.decode_forward(1), run.decode(1))
    assert_equal(report.decode_forward(2), run.decode(2))
    decoded = report.bill("exact", phase="decode")
    assert_equal(decoded, run.decode(1), run.decode(2))
    kept = reducing(case, run_of(case).visual, len(run.lengths)).visual
    around = run_of(case).lengths[0] - run_of(case).visual  # text and structural tokens
    assert run.lengths == [visual + around for visual in kept]


@each(FAMILIES)
def test_contributing_encoder_layers(run_of: RunOf, case: Case) -> None:
    counted = run_of(case).prefill
    # LLaVA-1.5 and LLaVA-NeXT read hidden_states[-2]: transformers computes layer 23 in vain.
    dead = [("vision", 23)] if CLIP in case.crops[0] else []
    contributing = {place: flops for place, flops in counted.items() if place not in dead}
    assert len(contributing) == len(counted) - len(dead)
    counting = Counting(encoder_layers="contributing")
    report = evaluate(load_model(case.model), workload(case), counting=counting)
    assert_equal(report.bill("exact"), contributing)


def compressed_after(case: Case, visual: int, layers: int) -> Reduction:
    return Reduction(compressed=(192, "after-connector"), entering=192)


def compressed_before(case: Case, visual: int, layers: int) -> Reduction:
    return Reduction(compressed=(192, "before-connector"), entering=192)


@pytest.mark.parametrize("at", ["after-connector", "before-connector"])
def test_compression_before_and_after_the_connector(run_of: RunOf, at: str) -> None:
    run = run_of(LLAVA, compressed_after if at == "after-connector" else compressed_before)
    schedule = Schedule(compress=Compress(tokens=192, at=at))  # type: ignore[arg-type]
    report = evaluate(load_model(LLAVA.model), workload(LLAVA), schedule)
    assert_equal(report.bill("exact"), run.prefill)
    assert_equal(report.decode_forward(1), run.decode(1))
    connector = 2 * (1024 * 4096 + 4096 * 4096)  # per token
    tokens = {"after-connector": 576, "before-connector": 192}
    assert total(run.prefill, "connector") == connector * tokens[at]
    assert run.lengths == [192 + TEXT] * 32


@each(FAMILIES)
def test_driven_layers_cost_what_the_decoders_own_forward_costs(
    driver_of: DriverOf, run_of: RunOf, case: Case
) -> None:
    import torch

    driver, run = driver_of(case.model), run_of(case)
    language_model: Any = driver.model.base_model.get_submodule("language_model")
    length = run.lengths[0]
    shapes = [(1, length, language_model.config.hidden_size), (1, 1, length, length)]
    # A finished mask: making one reads values, which meta tensors do not have.
    embeddings, mask = (torch.zeros(shape, device="meta") for shape in shapes)
    own = dict(
        count_by_module(
            lambda: language_model(inputs_embeds=embeddings, attention_mask=mask), driver.owners()
        )
    )
    own.pop(ROTARY, None)
    assert own == decoder_of(run.prefill)


def decoder_of(counts: Counts) -> Counts:
    return {place: flops for place, flops in counts.items() if place and place[0] == "decoder"}


@each([*FAMILIES[:5], SMALLER_THAN_A_WINDOW])
def test_fused_attention_counts_as_eager_attention(run_of: RunOf, case: Case) -> None:
    eager, fused = (
        run_of(case, half_from_layer_2, attention, logits="all") for attention in ("eager", "sdpa")
    )
    assert by_place(eager.prefill) == by_place(fused.prefill)
    assert by_place(eager.decode(1)) == by_place(fused.decode(1))


def by_place(counts: Counts) -> dict[Any, int]:
    return {place: sum(operators.values()) for place, operators in counts.items()}


def test_golden_llava_1_5(run_of: RunOf) -> None:
    dense, pruned = run_of(LLAVA), run_of(LLAVA, half_from_layer_2, logits="all")
    assert (dense.visual, dense.lengths) == (576, [640] * 32)
    assert total(dense.prefill, "vision") == 381_918_216_192
    assert total(dense.prefill, "connector") == 24_159_191_040
    assert total(dense.prefill, "decoder") == 8_504_035_246_080
    assert total(dense.prefill, "head") == 262_668_288
    assert pruned.lengths == [640] * 2 + [352] * 30
    assert total(pruned.prefill, "decoder") == 4_866_567_045_120
    assert total(dense.decode(1), "decoder") == 13_288_079_360  # 641 keys


def test_golden_qwen2_5_vl_encoder_with_merger(run_of: RunOf) -> None:
    run = run_of(Case("qwen2.5-vl-7b", ((896, 896),), (((64, 64),),)))
    assert run.visual == 1_024
    assert total(run.prefill, "vision", "connector") == 5_645_449_297_920


def test_golden_internvl3_one_tile(run_of: RunOf) -> None:
    run = run_of(INTERNVL)
    assert run.visual == 256
    assert total(run.prefill, "vision", "connector") == 737_685_897_216


def to_2880(case: Case, visual: int, layers: int) -> Reduction:
    return Reduction(compressed=(2_880, "after-connector"), entering=2_880)


def test_golden_llava_next_decoder_at_2944_tokens(run_of: RunOf) -> None:
    # 2,928 visual tokens with newlines, of which 2,880 are left: 2,944 with the text
    run = run_of(NEXT, to_2880)
    assert run.lengths == [2_944] * 32
    assert total(run.prefill, "decoder") == 45_638_322_487_296
    report = evaluate(load_model("llava-next-mistral-7b"), Workload(text_tokens=16))
    assert report.bill("exact").by_component()["decoder"] == 45_638_322_487_296
