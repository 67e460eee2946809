"""Steps of a window, and ways of a router, by hand."""

from fractions import Fraction

import pytest
from refusals import refusal
from vlm_tokencost.costmodel import Counting, Schedule, Workload, evaluate, plan
from vlm_tokencost.costmodel.memory import kv_cache_bytes
from vlm_tokencost.costmodel.training import training_step
from vlm_tokencost.presets import load_model

LLAVA = load_model("llava-1.5-7b")
M, N = 576, 64


def test_a_step_computes_what_is_new_and_reads_the_window():
    # S + ρ(1 − S) = 0.25 + 0.1 · 0.75 = 0.325 of 576: ⌈187.2⌉ = 188
    stream = {"stride": 0.25, "refresh": 0.1, "bank": 1024}
    seen = plan(LLAVA, Workload(), Schedule(stream=stream))
    assert seen.query == seen.key == seen.ffn == (188 + N,) * 32
    assert seen.attended == (M + N + 1024,) * 32
    assert seen.pairs == ((188 + N) * (M + N + 1024),) * 32
    assert seen.kv_stored == (M + N + 1024,) * 32
    assert seen.connector_tokens == 188
    # without a bank the cache is that of the window
    assert plan(LLAVA, Workload(), Schedule(stream={"stride": 0.25})).kv_stored == (M + N,) * 32


def test_new_frames_alone_pass_the_encoder():
    # 8 frames, a quarter is new: 2 of them
    model, workload = load_model("video-llava-7b"), Workload(frames=8)
    seen = plan(model, workload, Schedule(stream={"stride": 0.25}))
    dense = plan(model, workload)
    assert len(dense.visual_input.crops) == 8
    assert [4 * tokens for tokens in seen.encoder_tokens] == list(dense.encoder_tokens)


def test_a_stream_of_reduced_windows():
    # 288 in each layer, a quarter of which is computed: 72
    schedule = Schedule(compress={"ratio": 0.5}, stream={"stride": 0.25})
    seen = plan(LLAVA, Workload(), schedule)
    assert seen.query == (72 + N,) * 32
    assert seen.attended == (288 + N,) * 32


def test_a_mixture_is_the_expectation_of_its_ways():
    # VideoRouter: 0.3 keep 64 tokens, 0.5 all, 0.2 do not run
    mixture = [
        {"probability": "0.3", "schedule": {"compress": {"tokens": 64}}},
        {"probability": "0.5"},
        {"probability": "0.2", "skipped": True},
    ]
    report = evaluate(LLAVA, Workload(), Schedule(mixture=mixture))
    seen = report.scheduled
    assert seen.average_visual_tokens == Fraction(3, 10) * 64 + Fraction(1, 2) * 576
    assert seen.query == (round(0.3 * 128 + 0.5 * 640),) * 32  # 358.4
    assert [share for share, _ in seen.branches] == [Fraction(tenths, 10) for tenths in (3, 5, 2)]

    def gated(n):
        # 4nd² + 2n²d + 3ndm in 32 layers of d = 4096, m = 11008
        return 32 * (4 * n * 4096**2 + 2 * n * n * 4096 + 3 * n * 4096 * 11008)

    # three terms of two ways, each rounded in each of 32 layers
    expected = Fraction(3, 10) * gated(128) + Fraction(1, 2) * gated(640)
    assert abs(report.bill("gated").total - expected) <= Fraction(3 * 2 * 32, 2)
    token = 32 * 2 * 4096 * 2
    assert kv_cache_bytes(LLAVA, seen) == round(
        Fraction(3, 10) * 128 * token + Fraction(1, 2) * 640 * token
    )


def test_ways_share_what_the_whole_says():
    whole = Schedule(
        compress={"tokens": 100},
        bits={"kv": 8},
        mixture=[
            {"probability": "0.5", "schedule": {"compress": {"tokens": 50}}},
            {"probability": "0.5", "schedule": {"stages": [{"first_layer": 9, "tokens": 10}]}},
        ],
    )
    first, second = (way for _, way in plan(LLAVA, Workload(), whole).branches)
    assert first.visual == (50,) * 32
    assert second.visual == (100,) * 9 + (10,) * 23
    assert first.bits.kv == second.bits.kv == 8


@pytest.mark.parametrize(
    ("mixture", "words"),
    [
        ([{"probability": "0.5"}], "probabilities that sum to 0.5"),
        ([{"probability": 1, "skipped": True, "schedule": {}}], "goes with no schedule"),
        (
            [{"probability": 1, "schedule": {"mixture": [{"probability": 1}]}}],
            "is a mixture itself",
        ),
        ([{"probability": 0}], "is outside (0, 1]"),
    ],
)
def test_mixtures_that_are_wrong(mixture, words):
    assert words in str(refusal(Schedule, mixture=mixture))


def test_a_way_that_does_not_fit_is_named():
    ways = [
        {"probability": "0.5"},
        {"probability": "0.5", "schedule": {"stages": [{"first_layer": 40, "ratio": 0.5}]}},
    ]
    error = refusal(plan, LLAVA, Workload(), Schedule(mixture=ways))
    assert error.field == "mixture.1.schedule.stages.0.first_layer"
    # what all ways share is the whole's
    shared = Schedule(stages=[{"first_layer": 40, "ratio": 0.5}], mixture=[{"probability": 1}])
    assert refusal(plan, LLAVA, Workload(), shared).field == "stages.0.first_layer"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("fastvlm-0.5b", "is a convolutional network"),
        ("mini-gemini-7b", "two encoders"),
        ("minicpm-v-2.6", "takes whole crops"),
        ("blip2-opt-2.7b", "takes whole crops"),
        ("phi-4-multimodal", "takes whole crops"),
    ],
)
def test_a_stream_needs_tokens_one_by_one(model, words):
    error = refusal(plan, load_model(model), Workload(), Schedule(stream={"stride": 0.5}))
    assert error.field == "stream"
    assert words in str(error)


def test_new_tokens_of_a_stream_are_not_spread_evenly():
    report = evaluate(LLAVA, Workload(), Schedule(stream={"stride": 0.25}), Counting(causal=True))
    assert refusal(report.bill, "exact").field == "causal"


def test_the_floor_of_a_mixture_is_the_expectation_of_its_ways():
    # half of the requests skip the model, whose floor is then half of the dense one's
    schedule = Schedule(mixture=[{"probability": "1/2"}, {"probability": "1/2", "skipped": True}])
    mixed, dense = evaluate(LLAVA, Workload(), schedule), evaluate(LLAVA, Workload())
    assert 2 * mixed.floor() == dense.floor()
    assert mixed.floor() <= mixed.total()


def test_a_rule_of_a_mixture_is_priced_once():
    # 10 · 20 MACs, however many ways there are
    term = {"name": "router", "tokens": "1", "in_features": "10", "out_features": "20"}
    rule = {"name": "router", "computes": "one product", "terms": [term]}
    ways = [{"probability": "1/2"}, {"probability": "1/2", "schedule": {"compress": {"tokens": 9}}}]
    report = evaluate(LLAVA, Workload(new_tokens=4), Schedule(mixture=ways, selection=rule))
    assert report.bill("exact", phase="generation").by_component()["selection"] == 2 * 10 * 20


def test_training_is_of_the_whole():
    branch = {"probability": 1, "schedule": {"training": {"recompute": True}}}
    error = refusal(Schedule, mixture=[branch])
    assert error.field == "mixture.0.schedule.training"
    streaming = Schedule(mixture=[{"probability": 1, "schedule": {"stream": {"stride": 0.5}}}])
    error = refusal(training_step, evaluate(LLAVA, Workload(), streaming))
    assert error.field == "stream"
