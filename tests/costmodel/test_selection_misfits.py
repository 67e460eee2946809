"""Selection rules that do not fit a schedule, a model or a request: refused when planning."""

from __future__ import annotations

import pytest
from refusals import refusal
from vlm_tokencost.costmodel import (
    Compress,
    EncoderMerge,
    InvalidInput,
    Model,
    Schedule,
    Stage,
    Workload,
    evaluate,
    plan,
)
from vlm_tokencost.presets import load_model

LLAVA = load_model("llava-1.5-7b")
NEXT = load_model("llava-next-vicuna-7b")
PARTS = {
    "encoder": EncoderMerge(merged_per_layer=16),
    "compress": Compress(tokens=64),
    "stages": (Stage(first_layer=2, tokens=60),),
}
PRIMITIVES = {
    "fastv": "stages",
    "pyramiddrop": "stages",
    "sparsevlm": "stages",
    "visionzip": "compress",
    "divprune": "compress",
    "tome": "encoder",
}


def misfit(
    schedule: Schedule, model: Model = LLAVA, workload: Workload | None = None
) -> InvalidInput:
    error = refusal(plan, model, workload or Workload(), schedule)
    assert str(refusal(evaluate, model, workload, schedule)) == str(error)
    assert (error.field, error.value) == ("selection", schedule.selection)
    return error


@pytest.mark.parametrize("rule", PRIMITIVES)
def test_a_rule_without_anything_to_choose_for(rule):
    error = misfit(Schedule(selection=rule))
    assert f"no `{PRIMITIVES[rule]}`" in error.problem
    assert f"[{PRIMITIVES[rule]}]" in error.way_out


@pytest.mark.parametrize("rule", PRIMITIVES)
@pytest.mark.parametrize("other", PARTS)
def test_a_rule_and_a_primitive_that_it_does_not_use(rule, other):
    own = PRIMITIVES[rule]
    if other == own:
        return
    assert f"`{own}`" in misfit(Schedule(selection=rule, **{other: PARTS[other]})).problem
    both = Schedule(selection=rule, **{own: PARTS[own], other: PARTS[other]})
    assert misfit(both).way_out == f"leave `{other}` or the rule out"


@pytest.mark.parametrize("rule", ["fastv", "sparsevlm"])
def test_no_attention_comes_before_layer_0(rule):
    schedule = Schedule(selection=rule, stages=(Stage(first_layer=0, tokens=100),))
    assert "layer 0" in misfit(schedule).problem


def test_sparsevlm_needs_text():
    schedule = Schedule(selection="sparsevlm", stages=PARTS["stages"])
    assert "text tokens" in misfit(schedule, workload=Workload(text_tokens=0)).problem


def test_sparsevlm_needs_room_beside_its_clusters():
    # 575 dropped: 173 recycled, 18 clusters; with a kept one 19
    schedule = Schedule(selection="sparsevlm", stages=(Stage(first_layer=2, tokens=18),))
    assert misfit(schedule).way_out == "leave at least 19 of 576"
    enough = Schedule(selection="sparsevlm", stages=(Stage(first_layer=2, tokens=19),))
    assert plan(LLAVA, Workload(), enough).visual[2] == 19


def zipped(tokens: int, at: str) -> Schedule:
    return Schedule(selection="visionzip", compress=Compress(tokens=tokens, at=at))


@pytest.mark.parametrize(
    ("model_id", "wrong", "right"),
    [
        ("llava-1.5-7b", "after-connector", "before-connector"),
        ("llava-onevision-7b", "after-connector", "before-connector"),
        ("qwen2.5-vl-7b", "before-connector", "after-connector"),
        ("internvl3-8b", "before-connector", "after-connector"),
    ],
)
def test_visionzip_chooses_at_one_place(model_id, wrong, right):
    model = load_model(model_id)
    assert f'"{right}"' in misfit(zipped(64, wrong), model).way_out
    assert plan(model, Workload(), zipped(64, right)).visual[0] == 64


def test_visionzip_shares_tokens_among_crops():
    error = misfit(zipped(322, "before-connector"), NEXT)
    assert error.way_out == "give a multiple of 5"
    assert plan(NEXT, Workload(), zipped(325, "before-connector")).visual[0] == 325


def test_visionzip_takes_no_more_than_a_crop_has():
    # Two images of 4 and 1,521 merged tokens: 10 of each cannot be had
    workload = Workload(images=("56x56", "1092x1092"))
    model = load_model("qwen2.5-vl-7b")
    error = misfit(zipped(20, "after-connector"), model, workload)
    assert error.way_out == "give at most 8"
    assert plan(model, workload, zipped(8, "after-connector")).visual[0] == 8


def test_divprune_compares_projected_features():
    compress = Compress(tokens=64, at="before-connector")
    assert '"after-connector"' in misfit(Schedule(selection="divprune", compress=compress)).way_out


def test_unknown_rule():
    error = refusal(Schedule, selection="random")
    assert (error.field, error.value) == ("selection", "random")
    for rule in PRIMITIVES:
        assert rule in error.way_out


def test_visionzip_ranks_by_a_layer_that_sees_the_whole_image():
    qwen = load_model("qwen2.5-vl-7b")
    windows = qwen.vision.windows.model_copy(update={"full_attention_layers": (7, 15, 23)})
    model = qwen.model_copy(update={"vision": qwen.vision.model_copy(update={"windows": windows})})
    schedule = Schedule(selection="visionzip", compress=Compress(tokens=64))
    assert "ranks by encoder layer 31, which attends in windows" in str(misfit(schedule, model))
    evaluate(qwen, None, schedule)  # whose layer 31 attends over whole images
