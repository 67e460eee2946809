"""What the driver refuses before it runs, and prompts at the edge."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from published_configs import CONFIGS
from small_models import CROSSED, ONE_IMAGE, driven, own, request_of
from vlm_tokencost.costmodel import Counting, InvalidInput, Schedule, Workload, evaluate
from vlm_tokencost.presets import load_model
from vlm_tokencost.validation.attention import watching
from vlm_tokencost.validation.build import build_from_config
from vlm_tokencost.validation.compare import check
from vlm_tokencost.validation.forward import Driver
from vlm_tokencost.validation.reduction import Reduction
from vlm_tokencost.validation.sequence import TEXT, VISUAL

LLAVA = ONE_IMAGE[0]  # 16 visual tokens, 5 encoder blocks, 6 decoder layers


def on_meta(model_id: str, **text_figures: Any) -> Any:
    """Return a published model on meta with other figures of its decoder."""
    from transformers import AutoConfig

    figures = copy.deepcopy(CONFIGS[model_id])
    figures["text_config"] = {**figures["text_config"], **text_figures}
    return build_from_config(AutoConfig.for_model(figures.pop("model_type"), **figures))


def test_a_sliding_window_is_refused() -> None:
    model = on_meta("llava-next-mistral-7b", sliding_window=8)
    with pytest.raises(InvalidInput, match="sliding_window 8 cannot be driven"):
        Driver(model)


def test_an_unknown_decoder_is_refused() -> None:
    model = on_meta("internvl3-8b", model_type="phi3", pad_token_id=0)
    with pytest.raises(InvalidInput, match="phi3 is no decoder that can be driven; choose from"):
        Driver(model)


def test_attention_that_differs_between_parts_is_refused() -> None:
    model = on_meta("llava-1.5-7b")
    model.set_attn_implementation({"vision_config": "sdpa"})
    with pytest.raises(InvalidInput, match="eager and sdpa cannot be observed"):
        Driver(model)


@pytest.mark.parametrize("rule", ["fastv", "pyramiddrop", "sparsevlm"])
def test_ranking_tokens_that_are_keys_of_cross_attention(rule: str) -> None:
    driver = driven(CROSSED[0].model)
    reduction = Reduction(visual=(68, 68, 8, 8, 8, 8), selection=rule)
    with pytest.raises(InvalidInput, match="own sequence, which mllama keeps images out of; choo"):
        driver.prefill(request_of(driver, CROSSED[0]), reduction)


@pytest.mark.parametrize(
    ("reduction", "sentence"),
    [
        (Reduction(merged=(1,) * 5), "merge tokens inside the encoder"),
        (Reduction(compressed=(8, "after-connector"), selection="visionzip"), "rank tokens by"),
    ],
)
def test_encoders_whose_tiles_attend_to_each_other(reduction: Reduction, sentence: str) -> None:
    driver = driven(CROSSED[0].model)
    why = "mllama: all tiles of an image attend to each other in its encoder, so nothing can "
    with pytest.raises(InvalidInput, match=why + sentence):
        driver.prefill(request_of(driver, CROSSED[0]), reduction)


def test_watches_nest() -> None:
    import torch

    driver = driven(LLAVA.model)
    attention = driver.adapter.ranking_attention
    states = torch.zeros(1, 3, driver.model.config.vision_config.hidden_size)
    with watching(attention) as outer:
        with watching(attention) as inner:
            attention(states)
        attention(states)
    attention(states)
    assert (len(outer), len(inner)) == (2, 1)


@pytest.mark.parametrize(
    ("reduction", "sentence"),
    [
        (Reduction(visual=(8, 8)), "reduction.visual is no list of 6 amounts"),
        (Reduction(visual=(4, 4, 10, 10, 10, 10)), "reduction.visual grows"),
        (Reduction(visual=(40,) * 6), "reduction.visual 40 exceeds the 16 visual tokens"),
        (Reduction(merged=(1, 1)), "reduction.merged is no list of 5 amounts"),
        (Reduction(compressed=(0, "after-connector")), "reduction.compressed 0 leaves no token"),
        (Reduction(compressed=(40, "after-connector")), "compressed 40 exceeds the 16 visual"),
        (Reduction(compressed=(40, "before-connector")), "reduction.compressed 40"),
        (Reduction(visual=(8,) * 6, selection="fastv"), "layer 0 has none"),
    ],
)
def test_reductions_that_cannot_be_carried_out(reduction: Reduction, sentence: str) -> None:
    driver = driven(LLAVA.model)
    with pytest.raises(InvalidInput, match=sentence):
        driver.prefill(request_of(driver, LLAVA), reduction)


def test_sparsevlm_without_text() -> None:
    driver = driven(LLAVA.model)
    reduction = Reduction(visual=(16, 16, 8, 8, 8, 8), selection="sparsevlm")
    with pytest.raises(InvalidInput, match="rates by text tokens; give at least 1"):
        driver.prefill(request_of(driver, LLAVA, text=0), reduction)


@pytest.mark.parametrize(("text", "before"), [(1, 0), (2, 1), (20, 10), (64, 32), (80, 35)])
def test_the_question_stands_behind_the_image(text: int, before: int) -> None:
    driver = driven(LLAVA.model)
    entered = driver.prefill(request_of(driver, LLAVA, text=text)).entered
    assert entered.kinds[0].tolist() == [TEXT] * before + [VISUAL] * 16 + [TEXT] * (text - before)


def test_an_image_without_a_token_left() -> None:
    import torch

    driver = driven(LLAVA.model)
    request = driver.request([(56, 56)] * 3, [[(4, 4)]] * 3, text_tokens=4, seed=1)
    entered = driver.prefill(request, Reduction(compressed=(2, "before-connector"))).entered
    assert entered.kinds[0].tolist() == [TEXT] * 2 + [VISUAL] * 2 + [TEXT] * 2
    # 2 of 3·16 places: 0 and 24, the first image's first and the second image's ninth
    states = own(LLAVA.model).model.get_image_features(**request.pixels.inputs).pooler_output
    expected = torch.stack([states[0][0], states[1][8]])
    found = entered.states_of(VISUAL)[0]
    # The MLP runs on 2 rows instead of 16, so its sums run in another order.
    assert torch.linalg.vector_norm(found - expected) <= 1e-6 * torch.linalg.vector_norm(expected)


@pytest.mark.parametrize(
    ("workload", "counting", "schedule", "sentence"),
    [
        (Workload(), Counting(causal=True), None, "--causal hides pairs that every counter sees"),
        (Workload(), Counting(encoder_layers="contributing"), None, "--encoder-layers contrib"),
        (
            Workload(text_tokens=0),
            Counting(),
            Schedule(stages=({"first_layer": 4, "withdraw": True},)),  # type: ignore[arg-type]
            "leaves a layer without any token, so there is nothing to run; give at least 1 text",
        ),
    ],
)
def test_questions_that_cannot_be_compared(
    workload: Workload, counting: Counting, schedule: Schedule | None, sentence: str
) -> None:
    report = evaluate(load_model("llava-1.5-7b"), workload, schedule, counting)
    with pytest.raises(InvalidInput, match=sentence):
        check(report)


def test_nothing_merged_and_everything_compressed_is_the_dense_run() -> None:
    from vlm_tokencost.costmodel import Compress, EncoderMerge

    schedule = Schedule(
        encoder=EncoderMerge(merged_per_layer=0),
        compress=Compress(ratio=1, at="before-connector"),
    )
    report = evaluate(load_model("llava-next-mistral-7b"), Workload(), schedule)
    reduction = Reduction.of(schedule, report.scheduled)
    # 2,928 tokens with their 48 separators: none is left out, so the connector keeps its 2,880
    assert (reduction.merged, reduction.compressed, reduction.entering) == ((), None, 2928)


def test_rotary_tables_have_no_place_in_a_count() -> None:
    import torch
    from vlm_tokencost.validation.counters import count_by_module
    from vlm_tokencost.validation.forward import ROTARY

    class RotaryByProduct(torch.nn.Module):  # as transformers 5.17 makes them
        def forward(self, positions: torch.Tensor) -> torch.Tensor:
            return positions[:, None] @ torch.zeros(1, 64, device="meta")

    model = on_meta("llava-1.5-7b")
    model.model.language_model.rotary_emb = RotaryByProduct()
    driver = Driver(model)
    counts = count_by_module(
        lambda: driver.adapter.decoder.rotary_emb(torch.zeros(640, device="meta")),
        driver.owners(),
    )
    assert counts == {ROTARY: {"aten.mm": 81_920}}  # 2 · 640 · 1 · 64
