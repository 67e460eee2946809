"""Times on a device: arithmetic by hand, what must hold always, published measurements."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from itertools import pairwise

import pytest
from vlm_tokencost.costmodel import InvalidInput, Schedule, Stage, Workload, evaluate
from vlm_tokencost.costmodel.clock import Running, arithmetic, host_was_measured
from vlm_tokencost.costmodel.device import Device, Efficiency, Peaks
from vlm_tokencost.costmodel.latency import (
    bounded,
    ceiling,
    latency,
    possible_speed_up,
    speed_up,
    timed_kernels,
)
from vlm_tokencost.costmodel.timing import Interval, kernel_time, pass_time, pessimistic
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


@pytest.mark.parametrize("value", [True, False, "nan", "1e999", "9" * 41, 0, -1, 10**9 + 1])
def test_figures_that_are_no_numbers(value):
    with pytest.raises(InvalidInput):
        device(memory_gb=value)


def test_shares_end_at_one_and_exponents_begin_there():
    for name in ("compute", "memory", "elementwise_memory", "attention", "vision"):
        assert getattr(Efficiency(**{name: 1}), name) == 1
        with pytest.raises(InvalidInput):
            Efficiency(**{name: "1.0001"})
    assert Efficiency(exponent=1).exponent == 1
    with pytest.raises(InvalidInput):
        Efficiency(exponent="0.9999")


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


def test_a_speed_up_of_unlike_runs_lies_between_crossed_bounds():
    # 2 s at best against 4 s at worst is half as fast; 10 s at worst against 1 s, ten times
    before, after = Interval(2.0, 6.0, 10.0), Interval(1.0, 3.0, 4.0)
    assert possible_speed_up(before, after) == (0.5, 10.0)
    assert possible_speed_up(before, Interval(0.0, 0.0, 0.0)) == (1.0, math.inf)


@pytest.mark.parametrize(
    ("constants", "shares"),
    [
        ({}, (0.5, 0.7)),  # 2/3 of 0.75, and 7/9 of 0.9
        ({"compute": "0.9", "memory": "0.95"}, (0.5, 0.7)),  # never more than those
        ({"compute": "0.45", "memory": "0.72"}, (0.3, 0.56)),
        ({"compute": "0.5", "memory": "0.9"}, (1 / 3, 0.7)),
    ],
)
def test_shares_of_slow_software(constants, shares):
    assert pessimistic(Efficiency(**constants)) == pytest.approx(shares)


@pytest.mark.parametrize("constants", [{}, {"compute": "0.45", "memory": "0.72", "exponent": 2}])
def test_the_bounds_of_a_kernel_by_hand(constants):
    own = Efficiency(**constants)
    c, b, p = float(own.compute), float(own.memory), float(own.exponent)
    slow_c, slow_b = (0.5, 0.7) if not constants else (0.3, 0.56)
    # 6e12 FLOP at 100 TFLOP/s are 60 ms, 20e9 bytes at 1 TB/s 20 ms; 6 µs for the launch
    found = kernel_time(6e12, 20e9, 100e12, 1e12, own)
    assert found.lower == pytest.approx(0.060)
    assert found.central == pytest.approx(((0.06 / c) ** p + (0.02 / b) ** p) ** (1 / p) + 6e-6)
    slow = ((0.06 / slow_c) ** p + (0.02 / slow_b) ** p) ** (1 / p) + 6e-6
    assert found.upper == pytest.approx(slow)
    assert kernel_time(1e12, 40e9, 100e12, 1e12, own).lower == pytest.approx(0.040)
    assert kernel_time(0, 0, 100e12, 1e12, own) == (0, 0, 0)


def test_the_bounds_of_a_pass_by_hand():
    found = pass_time(8e9, 1e12, Efficiency())
    assert found.lower == pytest.approx(0.008)
    assert found.central == pytest.approx(0.010 + 2.5e-6)  # 0.8 of the bandwidth
    assert found.upper == pytest.approx(0.008 / 0.7 + 2.5e-6)
    slow = pass_time(8e9, 1e12, Efficiency(elementwise_memory="0.4"))
    assert slow.upper == pytest.approx(0.008 / 0.35 + 2.5e-6)  # 7/8 of 0.4
    assert pass_time(0, 1e12, Efficiency()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("vendor", "name", "measured"),
    [
        ("NVIDIA", "NVIDIA A100 80GB SXM4", True),
        ("NVIDIA", "NVIDIA Jetson AGX Orin", False),
        ("NVIDIA", "NVIDIA GH200", False),
        ("NVIDIA", "NVIDIA GB200", False),
        ("AMD", "AMD Instinct MI300X", False),
    ],
)
def test_hosts_that_were_measured(vendor, name, measured):
    assert host_was_measured(device(vendor=vendor, name=name)) is measured


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
    ("bits", "running", "numbers"),
    [
        # what a schedule says of activations holds, where fp8 units would take 8 bits
        ({"weights": 8}, {}, (8, 16, 16)),
        ({"weights": 8, "activations": 8}, {}, (8, 8, 16)),
        ({"kv": 4}, {"bits": 8}, (8, 8, 4)),
        ({"weights": 4}, {"activation_bits": 8, "kv_bits": 8}, (4, 8, 8)),
    ],
)
def test_bits_of_schedule_and_of_options(bits, running, numbers):
    report = evaluate(load_model("llava-1.5-7b"), Workload(), Schedule(bits=bits))
    where = device(peaks=Peaks(bf16=989, fp8=1979))
    found = arithmetic(where, report.scheduled, Running(**running))
    assert found.numbers[:3] == numbers


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
