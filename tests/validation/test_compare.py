"""The closed form beside counters: rows, phases, sides, and mistakes that must show."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from shallow_models import DECODER_LAYERS, shallow
from vlm_tokencost.costmodel import (
    Compress,
    Counting,
    InvalidInput,
    Model,
    Report,
    Schedule,
    Stage,
    Workload,
    evaluate,
)
from vlm_tokencost.costmodel.tokens import Processor
from vlm_tokencost.presets import load_method, load_model
from vlm_tokencost.validation import compare as comparing
from vlm_tokencost.validation.compare import Comparison, Row, Setting, check, compare
from vlm_tokencost.validation.forward import Driver
from vlm_tokencost.validation.measure.small import small
from vlm_tokencost.validation.reduced import reduced, resized

FULL = Setting("torch", "full", "meta")
HALF = Schedule(stages=(Stage(first_layer=2, ratio="1/2"),))
SMALL_IMAGE = ((112, 140),)


def rows_of(results: Sequence[Comparison]) -> list[Row]:
    return [row for result in results for row in result.rows]


def flops(results: Sequence[Comparison], side: str, phase: str, component: str) -> int | None:
    """Return what was counted, of all kinds."""
    found = [row for row in rows_of(results) if row[1:4] == (side, phase, component)]
    assert all(row.counted == row.analytic for row in found)
    assert all(row.difference == 0 for row in found)
    return sum(row.counted or 0 for row in found)


@cache
def golden() -> list[Comparison]:
    report = evaluate(load_model("llava-1.5-7b"), Workload(), HALF)
    return list(compare(report, FULL))


@pytest.mark.parametrize(
    ("side", "component", "expected"),
    [
        ("baseline", "vision", 381_918_216_192),
        ("baseline", "connector", 24_159_191_040),
        ("baseline", "decoder", 8_504_035_246_080),
        ("baseline", "head", 262_668_288),
        ("scheduled", "vision", 381_918_216_192),
        ("scheduled", "connector", 24_159_191_040),
        ("scheduled", "decoder", 4_866_567_045_120),
        ("scheduled", "head", 262_668_288),
        ("scheduled", "selection", 0),
    ],
)
def test_golden_figures(side: str, component: str, expected: int) -> None:
    assert flops(golden(), side, "prefill", component) == expected


def test_golden_decode_forward() -> None:
    assert flops(golden(), "baseline", "decode", "decoder") == 13_288_079_360
    # 576 visual tokens become 288 in 30 of 32 layers: 2·30·288 keys less, 2·32·128 FLOP each.
    expected = 13_288_079_360 - 2 * 30 * 288 * 2 * 32 * 128
    assert flops(golden(), "scheduled", "decode", "decoder") == expected


def test_what_ran_is_told() -> None:
    baseline, scheduled = golden()
    assert (baseline.side, scheduled.side) == ("baseline", "scheduled")
    assert baseline.tokens_per_layer == (640,) * 32
    assert scheduled.tokens_per_layer == (640,) * 2 + (352,) * 30
    assert baseline.decode_forwards == scheduled.decode_forwards == 1
    assert baseline.unseen["aten.silu"] == 2 * 32  # gated FFNs, prefill and decode forward
    assert list(baseline.unseen.values()) == sorted(baseline.unseen.values(), reverse=True)


def test_kinds() -> None:
    found = {
        (row.component, row.kind): row.counted for row in golden()[0].rows if row.phase == "prefill"
    }
    # 577 tokens, 24 layers, d = 1024, m = 4096; 24·24 patches of 14·14·3
    assert found == {
        ("vision", "attention"): 24 * 2 * 577**2 * 2 * 1024,
        ("vision", "convolution"): 2 * 576 * 3 * 14 * 14 * 1024,
        ("vision", "linear"): 24 * 2 * 577 * (4 * 1024**2 + 2 * 1024 * 4096),
        ("connector", "linear"): 2 * 576 * (1024 * 4096 + 4096**2),
        ("decoder", "attention"): 32 * 2 * 640**2 * 2 * 4096,
        ("decoder", "linear"): 32 * 2 * 640 * (4 * 4096**2 + 3 * 4096 * 11008),
        ("head", "linear"): 2 * 32064 * 4096,
    }


def test_another_family_at_full_size() -> None:
    model = load_model("internvl3-8b")
    results = list(compare(evaluate(model, Workload()), FULL))
    assert [result.side for result in results] == ["baseline"], "nothing is scheduled"
    seen = [flops(results, "baseline", "prefill", part) or 0 for part in ("vision", "connector")]
    assert sum(seen) == 737_685_897_216


# --- small models --------------------------------------------------------------------------------


def run(
    counter: Any,
    model: Model,
    schedule: Schedule | None = None,
    logits: Any = "last",
    **workload: Any,
) -> list[Comparison]:
    place = "meta" if counter == "torch" else "cpu"
    report = evaluate(model, Workload(**workload), schedule, Counting(logits=logits))
    return list(compare(report, Setting(counter, "reduced", place)))


@cache
def fastv(counter: str, model_id: str) -> list[Comparison]:
    model = shallow(model_id)
    workload = Workload(images=SMALL_IMAGE, text_tokens=9)
    schedule = load_method("fastv").schedule(model, workload, None)
    return run(counter, model, schedule, images=SMALL_IMAGE, text_tokens=9)


@pytest.mark.parametrize("counter", ["torch", "fvcore", "profiler"])
@pytest.mark.parametrize("model_id", ["llava-1.5-7b", "qwen2-vl-7b", "qwen2.5-vl-7b"])
def test_every_counter_agrees(counter: str, model_id: str) -> None:
    results = fastv(counter, model_id)
    assert [result.side for result in results] == ["baseline", "scheduled"]
    rows = rows_of(results)
    assert {row.difference for row in rows if row.counted is not None} == {0}
    components = {"vision", "connector", "decoder", "head", "selection"}
    assert {row.component for row in rows} == components
    blind = [(row.component, row.kind, row.unseen) for row in rows if row.counted is None]
    conv3d = [("vision", "convolution", ("aten.conv3d",))] * 2
    assert blind == (conv3d if counter == "profiler" and "qwen" in model_id else [])
    assert not [row for row in rows if row.counted is not None and row.unseen]


@pytest.mark.parametrize("counter", ["fvcore", "profiler"])
@pytest.mark.parametrize(
    ("method", "model_id"),
    [
        ("tome", "llava-1.5-7b"),
        ("visionzip", "llava-1.5-7b"),
        ("divprune", "internvl3-8b"),
        ("visionzip", "qwen2-vl-7b"),
    ],
)
def test_other_counters_agree_on_other_rules(counter: str, method: str, model_id: str) -> None:
    model = shallow(model_id)
    images = ((140, 140),)  # 5×5 visual tokens of Qwen-VL
    schedule = load_method(method).schedule(model, Workload(images=images), None)
    rows = rows_of(run(counter, model, schedule, images=images, text_tokens=9))
    assert {row.difference for row in rows if row.counted is not None} == {0}
    assert [row for row in rows if row.component == "selection" and row.counted]


@pytest.mark.parametrize(
    ("counter", "model_id"),
    [
        ("fvcore", "qwen3-vl-30b-a3b"),
        ("fvcore", "smolvlm2-256m"),
        ("fvcore", "paligemma2-3b-224"),
        ("fvcore", "gemma3-4b"),
        ("fvcore", "llama3.2-vision-11b"),
        ("profiler", "paligemma2-3b-224"),
        ("profiler", "llama3.2-vision-11b"),
    ],
)
def test_every_counter_agrees_on_the_further_families(counter: str, model_id: str) -> None:
    model = small(shallow(model_id))
    images = ((64, 96),) if "qwen" in model_id else ()
    rows = rows_of(run(counter, model, HALF, images=images, text_tokens=9, new_tokens=4))
    assert {row.difference for row in rows if row.counted is not None} == {0}
    components = {"vision", "connector", "decoder", "head"}
    assert {row.component for row in rows} == components
    # torch.profiler knows no kernel on two frames, nor one with padding "valid".
    blind = [(row.component, row.kind) for row in rows if row.counted is None]
    assert blind == [("vision", "convolution")] * (2 if counter == "profiler" else 0)


def test_a_window_that_bites() -> None:
    model = small(shallow("gemma3-4b"))
    sliding = resized(model.decoder.sliding_window, size=6)
    model = resized(model, decoder=resized(model.decoder, sliding_window=sliding))
    (result,) = run("torch", model, text_tokens=9, new_tokens=4)
    assert {row.difference for row in result.rows} == {0}
    # 4 visual, 4 structural and 9 text tokens; 8 heads, and all three layers slide
    assert result.tokens_per_layer == (17,) * 3
    attention = reduced(model).decoder.attention
    per_pair = 2 * 2 * attention.num_attention_heads * attention.head_dim
    found = {
        row.phase: row.counted
        for row in result.rows
        if (row.component, row.kind) == ("decoder", "attention")
    }
    # The prefill is handed all pairs; a decode forward reads 5 keys of the cache and its own.
    assert found == {"prefill": 3 * 17**2 * per_pair, "decode": 3 * 3 * 6 * per_pair}


def test_fvcore_leaves_the_dead_layer_out() -> None:
    model = shallow("llava-1.5-7b")
    assert model.vision.num_hidden_layers - model.vision.contributing_layers == 1
    width = reduced(model).vision.hidden_size  # an FFN is three times as wide
    layer = 2 * 577 * (4 + 2 * 3) * width**2
    found = {
        counter: [
            row.counted
            for row in fastv(counter, model.id)[0].rows
            if (row.component, row.kind) == ("vision", "linear")
        ]
        for counter in ("torch", "fvcore", "profiler")
    }
    assert found == {"torch": [3 * layer], "fvcore": [2 * layer], "profiler": [3 * layer]}


def test_batch() -> None:
    model = shallow("qwen2-vl-7b")
    one, two = (run("torch", model, HALF, images=SMALL_IMAGE, batch=batch) for batch in (1, 2))
    assert [row.counted for row in rows_of(two)] == [2 * (row.counted or 0) for row in rows_of(one)]
    assert {row.difference for row in rows_of(two)} == {0}


def test_logits_of_all_positions() -> None:
    model = shallow("qwen2-vl-7b")
    last, every = (
        run("torch", model, HALF, logits=logits, images=SMALL_IMAGE, text_tokens=9)
        for logits in ("last", "all")
    )
    one = flops(last, "baseline", "prefill", "head") or 0
    # 4·5 merged tokens, vision start and end, 9 of text; half of the 20 are left at the end.
    assert flops(every, "baseline", "prefill", "head") == 31 * one
    assert flops(every, "scheduled", "prefill", "head") == 21 * one
    assert flops(every, "baseline", "decode", "head") == one


def test_generation() -> None:
    model = shallow("qwen2-vl-7b")
    attention = reduced(model).decoder.attention
    results = run("torch", model, HALF, images=SMALL_IMAGE, text_tokens=9, new_tokens=4)
    assert [result.decode_forwards for result in results] == [3, 3]
    keys = sum(DECODER_LAYERS * (31 + step) for step in (1, 2, 3))
    per_key = 2 * attention.num_attention_heads * 2 * attention.head_dim
    found = [
        row.counted
        for row in rows_of(results)
        if (row.phase, row.component, row.kind) == ("decode", "decoder", "attention")
    ]
    assert found == [keys * per_key, (keys - 3 * 10) * per_key]  # one layer holds 10 fewer keys
    one = run("torch", model, HALF, images=SMALL_IMAGE, text_tokens=9, new_tokens=1)
    two = run("torch", model, HALF, images=SMALL_IMAGE, text_tokens=9, new_tokens=2)
    assert [result.rows for result in one] == [result.rows for result in two]


def test_several_images() -> None:
    model = shallow("qwen2-vl-7b")
    images = (*SMALL_IMAGE, (56, 84))
    (result,) = run("torch", model, images=images, text_tokens=9)
    # 4·5 and 2·3 merged tokens, start and end of each, 9 of text
    assert result.tokens_per_layer == (20 + 6 + 4 + 9,) * DECODER_LAYERS
    assert {row.difference for row in result.rows} == {0}


def test_sides() -> None:
    report = evaluate(shallow("qwen2-vl-7b"), Workload(images=SMALL_IMAGE), HALF)
    setting = Setting("torch", "reduced", "meta")
    for sides in (("baseline",), ("scheduled",), ("scheduled", "baseline")):
        assert tuple(one.side for one in compare(report, setting, sides=sides)) == sides


def test_progress_names_model_and_counter() -> None:
    told: list[str] = []
    report = evaluate(shallow("qwen2-vl-7b"), Workload(images=SMALL_IMAGE))
    list(compare(report, Setting("torch", "reduced", "meta"), told.append))
    assert told == [
        "building qwen2-vl-7b (reduced) on meta",
        "counting the baseline of qwen2-vl-7b (reduced) with torch",
    ]


# --- mistakes of the closed form show ------------------------------------------------------------


def test_a_wrong_closed_form_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    real, model = comparing.build, reduced(shallow("qwen2-vl-7b"))
    full = model.decoder.feed_forward.intermediate_size
    wider = model.decoder.feed_forward.model_copy(update={"intermediate_size": full + 4})
    decoder = model.decoder.model_copy(update={"feed_forward": wider})
    other = model.model_copy(update={"decoder": decoder})
    monkeypatch.setattr(comparing, "build", lambda _, *rest, **named: real(other, *rest, **named))
    results = run("torch", shallow("qwen2-vl-7b"), images=SMALL_IMAGE, text_tokens=9)
    wrong = {
        (row.phase, row.component, row.kind): row.difference
        for row in rows_of(results)
        if row.difference
    }
    one = DECODER_LAYERS * 2 * 3 * model.decoder.hidden_size * 4  # three matrices, 4 columns more
    assert wrong == {
        ("prefill", "decoder", "linear"): 31 * one,
        ("decode", "decoder", "linear"): one,
    }


def test_what_runs_outside_the_components_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Driver.owners
    monkeypatch.setattr(
        Driver,
        "owners",
        lambda driver: {
            module: place for module, place in real(driver).items() if place[0] != "head"
        },
    )
    (result,) = run("torch", shallow("qwen2-vl-7b"), images=SMALL_IMAGE)
    head = [row for row in result.rows if row.component == "head"]
    outside = [row for row in result.rows if row.component == "outside the components"]
    assert [row.phase for row in outside] == ["prefill", "decode"]
    for lost, found in zip(head, outside, strict=True):
        assert (lost.counted, found.analytic) == (0, 0)
        assert found.difference == found.counted == lost.analytic == -(lost.difference or 0)


# --- refusals ------------------------------------------------------------------------------------


def report_of(
    model_id: str = "qwen2-vl-7b", schedule: Schedule | None = None, **workload: Any
) -> Report:
    return evaluate(load_model(model_id), Workload(**workload), schedule)


def refused(report: Report) -> str:
    with pytest.raises(InvalidInput) as caught:
        check(report)
    return str(caught.value)


def test_a_given_number_of_visual_tokens() -> None:
    assert refused(report_of(visual_tokens=9)).startswith("--visual-tokens 9 replaces what")


def test_many_decode_forwards() -> None:
    check(report_of(new_tokens=65))
    assert "--new-tokens 66 asks for more than 64 decode forwards" in refused(
        report_of(new_tokens=66)
    )


@pytest.mark.parametrize("model_id", ["qwen2-vl-7b", "qwen2.5-vl-7b", "internvl3-8b"])
def test_before_a_connector_that_joins_neighbours(model_id: str) -> None:
    sentence = refused(
        report_of(model_id, Schedule(compress=Compress(tokens=50, at="before-connector")))
    )
    assert f"leaves 50 tokens before the connector of {model_id}" in sentence
    assert "compress after-connector" in sentence


def test_before_the_connector_where_that_runs_or_changes_nothing() -> None:
    before = Schedule(compress=Compress(tokens=256, at="before-connector"))
    check(report_of("llava-1.5-7b", before))
    check(report_of("internvl3-8b", before))  # all of its 256


@pytest.mark.parametrize(
    ("model_id", "workload", "counting", "sentence"),
    [
        (
            "llama3.2-vision-11b",
            Workload(processor=Processor(tiles="used")),
            Counting(),
            "prices another implementation than transformers'",
        ),
        (
            "qwen3-vl-30b-a3b",
            Workload(),
            Counting(experts="all"),
            "prices another implementation than transformers'",
        ),
    ],
)
def test_what_no_run_does(
    model_id: str, workload: Workload, counting: Counting, sentence: str
) -> None:
    assert sentence in refused(evaluate(load_model(model_id), workload, counting=counting))
