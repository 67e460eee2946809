"""What the measuring suite is made of: statistics, attribution, cases, sizes, one bench."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import pytest
from measuring import FEW
from vlm_tokencost.costmodel import InvalidInput, Workload, model_parameters, plan
from vlm_tokencost.presets import load_model
from vlm_tokencost.validation.measure import Options, plan_suite
from vlm_tokencost.validation.measure.bench import Bench
from vlm_tokencost.validation.measure.machine import Host, Kernels, kernels_on_device
from vlm_tokencost.validation.measure.options import budget_of
from vlm_tokencost.validation.measure.phases import PhaseClock, clocked
from vlm_tokencost.validation.measure.small import small
from vlm_tokencost.validation.measure.spread import quantile, spread
from vlm_tokencost.validation.memory import weight_bytes, working_bytes


def test_quartiles_of_literals():
    # Sorted 1 2 3 4: places 0.75, 1.5 and 2.25 of 0 … 3.
    assert spread([4.0, 2.0, 3.0, 1.0]) == {
        "repeats": 4,
        "minimum": 1.0,
        "lower_quartile": 1.75,
        "median": 2.5,
        "upper_quartile": 3.25,
    }
    assert spread([7.0])["upper_quartile"] == 7.0
    assert [quantile([10.0, 20.0], share) for share in (0, 0.5, 1)] == [10.0, 15.0, 20.0]


def test_innermost_component_pays():
    times = iter([0, 1, 3, 6, 10, 15, 21, 28])
    clock = PhaseClock(lambda: next(times))
    clock.start()  # 0
    clock.enter("vision")  # 1: outside had 1
    clock.enter("vision")  # a block inside the tower takes no mark
    clock.leave()
    clock.enter("connector")  # 3: vision had 2
    clock.leave()  # 6: the connector had 3
    clock.leave()  # 10: vision had 4 more
    clock.enter("decoder")  # 15: outside had 5 more
    clock.leave()  # 21: the decoder had 6
    clock.stop()  # 28: outside had 7 more
    assert clock.seconds(lambda begin, end: end - begin) == {
        "outside": 13,
        "vision": 6,
        "connector": 3,
        "decoder": 6,
    }


def test_hooks_follow_modules_and_go_away():
    import torch

    inner, outer = torch.nn.Identity(), torch.nn.Sequential()
    outer.append(torch.nn.Identity()).append(inner)
    ticks = iter(range(10))
    with clocked({outer: "vision", inner: "connector"}, lambda: next(ticks)) as clock:
        outer(torch.zeros(1))
    # Marks 0 start, 1 outer begins, 2 inner begins, 3 inner ends, 4 outer ends, 5 stop.
    assert clock.seconds(lambda begin, end: end - begin) == {
        "outside": 2,
        "vision": 2,
        "connector": 1,
    }
    outer(torch.zeros(1))
    assert next(ticks) == 6, "no hook is left"


def test_kernels_are_told_from_copies_waits_and_names():
    from torch._C._autograd import DeviceType

    def event(name, nanoseconds, device=DeviceType.CUDA, annotation=False):
        return SimpleNamespace(
            name=lambda: name,
            duration_ns=lambda: nanoseconds,
            device_type=lambda: device,
            is_user_annotation=lambda: annotation,
        )

    events = [
        event("gemm", 2_000_000_000),
        event("softmax", 500_000_000),
        event("Memcpy DtoD (Device -> Device)", 250_000_000),
        event("Memset (Device)", 125_000_000),
        event("cudaLaunchKernel", 9_000_000_000, DeviceType.CPU),
        event("a range", 9_000_000_000, annotation=True),
        event("Context Sync", 9_000_000_000),
    ]
    assert kernels_on_device(events) == Kernels(2.5, 0.375, 2)
    assert kernels_on_device(events[4:]) is None


def test_order_and_budgets_of_the_full_suite():
    cases = plan_suite(Options(models=("llava-1.5-7b", "llava-next-vicuna-7b")))
    # Per model: 2 attentions × 2 batches × (1 baseline + 3 budgets × 4 methods).
    assert len(cases) == 2 * 2 * 2 * 13
    assert [case.label for case in cases[:3]] == [
        "llava-1.5-7b, baseline, batch 1, sdpa",
        "llava-1.5-7b, fastv 192, batch 1, sdpa",
        "llava-1.5-7b, pyramiddrop 192, batch 1, sdpa",
    ]
    assert [case.attention for case in cases[:52]] == ["sdpa"] * 26 + ["eager"] * 26
    assert {case.budget for case in cases[:52]} == {None, 192, 128, 64}
    # Of five crops of 576 = 2,880 tokens, beside 48 separators.
    assert {case.budget for case in cases[52:]} == {None, 960, 640, 320}
    assert cases[52].report.dense.dense_visual_tokens == 2928
    assert not any(case.refusal for case in cases)


def test_qwen_sees_1296_tokens():
    (case, *_) = plan_suite(Options(models=("qwen2.5-vl-7b",), batches=(1,)))
    assert case.report.dense.visual == (36 * 36,) * 28


@pytest.mark.parametrize(("share", "expected"), [("1/3", 105), ("2/9", 70), ("1/9", 35)])
def test_budgets_are_multiples_of_the_crops(share, expected):
    # 5 crops of 64 tokens: 320/3 = 106.7, 640/9 = 71.1, 320/9 = 35.6.
    model = small(load_model("llava-next-vicuna-7b"))
    assert budget_of(model, Workload(), Fraction(share)) == expected


@pytest.mark.parametrize(
    ("preset", "visual"),
    [
        ("llava-1.5-7b", 64),
        # A base crop and 2 × 2 crops of 8 × 8, one newline per row of 16.
        ("llava-next-vicuna-7b", 5 * 64 + 16),
        ("llava-onevision-7b", 64 + 64 + 8),
        ("internvl3-8b", 16),
    ],
)
def test_small_crops(preset, visual):
    model = small(load_model(preset))
    assert plan(model, Workload()).dense_visual_tokens == visual
    full = load_model(preset)
    fewer = full.vision.position_embeddings - model.vision.position_embeddings
    patches = plan(full, Workload()).visual_input.crops[0]
    assert fewer == patches[0] * patches[1] - 64
    assert sum(model_parameters(model).values()) < 10_000_000


def test_memory_estimate_of_llava():
    # LLaVA-1.5, 640 tokens, bfloat16: KV 640·32·2·4096·2 = 335,544,320, and two layers of it.
    case = plan_suite(Options(models=("llava-1.5-7b",), batches=(1,)))[0]
    cache = 335_544_320
    states = 640 * (10 * 4096 + 3 * 11008) * 2
    # Encoder: 16 heads · 577² scores of 10 bytes; 24 hidden states of 577·1024, two at a time.
    encoder = 16 * 577**2 * 10 + 2 * 24 * 577 * 1024 * 2
    assert working_bytes(case.report, "bfloat16", "sdpa") == cache + cache // 16 + max(
        states, encoder
    )
    scores = 32 * 640**2 * 10
    assert working_bytes(case.report, "bfloat16", "eager") == cache + cache // 16 + max(
        states + scores, encoder
    )
    assert weight_bytes(case.report, "bfloat16") == 2 * 7_063_427_072


class PretendedGpu(Host):
    """A device whose memory and kernels are made up."""

    has_kernels = True
    used = 100

    def reset_peak(self):
        """Count the resets."""
        self.used += 1

    def peak(self):
        """Return a number that tells the resets apart."""
        return self.used

    def kernels(self, run):
        """Return the same for every call."""
        run()
        return Kernels(0.5, 0.25, 3)


def test_kernels_and_peaks_of_each_phase(tmp_path):
    bench = Bench(FEW)
    bench.machine = PretendedGpu()
    case = plan_suite(FEW)[1]
    bench.prepare(case.report.model)
    bench._weights = 90
    measured = bench.measure(case)
    # One reset before the run, one at the first decoder layer, one behind the prefill.
    assert measured["memory_bytes"] == {"weights": 90, "encode": 101, "prefill": 102, "decode": 103}
    each = {"seconds": 0.5, "copy_seconds": 0.25, "launches": 3}
    assert measured["kernels"] == {"prefill": each, "decode_forward": each}
    assert measured["wall_seconds"]["prefill"]["repeats"] >= 2
    assert measured["warm_ups"] == 1, "the run whose memory is measured is the last warm-up"
    bench.release()


def test_attentions_switch_on_one_model(tmp_path):
    options = replace(FEW, attentions=("sdpa", "eager"), methods=())
    bench = Bench(options)
    fused, eager = plan_suite(options)
    bench.prepare(fused.report.model)
    built = bench._model
    for case in (fused, eager):
        bench.measure(case)
        assert bench._driver.attention == case.attention
        assert bench._driver.model is built


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"device": "meta"}, "--device meta has shapes and no time; give --device cuda or"),
        ({"scale": "tiny"}, "--scale tiny is not a choice; choose from full, reduced"),
        ({"attentions": ("flash",)}, "--attention flash is not a choice"),
        ({"repeats": 0}, "--repeats 0 is below 1"),
        ({"batches": (0,)}, "--batch 0 is below 1"),
        ({"max_minutes": 0}, "--max-minutes 0 leaves no time; give more than 0"),
    ],
)
def test_options_are_checked(changes, sentence):
    with pytest.raises(InvalidInput) as refused:
        Options(**changes)
    assert str(refused.value).startswith(sentence)


def test_unknown_names_are_refused():
    with pytest.raises(InvalidInput, match=r"model llava-1\.5-7c is not known"):
        plan_suite(Options(models=("llava-1.5-7c",)))
    with pytest.raises(InvalidInput, match="method fastvv is not known"):
        plan_suite(Options(methods=("fastvv",)))


def test_attention_that_a_part_does_not_have():
    options = Options(models=("paligemma2-3b-224",), methods=(), device="cpu", scale="reduced")
    case = next(case for case in plan_suite(options) if case.attention == "sdpa")
    bench = Bench(options)
    bench.prepare(case.report.model)
    with pytest.raises(InvalidInput, match="--attention sdpa is not there for the parts of pali"):
        bench.measure(case)
