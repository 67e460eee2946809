"""Kernels: FLOPs and bytes of each, against arithmetic by hand on LLaVA-1.5-7B."""

from __future__ import annotations

import pytest
from vlm_tokencost.costmodel import Counting, Schedule, Stage, Workload, evaluate
from vlm_tokencost.costmodel.traffic import (
    Numbers,
    decode_kernels,
    prefill_kernels,
    selection_kernels,
)
from vlm_tokencost.presets import load_method, load_model

# LLaVA-1.5-7B: T = 32, d = 4096, m = 11008, h = h_kv = 32, d_h = 128, 576 + 64 tokens.
USUAL = Numbers()
N, D, M, H = 640, 4096, 11008, 32


def kernels(stage="prefill", numbers=USUAL, backend="flash", model="llava-1.5-7b", **workload):
    own = load_model(model)
    plan = evaluate(own, Workload(**workload)).dense
    found = list(prefill_kernels(own, plan, Counting(), numbers, backend))
    return {one.name: one for one in found if one.stage == stage}


def test_projections_of_one_input_are_one_kernel():
    found = kernels()
    joined = found["query + key + value"]
    assert (joined.times, joined.flops) == (32, 2 * N * D * 3 * D)
    assert joined.weight_bytes == 2 * 3 * D * D
    assert joined.moved_bytes == 2 * N * (D + 3 * D)
    wide = found["gate + up"]
    assert (wide.flops, wide.weight_bytes) == (2 * N * D * 2 * M, 2 * 2 * D * M)
    assert found["down"].moved_bytes == 2 * N * (M + D)


def test_fused_attention_leaves_out_what_the_mask_hides():
    found = kernels()["scores and values"]
    # n(n+1)/2 pairs of 32 heads, 128 + 128 features, 2 FLOP; q, k, v read and o written once
    assert found.flops == 2 * (N * (N + 1) // 2) * H * 256
    assert found.moved_bytes == 2 * N * (2 * H + 2 * H) * 128
    assert found.kind == "attention"
    assert found.upper_flops is None


def test_sdpa_may_compute_what_the_mask_hides():
    found = kernels(backend="sdpa")["scores and values"]
    assert found.flops == 2 * (N * (N + 1) // 2) * H * 256
    assert found.upper_flops == 2 * N * N * H * 256


def test_eager_attention_moves_24_to_28_bytes_per_score():
    found = kernels(backend="eager")
    assert found["scores and values"].flops == 2 * N * N * H * 256
    assert found["scores and values"].kind == "product"
    scores = found["scores, mask and softmax"]
    lower, central, upper = (share * scores.moved_bytes for share in scores.present)
    assert (round(lower), round(central), round(upper)) == tuple(
        bytes_each * H * N * N for bytes_each in (24, 26, 28)
    )


def test_elementwise_passes_by_hand():
    own = load_model("llava-1.5-7b")
    plan = evaluate(own, Workload()).dense
    found = [
        (one.name, one.moved_bytes)
        for one in prefill_kernels(own, plan, Counting(), Numbers(), "flash")
        if one.kind == "pass"
    ]
    assert found == [
        ("rotary embedding", 4 * N * (D + D)),  # q and k, read and written at 2 bytes
        ("norm", 4 * N * D),
        ("norm", 4 * N * D),
        ("residual add", 6 * N * D),
        ("residual add", 6 * N * D),
        ("activation", 6 * N * M),
    ]


def test_few_bits_shrink_the_weights_of_the_llm_alone():
    found = kernels(numbers=Numbers(weights=4, dequantized=True))
    assert found["down"].weight_bytes == D * M / 2
    assert found["language-model head"].weight_bytes == 2 * D * 32064
    # Slow software writes 16-bit weights and reads them again: 4 bytes each, the last kernel's.
    assert found["weights at 16 bits"].weight_bytes == 4 * D * M
    assert found["weights at 16 bits"].present == (0.0, 0.0, 1.0)
    plain = kernels("vision", numbers=Numbers(weights=4, dequantized=True))
    assert plain["down"].weight_bytes == 2 * 1024 * 4096


def test_activations_of_8_bits_enter_products():
    found = kernels(numbers=Numbers(weights=8, activations=8))
    assert found["down"].moved_bytes == N * (M + 2 * D)


def decode(model, step=1, numbers=USUAL, backend="flash", concatenates=False, **workload):
    own = load_model(model)
    plan = evaluate(own, Workload(**workload)).dense
    return [
        one
        for one in decode_kernels(own, plan, step, Counting(), numbers, backend, concatenates)
        if one.kind != "pass" or "cache" in one.name or "repeated" in one.name
    ]


def test_a_decode_forward_reads_weights_and_cache_once():
    found = {one.name: one for one in decode("llava-1.5-7b", step=10, batch=3)}
    attention = found["scores and values"]
    # 640 + 10 keys of 3 sequences, 2 · 4096 values of 2 bytes
    assert attention.kv_bytes == 3 * 650 * 2 * D * 2
    assert attention.flops == 2 * 3 * 650 * H * 256
    assert found["gate + up"].weight_bytes == 2 * 2 * D * M
    assert found["gate + up"].moved_bytes == 2 * 3 * (D + 2 * M)


def test_few_bits_of_the_cache():
    found = {one.name: one for one in decode("llava-1.5-7b", numbers=Numbers(kv=4))}
    assert found["scores and values"].kv_bytes == 641 * 2 * D / 2


def test_grouped_keys_are_read_once_per_group():
    # Qwen2.5-VL-7B: 28 query heads share 4 key/value heads of 128; 1521 + 2 + 64 tokens
    found = {one.name: one for one in decode("qwen2.5-vl-7b", concatenates=True)}
    n = 1521 + 2 + 64 + 1
    attention = found["scores and values"]
    assert attention.kv_bytes == n * 2 * 4 * 128 * 2
    assert found["copy of the cache"].moved_bytes == 2 * attention.kv_bytes
    # Copies for each query head are written, after the groups are read.
    assert found["repeated keys and values"].moved_bytes == 2 * n * 256 * (4 + 28)


def test_experts_that_tokens_reach():
    # Qwen3-VL-30B-A3B: 8 of 128 experts; one token reaches 8, very many reach all.
    own = load_model("qwen3-vl-30b-a3b")
    experts, hidden = own.decoder.feed_forward, own.decoder.hidden_size
    each = 2 * 2 * hidden * experts.intermediate_size  # gate and up at 2 bytes
    found = {one.name: one for one in decode("qwen3-vl-30b-a3b")}
    assert found["experts' gate + experts' up"].weight_bytes == pytest.approx(8 * each)
    many = kernels(model="qwen3-vl-30b-a3b", text_tokens=4096)
    assert many["experts' gate + experts' up"].weight_bytes == pytest.approx(128 * each)


def test_rounds_and_maps_of_selection():
    own, counting = load_model("llava-1.5-7b"), Counting(selection="released")
    schedule = load_method("fastv").schedule(own)
    plan = evaluate(own, Workload(), schedule).scheduled
    found = {one.name: one for one in selection_kernels(own, plan, schedule, counting, "sdpa")}
    assert found["rounds that wait for one another"].times == 1
    # The map of layer 1: 32 heads of 640 · 640 scores, each 26 bytes
    assert found["attention maps of released code"].moved_bytes == 26 * H * N * N
    eager = [one.name for one in selection_kernels(own, plan, schedule, counting, "eager")]
    assert "attention maps of released code" not in eager


def test_divprune_waits_a_round_per_kept_token():
    own = load_model("llava-1.5-7b")
    schedule = load_method("divprune").schedule(own, budget=64)
    plan = evaluate(own, Workload(), schedule).scheduled
    (rounds,) = [
        one
        for one in selection_kernels(own, plan, schedule, Counting(), "sdpa")
        if one.kind == "launch"
    ]
    assert rounds.times == 64


def test_a_schedule_without_a_rule_selects_nothing():
    own = load_model("llava-1.5-7b")
    schedule = Schedule(stages=(Stage(first_layer=2, ratio="0.5"),))
    plan = evaluate(own, Workload(), schedule).scheduled
    assert not list(selection_kernels(own, plan, schedule, Counting(), "sdpa"))
