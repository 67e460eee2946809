"""Merging inside the encoder: tokens of every block, what is left for the LLM, what is refused."""

from __future__ import annotations

import pytest
from questions import every_plain_family
from refusals import refusal
from vlm_tokencost.costmodel import (
    Compress,
    Counting,
    EncoderMerge,
    InvalidInput,
    Schedule,
    Stage,
    Workload,
    evaluate,
    plan,
)
from vlm_tokencost.presets import load_model

LLAVA = load_model("llava-1.5-7b")
NEXT = load_model("llava-next-vicuna-7b")


def merging(amounts, **others) -> Schedule:
    return Schedule(encoder=EncoderMerge(merged_per_layer=amounts), **others)


# --- tokens ---------------------------------------------------------------------------------------


def test_16_per_block_on_llava():
    planned = plan(LLAVA, Workload(), merging(16))
    # Attention over 577, 561, … tokens; the FFN after each block's own merging.
    assert planned.encoder_tokens == tuple(577 - 16 * layer for layer in range(24))
    assert planned.encoder_ffn == tuple(577 - 16 * (layer + 1) for layer in range(24))
    assert planned.encoder_pairs == tuple((577 - 16 * layer) ** 2 for layer in range(24))
    # 577 − 23 · 16 = 209 leave the 23 contributing layers, 208 without the class token
    assert planned.encoder_ffn[22] == 209
    assert planned.connector_tokens == planned.entering_visual_tokens == 208
    assert planned.dense_visual_tokens == planned.encoder_positions == 576
    assert planned.query == (208 + 64,) * 32


def test_16_per_block_costs_what_the_literature_says():
    """F2 with attention at n_l and FFN at n_l − 16, n_l = 577 − 16·l: 0.1211 against 0.1827 T."""
    report = evaluate(LLAVA, None, merging(16), Counting(encoder_layers="contributing"))
    # Over 23 blocks Σ n_l = 9,223, Σ n_l² = 3,957,495, Σ (n_l − 16) = 8,855:
    # 4·9,223·1024² + 2·3,957,495·1024 + 2·8,855·1024·4096
    # = 38,684,065,792 + 8,104,949,760 + 74,281,123,840
    blocks = 121_070_139_392
    # 23·(4·577·1024² + 2·577²·1024 + 2·577·1024·4096)
    dense = 182_670_112_768
    patches = 576 * 1024 * 3 * 14**2
    assert report.bill().by_component()["vision"] == 2 * (blocks + patches)
    assert report.bill(scheduled=False).by_component()["vision"] == 2 * (dense + patches)
    assert (round(blocks / 1e12, 4), round(dense / 1e12, 4)) == (0.1211, 0.1827)


def test_every_block_by_hand():
    layers = evaluate(LLAVA, Workload(batch=3), merging(16)).bill().by_layer()
    for layer in range(24):
        n, r = 577 - 16 * layer, 16
        macs = 4 * n * 1024**2 + 2 * n**2 * 1024 + 2 * (n - r) * 1024 * 4096
        assert layers["vision", layer] == 3 * 2 * macs


def test_connector_and_llm_run_on_what_is_left():
    components = evaluate(LLAVA, None, merging(16)).bill().by_component()
    assert components["connector"] == 2 * 208 * (1024 * 4096 + 4096 * 4096)
    # 272 tokens: 32 · 2·(272·(4·4096² + 3·4096·11008) + 2·272²·4096)
    layer = 2 * (272 * (4 * 4096**2 + 3 * 4096 * 11008) + 2 * 272**2 * 4096)
    assert components["decoder"] == 32 * layer


def test_a_list_has_an_amount_per_block():
    amounts = (200, 100, *[0] * 21, 50)
    planned = plan(LLAVA, Workload(), merging(amounts))
    # 577 → 377 → 277; the last layer, which nothing reads, attends over 277 and feeds 227
    assert planned.encoder_tokens == (577, 377, *[277] * 22)
    assert planned.encoder_ffn == (377, *[277] * 22, 227)
    assert planned.entering_visual_tokens == 576 - 300
    assert planned.encoder_pairs == (577**2, 377**2, *[277**2] * 22)


def test_a_list_of_contributing_layers_leaves_the_dead_ones_alone():
    short, whole = merging((16,) * 23), merging((16,) * 23 + (0,))
    planned = plan(LLAVA, Workload(), short)
    assert planned == plan(LLAVA, Workload(), whole)
    assert (planned.encoder_tokens[23], planned.encoder_ffn[23]) == (209, 209)


def test_merging_in_dead_layers_alone_is_refused():
    with pytest.raises(InvalidInput, match="merges only in layers whose output is not used"):
        evaluate(NEXT, None, merging((0,) * 23 + (16,)))


def test_anyres_loses_its_grid():
    planned = plan(NEXT, Workload(), merging(16))
    # 5 crops · (576 − 23 · 16): no un-padding, no newlines
    assert planned.entering_visual_tokens == planned.connector_tokens == 5 * 208
    assert planned.dense_visual_tokens == 2928
    assert planned.encoder_tokens == tuple(5 * (577 - 16 * layer) for layer in range(24))
    assert planned.encoder_pairs == tuple(5 * (577 - 16 * layer) ** 2 for layer in range(24))
    # un-padding would have left fewer: 336×672 pixels have 3 crops
    wide = plan(NEXT, Workload(images=("300x672",)), merging(16))
    assert wide.entering_visual_tokens == 3 * 208


def test_an_encoder_without_a_class_token():
    model = load_model("llava-onevision-7b")
    planned = plan(model, Workload(images=("384x384",)), merging(10))
    crops = len(planned.visual_input.crops)
    assert planned.encoder_tokens[:2] == (crops * 729, crops * 719)
    assert planned.entering_visual_tokens == crops * (729 - 26 * 10)


def test_later_primitives_act_on_what_is_left():
    compress = Compress(ratio="0.5", at="before-connector")
    schedule = merging(16, compress=compress, stages=(Stage(first_layer=4, ratio="0.25"),))
    planned = plan(LLAVA, Workload(), schedule)
    # 208 → 104 before the connector → ⌊104 / 4⌋ from layer 4 on
    assert planned.connector_tokens == 104
    assert planned.visual == (104,) * 4 + (26,) * 28
    error = refusal(plan, LLAVA, Workload(), merging(16, compress=Compress(tokens=209)))
    assert (error.field, error.way_out) == ("compress.tokens", "give 1 to 208")


@every_plain_family
def test_merging_nothing_is_the_dense_model(model_id):
    model = load_model(model_id)
    report = evaluate(model, Workload(batch=2), merging(0))
    assert report.scheduled == report.dense
    assert report.bill() == report.bill(scheduled=False)
    listed = merging([0] * model.vision.num_hidden_layers)
    assert plan(model, Workload(visual_tokens=100), listed).visual[0] == 100


# --- refusals -------------------------------------------------------------------------------------


def misfit(amounts, model=LLAVA, **work):
    return refusal(plan, model, Workload(**work), merging(amounts))


def works(amounts) -> bool:
    try:
        plan(LLAVA, Workload(), merging(amounts))
    except ValueError:
        return False
    return True


def test_the_largest_amount_for_all_blocks():
    # Block l has 576 − l·r patches and merges at most half of them: 576 − 23·r ≥ 2·r
    error = misfit(24)
    assert (error.field, error.value) == ("encoder.merged_per_layer", 24)
    assert error.way_out == "give at most 23"
    assert [amount for amount in range(40) if works(amount)] == list(range(24))


def test_the_largest_amount_of_one_block():
    # (577 − 1) // 2 = 288, then (289 − 1) // 2 = 144
    error = misfit((289, *[0] * 23))
    assert (error.field, error.value, error.way_out) == (
        "encoder.merged_per_layer",
        289,
        "give at most 288",
    )
    assert misfit((288, 145, *[0] * 22)).way_out == "give at most 144"
    assert works((288, 144, *[0] * 22))


@pytest.mark.parametrize("count", [0, 1, 22, 25])
def test_a_list_of_another_length(count):
    error = misfit((1,) * count)
    assert error.field == "encoder.merged_per_layer"
    assert f"is a list of {count} " in error.problem
    assert error.way_out == "give one number or a list of 24 or 23"


def test_an_encoder_without_dead_layers_takes_one_length():
    error = misfit((1,) * 23, load_model("llava-onevision-7b"))
    assert error.way_out == "give one number or a list of 26"


@pytest.mark.parametrize(
    ("model_id", "obstacle"),
    [
        ("qwen2.5-vl-7b", "attends in windows"),
        ("qwen2-vl-7b", "merges neighbouring patches"),
        ("internvl3-8b", "merges neighbouring patches"),
    ],
)
def test_tokens_that_need_their_grid(model_id, obstacle):
    error = misfit(16, load_model(model_id))
    assert (error.field, error.value) == ("encoder.merged_per_layer", "16")
    assert obstacle in error.problem


def test_given_visual_tokens_and_merging_contradict():
    error = misfit(16, visual_tokens=2880)
    assert (error.field, error.value) == ("visual_tokens", 2880)


@pytest.mark.parametrize("value", [-1, 1.5, "x", None, True, [1, -1], [1.5], {}, [[1]], 10**10])
def test_amounts_that_are_no_counts(value):
    error = refusal(Schedule, encoder={"merged_per_layer": value})
    assert error.field == "encoder.merged_per_layer"
