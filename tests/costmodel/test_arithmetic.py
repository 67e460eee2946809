"""What products run at: bits of options and schedules, and the units that a device has."""

from __future__ import annotations

import pytest
from toy_device import HALF, device, timed
from vlm_tokencost.costmodel import InvalidInput, Schedule, Workload, evaluate
from vlm_tokencost.costmodel.clock import Running, arithmetic
from vlm_tokencost.costmodel.device import Peaks
from vlm_tokencost.presets import load_model


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
        # an option of weights leaves the schedule's activations
        ({"activations": 4}, {"bits": 8}, (8, 4, 16)),
        ({"activations": 16}, {"bits": 8}, (8, 16, 16)),
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


@pytest.mark.parametrize(
    ("name", "own"), [("bits", "weights"), ("activation_bits", "activations"), ("kv_bits", "kv")]
)
@pytest.mark.parametrize("stated", [16, 8, 4])
@pytest.mark.parametrize("asked", [16, 8])
def test_bits_that_are_given_twice_are_refused(name, own, stated, asked):
    for schedule in (
        Schedule(bits={own: stated}),
        Schedule(mixture=[{"probability": 1, "schedule": {"bits": {own: stated}}}]),
    ):
        with pytest.raises(InvalidInput) as error:
            timed(schedule=schedule, running=Running(**{name: asked}), new_tokens=2)
        assert (error.value.field, error.value.value) == (name, asked)
        assert error.value.problem == f"stands beside the schedule's own {stated} bits"
        assert error.value.way_out == "leave one of them out"


def test_ways_of_a_mixture_have_bits_of_their_own():
    ways = [{"probability": "1/4", "schedule": {"bits": {"weights": 4}}}, {"probability": "3/4"}]
    mixed = timed(schedule=Schedule(mixture=ways), new_tokens=3)
    four = timed(schedule=Schedule(bits={"weights": 4}), new_tokens=3).scheduled
    for one, less, full in zip(
        mixed.scheduled.end_to_end, four.end_to_end, mixed.dense.end_to_end, strict=True
    ):
        assert one == pytest.approx(less / 4 + 3 * full / 4)
    assert [way.numbers.weights for way in mixed.ways] == [4, 16]
    assert timed(schedule=Schedule(mixture=[{"probability": 1, "schedule": HALF}])).ways == ()
    same = Schedule(mixture=[{"probability": 1}], bits={"weights": 8})
    assert timed(schedule=same).ways == ()
