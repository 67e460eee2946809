"""Times on a device: arithmetic by hand, what must hold always, published measurements."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from itertools import pairwise

import pytest
from vlm_tokencost.costmodel import InvalidInput, Schedule, Stage, Workload, evaluate
from vlm_tokencost.costmodel.clock import Running, arithmetic
from vlm_tokencost.costmodel.device import Device, Peaks
from vlm_tokencost.costmodel.latency import bounded, ceiling, latency, speed_up
from vlm_tokencost.costmodel.timing import Interval
from vlm_tokencost.presets import load_method, load_model

GRAPH = Running(runtime="graph", attention="flash")
HALF = Schedule(stages=(Stage(first_layer=2, ratio="0.5"),))


def device(**changes):
    fields = {
        "id": "toy",
        "name": "Toy",
        "vendor": "none",
        "architecture": "none",
        "peaks": Peaks(bf16=100, fp16=100),
        "memory_gb": 80,
        "bandwidth_gb_s": 1000,
        "verification": "own",
        "source": ("this test",),
    }
    return Device(**(fields | changes))


def timed(model="llava-1.5-7b", schedule=None, running=GRAPH, on=None, **workload):
    report = evaluate(load_model(model), Workload(**workload), schedule)
    return latency(report, on or device(), running)


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


def test_speed_up_compares_like_bounds():
    found = speed_up(Interval(2.0, 6.0, 9.0), Interval(1.0, 4.0, 3.0))
    assert found == Interval(1.5, 1.5, 3.0)
    assert speed_up(Interval(0.0, 6.0, 9.0), Interval(0.0, 3.0, 3.0)) == Interval(1.0, 2.0, 3.0)


def test_no_schedule_exceeds_the_ceiling():
    found = timed(schedule=Schedule(compress={"tokens": 1}), new_tokens=64)
    most = ceiling(found)
    gain = speed_up(found.dense.end_to_end, found.scheduled.end_to_end)
    assert gain.central < most.speed_up.central
    assert most.stage == "decode"
    assert most.limit == "weights"
    assert most.share == pytest.approx(
        found.text_only.stages["decode"].time.central / found.dense.end_to_end.central
    )


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(channels={"ffn": "0.5"}),
        Schedule(bits={"weights": 4}),
        Schedule(channels={"ffn": "0.5"}, compress={"tokens": 9}),
    ],
)
def test_the_ceiling_keeps_what_is_no_pruning(schedule):
    found = timed(schedule=schedule, new_tokens=8)
    gain = speed_up(found.dense.end_to_end, found.scheduled.end_to_end)
    assert gain.central <= ceiling(found).speed_up.central


def test_energy_is_board_power_times_time():
    found = timed(on=device(tdp_w=400))
    assert found.energy_joules is not None
    assert found.energy_joules[0].central == pytest.approx(400 * found.dense.ttft.central)
    assert timed().energy_joules is None


@pytest.mark.parametrize(
    ("peaks", "running", "narrow", "dequantized"),
    [
        ({"bf16": 312, "int8": 624, "int4": 1248}, {"bits": 8}, "bf16", True),
        ({"bf16": 312, "int8": 624}, {"bits": 8, "activation_bits": 8}, "int8", False),
        ({"bf16": 989, "fp8": 1979, "int8": 1979}, {"bits": 8}, "fp8", False),
        ({"bf16": 989, "fp8": 1979}, {"bits": 4}, "bf16", True),
        ({"bf16": 989, "fp8": 1979}, {"bits": 4, "activation_bits": 8}, "fp8", False),
        ({"bf16": 258, "fp4": 1035}, {"bits": 4, "activation_bits": 4}, "fp4", False),
        ({"fp16": 65.1, "fp32": 8.1}, {}, "fp16", False),
        ({"fp32": 14}, {"bits": 4}, "fp32", True),
    ],
)
def test_what_products_run_at(peaks, running, narrow, dequantized):
    plan = evaluate(load_model("llava-1.5-7b"), Workload()).dense
    found = arithmetic(device(peaks=Peaks(**peaks)), plan, Running(**running))
    assert found.narrow == narrow
    assert found.numbers.dequantized is dequantized


def test_bits_of_a_schedule_are_its_own():
    schedule = Schedule(bits={"weights": 4, "kv": 8})
    found = timed(schedule=schedule, new_tokens=2)
    assert found.arithmetic[0].numbers[:3] == (16, 16, 16)
    assert found.arithmetic[1].numbers[:3] == (4, 16, 8)
    assert found.scheduled.first.time.lower < found.dense.first.time.lower / 3


@pytest.mark.parametrize(
    ("running", "peaks", "field"),
    [
        (Running(bits=5), {"bf16": 1}, "bits"),
        (Running(kv_bits=3), {"bf16": 1}, "kv_bits"),
        (Running(runtime="jit"), {"bf16": 1}, "runtime"),
        (Running(attention="ring"), {"bf16": 1}, "attention"),
        (Running(), {"int8": 1}, "device"),
    ],
)
def test_what_cannot_run_is_refused(running, peaks, field):
    with pytest.raises(InvalidInput) as error:
        timed(running=running, on=device(peaks=Peaks(**peaks)))
    assert error.value.field == field


def test_a_mixture_is_the_expectation_of_its_ways():
    ways = [{"probability": "1/4", "schedule": HALF}, {"probability": "3/4"}]
    mixed = timed(schedule=Schedule(mixture=ways)).scheduled.ttft
    half, dense = timed(schedule=HALF).scheduled.ttft, timed().dense.ttft
    for one, reduced, full in zip(mixed, half, dense, strict=True):
        assert one == pytest.approx(reduced / 4 + 3 * full / 4)


MODELS = ("llava-1.5-7b", "qwen2.5-vl-7b", "gemma3-4b", "qwen3-vl-30b-a3b", "deepseek-vl2-tiny")
RUNNINGS = [
    Running(runtime, attention, bits)
    for runtime in ("eager", "graph")
    for attention in ("eager", "sdpa", "flash")
    for bits in (None, 8, 4)
]


@pytest.mark.parametrize("model", MODELS)
def test_bounds_are_in_order(model):
    drawn = random.Random(6)
    for running in drawn.sample(RUNNINGS, 6):
        peaks = Peaks(bf16=drawn.uniform(1, 3000), fp8=drawn.uniform(1, 6000))
        where = device(peaks=peaks, bandwidth_gb_s=drawn.uniform(10, 9000))
        workload = {"batch": drawn.randint(1, 99), "new_tokens": drawn.choice((1, 2, 99))}
        found = timed(model, HALF, running, where, **workload)
        for side in (found.dense, found.scheduled, found.text_only):
            for lower, central, upper in bounded(side):
                assert 0 <= lower <= central <= upper
        gain = speed_up(found.dense.ttft, found.scheduled.ttft)
        assert gain.lower <= gain.central <= gain.upper


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("better", ["peaks", "bandwidth_gb_s"])
def test_a_faster_device_is_never_slower(model, better):
    drawn = random.Random(7)
    for running in drawn.sample(RUNNINGS, 4):
        base, factor = drawn.uniform(10, 2000), drawn.uniform(1.01, 9)
        slow = {"peaks": Peaks(bf16=base), "bandwidth_gb_s": base}
        faster = {"peaks": Peaks(bf16=factor * base), "bandwidth_gb_s": factor * base}
        before = timed(model, running=running, on=device(**slow), new_tokens=3)
        fast = device(**(slow | {better: faster[better]}))
        after = timed(model, running=running, on=fast, new_tokens=3)
        pairs = zip(bounded(before.dense), bounded(after.dense), strict=True)
        for slower, quicker in pairs:
            assert all(q <= s * (1 + 1e-12) for q, s in zip(quicker, slower, strict=True))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("attention", ["eager", "sdpa", "flash"])
def test_fewer_tokens_never_take_the_device_longer(model, attention):
    running = Running("graph", attention)
    times = []
    for keep in ("1", "0.9", "0.5", "0.25", "0.1"):
        schedule = Schedule(stages=(Stage(first_layer=1, ratio=keep),))
        times.append(timed(model, schedule, running, new_tokens=4).scheduled.device)
    for more, fewer in pairwise(times):
        assert all(f <= m * (1 + 1e-12) for f, m in zip(fewer, more, strict=True))


def test_huge_requests_do_not_overflow():
    found = timed(visual_tokens=10**7, batch=10**4, new_tokens=10**4, running=Running())
    assert all(math.isfinite(value) for side in bounded(found.dense) for value in side)
    # 10⁷ tokens of 10⁴ sequences: 2 · 10⁴ · n(n+1)/2 · 32 · 256 FLOP of attention in 32 layers
    n = 10**7 + 64
    attention = 32 * 2 * 10**4 * (n * (n + 1) // 2) * 32 * 256
    assert found.dense.stages["prefill"].flops == pytest.approx(
        attention + 2 * 10**4 * (32 * n * (4 * 4096**2 + 3 * 4096 * 11008) + 4096 * 32064)
    )


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
