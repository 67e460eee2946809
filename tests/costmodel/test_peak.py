"""Peak memory by hand, and against published measurements."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vlm_tokencost.costmodel import Counting, InvalidInput, Report, Schedule, Workload, evaluate
from vlm_tokencost.costmodel.capacity import MOST, fit, remedies, with_batch, with_text
from vlm_tokencost.costmodel.peak import CONTEXT, WORKSPACE, Asking, Peak, Phase, peak
from vlm_tokencost.costmodel.transients import Running
from vlm_tokencost.costmodel.weights import Storage, weight_bytes
from vlm_tokencost.presets import list_models, load_method, load_model

GIB = 2**30
# LLaVA-1.5-7B: 32 layers, d = 4096, 32 heads of 128, m = 11008, vocabulary 32064
WEIGHTS = 2 * 7_063_427_072
HALF = ({"first_layer": 2, "ratio": 0.5},)


def asked(model: str = "llava-1.5-7b", schedule: Any = None, **workload: Any) -> Report:
    own = Schedule(stages=schedule) if schedule else None
    return evaluate(load_model(model), Workload(**workload), own)


def phase(one: Peak, name: str) -> Phase:
    (found,) = (each for each in one.phases if each.name == name)
    return found


def eager(**more: Any) -> Asking:
    return Asking(running=Running("eager", **more))


def test_weights_of_a_checkpoint():
    parts = weight_bytes(load_model("llava-1.5-7b"), Storage())
    assert sum(parts.values()) == WEIGHTS  # 13.157 GiB
    assert parts["embedding"] == parts["head"] == 2 * 32064 * 4096
    # 32 layers of four d×d and three d×m matrices and two norms, and the final norm
    assert parts["layers"] == 2 * (32 * (4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096) + 4096)


def test_a_tied_head_is_stored_once():
    # Qwen2-VL-2B: 2,208,985,600 parameters with its tied head of 151,936 · 1,536
    assert sum(weight_bytes(load_model("qwen2-vl-2b"), Storage()).values()) == 2 * 2_208_985_600


@pytest.mark.parametrize(
    ("storage", "linear"),
    [
        (Storage(8), (8 + 24 / 128) / 8),  # groups of 128: fp16 scale, 8-bit zero point
        (Storage(4, "gptq"), (4 + 20 / 128) / 8),
        (Storage(4), (4 + 32 / 64) / 8),  # NF4 of QLoRA: fp32 scales of blocks of 64
        (Storage(4, "nf4-double"), (4 + 8 / 64 + 32 / (64 * 256)) / 8),  # 0.127 bit a weight
    ],
    ids=["8", "4 gptq", "4 nf4", "4 nf4-double"],
)
def test_quantised_weights(storage, linear):
    model = load_model("llava-1.5-7b")
    before, after = weight_bytes(model, Storage()), weight_bytes(model, storage)
    linears = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert after["layers"] == linear * linears + before["layers"] - 2 * linears
    assert {**after, "layers": 0} == {**before, "layers": 0}
    everywhere = weight_bytes(model, storage._replace(everywhere=True))
    # CLIP: 24 layers of four 1024² and two 1024·4096; the projector's 1024·4096 and 4096²
    encoder, projector = 24 * (4 * 1024**2 + 2 * 1024 * 4096), 1024 * 4096 + 4096**2
    assert before["vision"] - everywhere["vision"] == pytest.approx((2 - linear) * encoder, abs=24)
    assert before["connector"] - everywhere["connector"] == pytest.approx(
        (2 - linear) * projector, abs=1
    )


@pytest.mark.parametrize("model_id", list_models())
def test_biases_norms_and_routers_keep_their_bits(model_id):
    model = load_model(model_id)
    full, fewer = (weight_bytes(model, Storage(bits))["layers"] for bits in (16, 8))
    # All but a sliver are linears, which lose 2 − (8 + 24/128)/8 = 125/128 byte each
    linears = (full - fewer) * 128 / 125
    # (flamingo-80b: 67,108,864 parameters of each layer are not known to be linears)
    assert (0.9 if model_id == "flamingo-80b" else 0.97) * full <= 2 * linears < full


def test_published_quantised_checkpoints_of_qwen2_vl():
    # Qwen2-VL README, Speed Benchmark: 2,048 new tokens after one; the cache of 2,049 is
    # 57,344 bytes each, and all bf16 rows of one token are 0.51 GiB above weights and cache.
    model = load_model("qwen2-vl-7b")

    def estimate(storage: Storage) -> float:
        return (sum(weight_bytes(model, storage).values()) + 2049 * 57_344) / GIB + 0.51

    assert estimate(Storage()) == pytest.approx(16.07, rel=0.001)
    assert estimate(Storage(8)) == pytest.approx(10.11, rel=0.003)  # GPTQ-Int8
    assert estimate(Storage(4, "gptq")) == pytest.approx(7.07, rel=0.003)  # AWQ
    assert estimate(Storage(4, "gptq")) == pytest.approx(7.20, rel=0.025)  # GPTQ-Int4


def test_every_term_of_a_dense_prefill():
    found = peak(asked(text_tokens=64, new_tokens=2), eager())
    n = 640
    assert phase(found, "prefill").terms == {
        "weights": WEIGHTS,
        "fixed": WORKSPACE,
        "KV cache": 2**19 * n,
        "pixels": 2 * 3 * 336**2,
        "visual features": 2 * 576 * 4096,
        "rotary tables": 2 * 2 * n * 128,
        # Embeddings, the layer's input and its normed copy
        "stream": 3 * 2 * n * 4096,
        # Queries, and scores in 16, 32 and again 16 bits
        "attention": 2 * n * 4096 + 8 * 32 * n**2,
        "mask": 2 * n**2,
    }
    fused = phase(peak(asked(text_tokens=64)), "prefill").terms
    assert fused["feed-forward"] == 3 * 2 * n * 11008
    assert fused["stream"] == 4 * 2 * n * 4096
    assert "mask" not in fused
    logits = phase(found, "logits").terms
    assert (logits["logits"], logits["logits in 32 bits"]) == (2 * 32064, 4 * 32064)
    decode = phase(found, "decode").terms
    assert decode["KV cache"] == 2**19 * (n + 1)
    assert decode["copy of one layer's keys"] == 2**13 * (n + 1)


def test_the_phase_that_does_not_run_is_no_peak():
    found = peak(asked(text_tokens=64))
    assert found.kv_final == sum(found.kv_per_layer) == 640 * 2**19
    assert not found.generates
    assert phase(found, "decode").terms["KV cache"] == 641 * 2**19


def test_context_of_the_device():
    inside, outside = (peak(asked(), Asking(context=context)) for context in (False, True))
    assert outside.total - inside.total == CONTEXT


@pytest.mark.parametrize(
    ("batch", "published"), [(1, 13.52), (4, 14.57), (8, 15.98), (16, 18.79), (32, 24.41)]
)
def test_batch_sweep_of_llava(batch, published):
    # github.com/ZBW-P/Llava_Efficient_explore: max_memory_allocated on an A100, SDPA, prompts of
    # 596 tokens and 100 new ones
    report = asked(text_tokens=20, batch=batch, new_tokens=100)
    assert peak(report).total / GIB == pytest.approx(published, rel=0.001)


@pytest.mark.parametrize(
    ("model_id", "tokens", "published"),
    [
        ("qwen2-vl-7b", 6144, 21.56),
        ("qwen2-vl-7b", 14336, 29.07),
        ("qwen2-vl-7b", 30720, 44.08),
        ("qwen2-vl-2b", 6144, 10.01),
        ("qwen2-vl-2b", 14336, 17.20),
        ("qwen2-vl-2b", 30720, 31.64),
    ],
)
def test_table_of_qwen2_vl(model_id, tokens, published):
    # Qwen2-VL README, Speed Benchmark (A100, FlashAttention-2, 2,048 new tokens)
    dense = asked(model_id, text_tokens=0).dense
    text = tokens - dense.dense_visual_tokens - dense.structural_tokens
    report = asked(model_id, text_tokens=text, new_tokens=2048)
    found = peak(report, Asking(running=Running("flash", old=True), context=True))
    assert found.phase.name == "logits"
    assert found.phase.largest_term == "logits in 32 bits"
    assert found.total / GIB == pytest.approx(published, rel=0.004)


def test_eager_llava_next():
    # CoIn, SCoRe and MetaCompress (CVPR 2026) report 16.7 to 16.8 for 2,880 visual tokens
    report = asked("llava-next-vicuna-7b", visual_tokens=2880, text_tokens=60)
    assert peak(report, eager()).total / GIB == pytest.approx(16.75, abs=0.1)
    assert peak(report).total / GIB < 15


@pytest.mark.parametrize(
    ("method_id", "published"), [("pyramiddrop", 15.5), ("visionzip", 14.9), ("divprune", 13.9)]
)
def test_published_peaks_of_methods(method_id, published):
    # CoIn (CVPR 2026), LLaVA-NeXT-7B with 320 of 2,880 visual tokens; GB or GiB is not said, and
    # eager attention is inferred from the dense 16.8
    model = load_model("llava-next-vicuna-7b")
    workload = Workload(visual_tokens=2880, text_tokens=60, new_tokens=2)
    schedule = load_method(method_id).schedule(model, workload, 320)
    report = evaluate(model, workload, schedule, Counting(selection="released"))
    assert peak(report, eager()).total / GIB == pytest.approx(published, rel=0.03)


def test_maps_of_all_layers():
    n = 2940
    report = asked("llava-next-vicuna-7b", visual_tokens=2880, text_tokens=60)
    kept = phase(peak(report, eager(output_attentions=True)), "logits").terms["attention maps"]
    assert kept == 32 * 2 * 32 * n**2  # 16.5 GiB
    with pytest.raises(InvalidInput, match="output_attentions needs eager"):
        peak(report, Asking(running=Running(output_attentions=True)))


def test_pruning_inside_the_llm_keeps_the_peak_of_the_layers_before():
    report = asked(schedule=HALF, visual_tokens=2880, text_tokens=60)
    dense, pruned = (peak(report, eager(), scheduled=side) for side in (False, True))
    # Layers 0 and 1 see 2,940 tokens, the other 30 see 1,500
    assert pruned.kv_per_layer == (2940 * 2**14,) * 2 + (1500 * 2**14,) * 30
    assert pruned.layers[1].terms == dense.layers[1].terms
    # 8·32·2940² bytes of scores outweigh 8·32·1500² and the cache of 30 layers
    assert phase(pruned, "prefill").layer == 1
    assert phase(dense, "prefill").layer == 31


def test_released_fastv_keeps_a_map():
    schedule = Schedule(stages=HALF, selection="fastv")
    counting = Counting(selection="released")
    report = evaluate(load_model("llava-1.5-7b"), Workload(text_tokens=64), schedule, counting)
    terms = phase(peak(report), "selection").terms
    assert terms["selection's maps"] == 2 * 32 * 640**2
    assert terms["eager scores"] == 6 * 32 * 640**2
    assert terms["KV cache"] == 2 * 640 * 2**14


def test_the_cache_in_fewer_bits():
    half, quarter = (peak(asked(), Asking(kv_bits=bits)).kv_per_layer for bits in (8, 4))
    assert half[0] == 640 * 2**13
    assert quarter[0] == 640 * 2**12
    four = Schedule(bits={"kv": 4})
    report = evaluate(load_model("llava-1.5-7b"), Workload(), four)
    assert peak(report).kv_per_layer == quarter
    assert peak(report, scheduled=False).kv_per_layer[0] == 640 * 2**14


@pytest.mark.parametrize("scheduled", [False, True])
def test_the_largest_batch_and_context_are_the_last_that_fit(scheduled):
    report = asked(schedule=HALF, new_tokens=50)
    capacity, asking = 24 * 10**9, Asking(context=True)
    found = fit(report, asking, capacity, scheduled=scheduled)

    def total(one: Report) -> int:
        return peak(one, asking, scheduled=scheduled).total

    assert found.fits
    assert total(with_batch(report, found.batch)) <= capacity
    assert total(with_batch(report, found.batch + 1)) > capacity
    assert found.context is not None
    text = found.context - 576
    assert total(with_text(report, text)) <= capacity
    assert total(with_text(report, text + 1)) > capacity
    assert fit(report, asking, 10**18).batch == MOST


def test_what_makes_a_model_fit():
    report = asked(batch=64)
    capacity = 24 * 10**9
    found = fit(report, Asking(), capacity)
    assert not found.fits
    assert found.excess == found.peak.total - capacity > 0
    named = [one.change for one in remedies(report, Asking(), capacity)]
    assert 1 < found.batch < 64
    assert named[0] == f"--batch {found.batch}"
    assert "--tp 2" in named
    # Weights of 14.1 GB: 4.8 in 4 bits, 2.7 of which two devices share
    (together,) = remedies(report, Asking(), 5 * 10**9)
    assert together.change == "--batch 1 --bits 4 --tp 2"
    assert remedies(asked(), Asking(), 10**9) == ()


def test_peaks_are_exact_at_absurd_sizes():
    report = asked(text_tokens=10**7 - 576, batch=10**4)
    n = 10**4 * 10**7
    found = peak(report, eager())
    assert phase(found, "prefill").terms["KV cache"] == 2**19 * n
    assert phase(found, "prefill").terms["mask"] == 2 * 10**4 * 10**14


@settings(max_examples=30)
@given(
    text=st.integers(0, 4000),
    keep=st.fractions("1/100", 1, max_denominator=100),
    layer=st.integers(0, 31),
    attention=st.sampled_from(["eager", "sdpa", "flash"]),
    batch=st.integers(1, 50),
)
def test_fewer_tokens_never_need_more(text, keep, layer, attention, batch):
    schedule = ({"first_layer": layer, "ratio": keep},)
    report = asked(schedule=schedule, text_tokens=text, batch=batch, new_tokens=3)
    asking = Asking(running=Running(attention))
    after, before = (peak(report, asking, scheduled=side).total for side in (True, False))
    assert WEIGHTS < after <= before
    assert before <= peak(with_batch(report, batch + 1), asking, scheduled=False).total
