"""What holds of every time: order of bounds, faster devices, fewer tokens, no overflow."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from toy_device import HALF, device, timed
from vlm_tokencost.costmodel import Schedule, Stage
from vlm_tokencost.costmodel.clock import Running
from vlm_tokencost.costmodel.device import Peaks
from vlm_tokencost.costmodel.gains import speed_up
from vlm_tokencost.costmodel.latency import bounded

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
