"""Kernels: FLOPs and bytes of each, against arithmetic by hand on LLaVA-1.5-7B."""

from __future__ import annotations

import pytest
from vlm_tokencost.costmodel import Counting, Schedule, Stage, Workload, evaluate
from vlm_tokencost.costmodel.kernels import Numbers
from vlm_tokencost.costmodel.measured import PassRow, Widths, pass_bytes
from vlm_tokencost.costmodel.traffic import (
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


def test_convolutions_read_weights_and_what_is_told_of_their_inputs():
    # CLIP: 576 patches of 3 × 14 × 14 values to 1024; every pixel lies in one patch
    patches = kernels("vision")["patch embedding"]
    assert patches.weight_bytes == 2 * 3 * 196 * 1024
    assert patches.moved_bytes == 2 * 576 * (3 * 196 + 1024)
    assert patches.flops == 2 * 576 * 588 * 1024
    # FastVLM's first 7×7 depthwise kernels: 96 channels in and out, 256×256 positions
    found = kernels("vision", model="fastvlm-7b")
    depthwise = found["stage 0 mlp depthwise"]
    assert depthwise.weight_bytes == 2 * 49 * 96
    assert depthwise.moved_bytes == 2 * 256 * 256 * (96 + 96)
    pointwise = found["stage 0 mlp up"]
    assert pointwise.moved_bytes == 2 * 256 * 256 * (96 + 384)


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
        ("rotary embedding", 2 * 3 * N * (D + D)),  # q and k, 3 numbers of 2 bytes for each
        ("norm", 2 * 4 * N * D),
        ("norm", 2 * 4 * N * D),
        ("residual add", 2 * 2 * N * D),
        ("residual add", 2 * 2 * N * D),
        ("activation", 2 * 3 * N * M),
    ]


def test_passes_move_what_measured_rows_of_the_same_model_do():
    # LLaMA-2-7B's widths are LLaVA-1.5-7B's; 64 and 6000 tokens lie on both sides of the cache
    own = load_model("llava-1.5-7b")
    for tokens in (64, 6000):
        plan = evaluate(own, Workload(text_tokens=tokens)).dense.without_visual()
        found = {
            one.name: one.moved_bytes
            for one in prefill_kernels(own, plan, Counting(), USUAL, "flash")
            if one.kind == "pass"
        }
        width = Widths(D, D, D, M)
        rows = {
            "rotary embedding": "attn_rope",
            "norm": "input_layernorm",
            "residual add": "add",
            "activation": "mlp_act",
        }
        assert found == {
            name: pass_bytes(PassRow(2, tokens, row, 1.0), width) for name, row in rows.items()
        }


def test_what_of_a_kernel_each_bound_counts():
    own = load_model("qwen2.5-vl-7b")  # keys are fewer than queries
    plan = evaluate(own, Workload()).dense
    numbers = Numbers(weights=4, dequantized=True)
    for backend, repeated in (("sdpa", (0.0, 0.0, 1.0)), ("eager", (0.0, 1.0, 1.0))):
        kernels = [
            *prefill_kernels(own, plan, Counting(), numbers, backend),
            *decode_kernels(own, plan, 1, Counting(), numbers, backend, True),
        ]
        found = {one.name: one.present for one in kernels}
        assert found["down"] == found["scores and values"] == (1.0, 1.0, 1.0)
        for name in ("norm", "residual add", "rotary embedding", "activation"):
            assert found[name] == (0.0, 1.0, 1.0)
        assert found["copy of the cache"] == (0.0, 1.0, 1.0)
        assert found["weights at 16 bits"] == (0.0, 0.0, 1.0)
        assert found["repeated keys and values"] == repeated


def test_adds_beyond_the_cache_read_both_operands():
    # 40 MB hold 4882 tokens of 4096 numbers of two bytes
    own = load_model("llava-1.5-7b")
    for tokens, numbers in ((4882, 2), (4883, 3)):
        plan = evaluate(own, Workload(text_tokens=tokens)).dense.without_visual()
        found = prefill_kernels(own, plan, Counting(), USUAL, "flash")
        moved = {one.moved_bytes for one in found if one.name == "residual add"}
        assert moved == {2 * numbers * tokens * D}


def test_passes_of_normed_queries_and_of_a_network_without_gate():
    # Qwen3-VL-8B norms queries and keys: 32 + 8 heads of 128, 4 numbers each where rotation has 3
    found = kernels(model="qwen3-vl-8b", text_tokens=64)
    rotated = found["rotary embedding"].moved_bytes
    assert found["norm of queries and keys"].moved_bytes * 3 == rotated * 4
    assert rotated % (2 * 3 * (32 + 8) * 128) == 0
    # OPT's FFN has no gate: what enters and what leaves, 10240 wide
    plain = kernels(model="blip2-opt-2.7b", text_tokens=0)
    tokens = plain["down"].flops // (2 * 10240 * 2560)
    assert plain["activation"].moved_bytes == 2 * 2 * tokens * 10240


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


@pytest.mark.parametrize(("latent", "values"), [("expanded", 16 * (192 + 128)), ("absorbed", 576)])
def test_latent_attention_reads_what_it_caches(latent, values):
    # DeepSeek-VL2-small: 16 heads with keys of 192 and values of 128; latents of 512 + 64
    own = load_model("deepseek-vl2-small")
    counting = Counting(latent=latent)
    plan = evaluate(own, Workload(), counting=counting).dense
    found = decode_kernels(own, plan, 1, counting, USUAL, "flash", False)
    (attention,) = {one.kv_bytes for one in found if one.kind == "attention"}
    assert attention == 2 * values * (plan.query[0] + 1)


def test_recomputed_keys_are_read_from_where_they_were_written():
    # The cache holds latents of 576 values, which the expansion reads; attention reads 16 heads'
    # keys of 192 and values of 128 that this forward has made. Only the cache is concatenated.
    own = load_model("deepseek-vl2-small")
    counting = Counting(latent="recomputed")
    plan = evaluate(own, Workload(batch=3), counting=counting).dense
    every = decode_kernels(own, plan, 1, counting, Numbers(kv=8), "flash", True)
    found = {one.name: one for one in every}
    n = 3 * (plan.query[0] + 1)
    attention = found["scores and values"]
    assert attention.kv_bytes == 0
    assert attention.moved_bytes == 2 * (n + 3) * 16 * (192 + 128)
    assert found["copy of the cache"].moved_bytes == 2 * n * 576
    expansion = found["key-value expansion"]
    assert expansion.moved_bytes == 2 * n * (512 + 16 * (128 + 128))


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
