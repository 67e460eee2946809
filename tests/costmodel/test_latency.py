"""Times of a run on a device: arithmetic by hand, published measurements."""

from __future__ import annotations

from fractions import Fraction

import pytest
from toy_device import GRAPH, HALF, device, timed
from vlm_tokencost.costmodel import Schedule, Workload, evaluate
from vlm_tokencost.costmodel.clock import Running
from vlm_tokencost.costmodel.device import Peaks
from vlm_tokencost.costmodel.latency import latency, timed_kernels
from vlm_tokencost.presets import load_method, load_model


def test_the_lower_bound_of_a_prefill_by_hand():
    # 640 tokens on 100 TFLOP/s and 1 TB/s: every product is bound by compute, as 640 FLOP per
    # weight byte are above 100; the head reads one row and all its weights.
    n, d, m = 640, 4096, 11008
    products = 2 * n * (4 * d * d + 3 * d * m)
    attention = 2 * (n * (n + 1) // 2) * 32 * 256
    head = 2 * (d * 32064 + d + 32064)
    expected = 32 * (products + attention) / 100e12 + head / 1e12
    found = timed(running=GRAPH).dense.stages["prefill"]
    assert found.time.lower == pytest.approx(expected, rel=1e-12)
    assert found.limit == "compute"


def test_the_lower_bound_of_a_decode_forward_by_hand():
    # Bytes alone: weights, vectors in and out, and 641 keys and values of 32 layers.
    d, m = 4096, 11008
    vectors = (d + 3 * d) + (d + d) + (d + 2 * m) + (m + d)
    layer = 2 * (4 * d * d + 3 * d * m + vectors) + 2 * d + 2 * d + 641 * 4 * d
    head = 2 * (d * 32064 + d + 32064)
    found = timed(new_tokens=2).dense
    assert found.first is not None
    assert found.first.time.lower == pytest.approx((32 * layer + head) / 1e12, rel=1e-12)
    assert found.first.limit == "weights"


def test_the_central_time_of_one_product_by_hand():
    # The connector of LLaVA-1.5: 576 × (1024 → 4096 → 4096) at 0.75 and 0.9, p = 1.5, 6 µs each
    def product(n, c_in, c_out):
        compute = 2 * n * c_in * c_out / (0.75 * 100e12)
        memory = 2 * (n * (c_in + c_out) + c_in * c_out) / (0.9 * 1e12)
        return (compute**1.5 + memory**1.5) ** (2 / 3) + 6e-6

    found = timed().dense.stages["connector"].time.central
    assert found == pytest.approx(product(576, 1024, 4096) + product(576, 4096, 4096), rel=1e-12)


def test_the_central_time_of_fused_attention_by_hand():
    # 640·641/2 pairs of 32 heads and 256 features at 0.7 of 0.75 of the peak; q, k, v and output
    found = {kernel.name: stage for kernel, stage in timed_kernels(timed())}
    compute = 2 * (640 * 641 // 2) * 32 * 256 / (0.7 * 0.75 * 100e12)
    memory = 2 * 640 * 4 * 4096 / (0.9 * 1e12)
    time = (compute**1.5 + memory**1.5) ** (2 / 3) + 6e-6
    prefill = [one for kernel, one in timed_kernels(timed()) if kernel.stage == "prefill"]
    attention = found["scores and values"].device
    assert attention.central == pytest.approx(32 * time, rel=1e-12)
    # 2/3 of 0.525 is 0.35 of the peak at worst
    slow = compute * 0.525 / 0.35, memory * 0.9 / 0.7
    worst = (slow[0] ** 1.5 + slow[1] ** 1.5) ** (2 / 3) + 6e-6
    assert attention.upper == pytest.approx(32 * worst, rel=1e-12)
    assert sum(one.device.central for one in prefill) == pytest.approx(
        timed().dense.stages["prefill"].device.central
    )


def test_the_central_time_of_an_encoder_product_by_hand():
    # CLIP's FFN up: 577 × (1024 → 4096) at 0.25 of the peak, and 1/6 at worst
    found = {
        kernel.name: stage.device
        for kernel, stage in timed_kernels(timed())
        if kernel.stage == "vision"
    }
    flops, moved = 2 * 577 * 1024 * 4096, 2 * (577 * (1024 + 4096) + 1024 * 4096)

    def joined(share_c, share_b):
        times = flops / (share_c * 100e12), moved / (share_b * 1e12)
        return (times[0] ** 1.5 + times[1] ** 1.5) ** (2 / 3) + 6e-6

    assert found["up"].central == pytest.approx(24 * joined(0.25, 0.9), rel=1e-12)
    assert found["up"].upper == pytest.approx(24 * joined(0.25 * 2 / 3, 0.7), rel=1e-12)
    assert found["up"].lower == pytest.approx(24 * flops / 100e12, rel=1e-12)


def test_eager_python_is_the_floor_of_short_forwards():
    graph = timed(new_tokens=2).dense
    eager = timed(new_tokens=2, running=Running(attention="flash")).dense
    for stage in ("prefill", "decode"):
        before, after = graph.stages[stage].time, eager.stages[stage].time
        assert after.lower == before.lower
        assert after.central == max(eager.stages[stage].device.central, 32 * 0.85e-3)
        # In the upper bound host and device take turns.
        assert after.upper == pytest.approx(eager.stages[stage].device.upper + 32 * 1.05e-3)
    assert eager.stages["decode"].limit == "host"


def test_the_encoder_waits_for_python_in_the_upper_bound_alone():
    vision = timed(running=Running(attention="flash")).dense.stages["vision"]
    # CLIP's 24 layers
    assert vision.time.upper == pytest.approx(vision.device.upper + 24 * 1.05e-3)
    assert vision.time[:2] == vision.device[:2]
    graph = timed().dense.stages["vision"]
    assert graph.time == graph.device == vision.device


def test_rounds_that_wait_take_a_launch_each():
    schedule = load_method("divprune").schedule(load_model("llava-1.5-7b"), budget=64)
    found = timed(schedule=schedule)
    (rounds,) = [
        stage.time
        for kernel, stage in timed_kernels(found)
        if kernel.name == "rounds that wait for one another"
    ]
    assert rounds == (0.0, pytest.approx(64 * 6e-6), pytest.approx(64 * 6e-6))


def test_loading_is_added_as_it_is():
    plain, loaded = timed(), timed(running=GRAPH._replace(load_ms=Fraction(40)))
    for before, after in zip(plain.dense.ttft, loaded.dense.ttft, strict=True):
        assert after == pytest.approx(before + 0.040)


def test_forwards_between_those_priced_lie_on_straight_lines():
    # 32 forwards are priced one by one; the sum of 99 is compared with the sum over each.
    few = timed(new_tokens=33).dense
    report = evaluate(load_model("llava-1.5-7b"), Workload(new_tokens=100))
    many = latency(report, device(), GRAPH).dense
    single = []
    for step in (1, 50, 99):
        one = latency(report._replace(workload=Workload(new_tokens=step + 1)), device(), GRAPH)
        assert one.dense.last is not None
        single.append(one.dense.last.time.central)
    first, middle, last = single
    assert middle == pytest.approx((first + last) / 2, rel=1e-6)
    assert many.stages["decode"].time.central == pytest.approx(99 * middle, rel=1e-6)
    assert few.forwards == 32
    assert few.mean is not None
    assert few.mean.time.central * 32 == pytest.approx(few.stages["decode"].time.central)


def test_energy_is_board_power_times_time():
    found = timed(on=device(tdp_w=400))
    assert found.energy_joules is not None
    assert found.energy_joules[0].central == pytest.approx(400 * found.dense.ttft.central)
    assert timed().energy_joules is None


def test_a_mixture_is_the_expectation_of_its_ways():
    ways = [{"probability": "1/4", "schedule": HALF}, {"probability": "3/4"}]
    mixed = timed(schedule=Schedule(mixture=ways)).scheduled.ttft
    half, dense = timed(schedule=HALF).scheduled.ttft, timed().dense.ttft
    for one, reduced, full in zip(mixed, half, dense, strict=True):
        assert one == pytest.approx(reduced / 4 + 3 * full / 4)


#: (source, text tokens, TFLOP/s, GB/s, fp8 TFLOP/s, measured ms). A whole prefill of LLaMA-7B.
PREFILLS = [
    ("NVIDIA/TensorRT-LLM performance.md, A100", 128, 312, 2039, None, 16.0),
    ("NVIDIA/TensorRT-LLM performance.md, A100", 2048, 312, 2039, None, 133.0),
    ("NVIDIA/TensorRT-LLM performance.md, L40S fp8", 2048, 362.05, 864, 733, 73.0),
    ("mit-han-lab/llm-awq tinychat README, RTX 4090", 256, 165.2, 1008, None, 29.0),
    ("mit-han-lab/llm-awq tinychat README, RTX 4090", 4096, 165.2, 1008, None, 441.0),
]


@pytest.mark.parametrize("row", PREFILLS, ids=lambda row: f"{row[0][-12:]} {row[1]}")
def test_measured_prefills_lie_inside(row):
    _, tokens, peak, bandwidth, fp8, measured = row
    where = device(peaks=Peaks(bf16=peak, fp8=fp8), bandwidth_gb_s=bandwidth)
    running = GRAPH._replace(bits=8 if fp8 else 16)
    report = evaluate(load_model("llava-1.5-7b"), Workload(text_tokens=tokens))
    found = latency(report, where, running).text_only.stages["prefill"].time
    assert found.lower <= measured / 1e3 <= found.upper
    assert found.upper / found.lower < 4


def test_a_7b_decodes_no_faster_in_python_than_its_layers_start():
    # Qwen2-VL README, A100, FlashAttention, 2048 tokens after 1: 39.02 (7B) and 35.29 (2B) tokens/s
    where = device(peaks=Peaks(bf16=312), bandwidth_gb_s=2039)
    for model, rate in (("qwen2-vl-7b", 39.02), ("qwen2-vl-2b", 35.29)):
        report = evaluate(load_model(model), Workload(text_tokens=1, new_tokens=2048))
        found = latency(report, where, Running(attention="flash")).text_only
        decode = found.stages["decode"]
        assert decode.limit == "host"
        assert decode.time.lower < 2048 / rate < decode.time.upper


def test_a_schedule_that_needs_many_rounds_can_be_slower():
    model = load_model("llava-1.5-7b")
    schedule = load_method("divprune").schedule(model, budget=512)
    where = device(peaks=Peaks(bf16=989), bandwidth_gb_s=3350)
    report = evaluate(model, Workload(), schedule)
    found = latency(report, where, Running())
    # 512 rounds of 6 µs against a prefill whose host floor nothing lowers
    assert found.scheduled.ttft.central > found.dense.ttft.central + 512 * 6e-6 * 0.99
