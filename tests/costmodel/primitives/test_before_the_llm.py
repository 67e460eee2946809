"""Fewer crops, a connector that is replaced, and tokens that are expanded half-way.

InternVL2-8B makes 256 tokens of a 448 × 448 tile of 1024 patches; LLaVA-1.5-7B has 576 tokens.
"""

from __future__ import annotations

import pytest
from refusals import refusal
from vlm_tokencost.costmodel import InvalidInput, Report, Schedule, Workload, evaluate
from vlm_tokencost.presets import load_model

TILED = "internvl2-8b"
LLAVA = "llava-1.5-7b"


def priced(model: str, schedule: Schedule, **work) -> Report:
    return evaluate(load_model(model), Workload(**{"text_tokens": 0, **work}), schedule)


def test_fewer_crops_of_each_image():
    # 600 × 800 becomes 3 × 4 tiles and a thumbnail, 448 × 448 one tile
    images = ["600x800", "448x448"]
    report = priced(TILED, Schedule(input={"crops": 5}), images=images)
    dense, seen = report.dense.visual_input, report.scheduled.visual_input
    assert (dense.crops_per_image, seen.crops_per_image) == ((13, 1), (5, 1))
    assert report.scheduled.entering_visual_tokens == 6 * 256
    exact, whole = (report.bill("exact", scheduled=which).by_component() for which in (True, False))
    for component in ("vision", "connector"):
        assert exact[component] * 14 == whole[component] * 6


def test_as_many_crops_as_there_are():
    report = priced(TILED, Schedule(input={"crops": 13}), images=["600x800"])
    assert report.scheduled.visual_input == report.dense.visual_input


def test_frames_of_a_video_are_no_crops_of_an_image():
    report = priced("llava-next-video-7b", Schedule(input={"crops": 1}), frames=8)
    assert report.scheduled.entering_visual_tokens == 8 * 144


def test_given_tokens_shrink_with_the_crops():
    report = priced(TILED, Schedule(input={"crops": 5}), images=["600x800"], visual_tokens=1300)
    assert report.scheduled.entering_visual_tokens == 500


def test_an_input_without_an_amount():
    assert "gives no amount" in str(refusal(Schedule, input={}))


@pytest.mark.parametrize("tokens", [1, 144, 576])
def test_a_replaced_connector_costs_nothing(tokens):
    place = {"tokens": tokens, "at": "instead-of-connector"}
    report = priced(LLAVA, Schedule(compress=place))
    assert report.scheduled.connector_tokens == 0
    assert report.scheduled.visual == (tokens,) * 32
    costs = report.bill("exact").by_component()
    after = priced(LLAVA, Schedule(compress={"tokens": tokens})).bill("exact").by_component()
    assert not costs.get("connector")
    assert {**costs, "connector": after["connector"]} == after


def test_any_connector_can_be_replaced():
    for model in ("blip2-opt-2.7b", "qwen2.5-vl-7b", "llava-onevision-7b"):
        place = {"tokens": 16, "at": "instead-of-connector"}
        report = priced(model, Schedule(compress=place))
        assert report.scheduled.connector_tokens == 0
        assert not report.bill("exact").by_component().get("connector")


def test_tokens_are_expanded():
    # ⌊576/10⌋ before layer 8
    report = priced(LLAVA, Schedule(layers=[{"kind": "expand", "ratio": "1/10", "layer": 8}]))
    assert report.scheduled.visual == (57,) * 8 + (576,) * 24
    assert report.scheduled.kv_stored == report.scheduled.visual


def test_tokens_are_expanded_in_a_layer_of_the_model():
    rule = {"kind": "expand", "ratio": "1/10", "layer": 32}
    with pytest.raises(InvalidInput, match="32 is not a layer of this model"):
        priced(LLAVA, Schedule(layers=[rule]))


@pytest.mark.parametrize("model", ["blip2-flan-t5-xl", "openflamingo-9b", LLAVA])
def test_a_narrow_encoder_goes_with_any_llm(model):
    report = priced(model, Schedule(channels={"encoder_ffn": "1/2"}))
    parts = [report.bill("exact", scheduled=which).by_part() for which in (True, False)]
    narrow, whole = (
        sum(amount for key, amount in part.items() if key[::2] == ("vision", "feed-forward"))
        for part in parts
    )
    assert 2 * narrow == whole
    assert report.scheduled.kv_stored == report.dense.kv_stored


def test_a_narrow_cache_does_not_go_with_cross_attention():
    error = refusal(priced, "llama3.2-vision-11b", Schedule(channels={"key": "1/2"}))
    assert "cross-attention" in error.problem


@pytest.mark.parametrize("model", ["phi-4-multimodal", "phi-3.5-vision", "deepseek-vl2"])
def test_a_replaced_connector_arranges_nothing(model):
    report = priced(model, Schedule(compress={"tokens": 16, "at": "instead-of-connector"}))
    assert not report.bill("exact").by_component().get("connector")


@pytest.mark.parametrize(
    "model", ["molmo-7b-d", "llava-next-vicuna-7b", "llava-onevision-7b", "smolvlm-2.2b"]
)
def test_crops_whose_tokens_do_not_add_up(model):
    error = refusal(priced, model, Schedule(input={"crops": 3}), images=["800x1200"])
    assert error.field == "input.crops"


def test_extra_tokens_pass_the_connector_beside_all():
    compress = {"tokens": 576, "extra": 1, "at": "before-connector"}
    report = priced(LLAVA, Schedule(compress=compress))
    assert report.scheduled.connector_tokens == report.scheduled.entering_visual_tokens == 577


def test_a_rule_is_priced_on_the_model_as_it_is():
    # one token of one layer of LLaVA-1.5-7B: m = 11008 in 2·m FLOP, however narrow it runs
    term = {"name": "row", "tokens": "1", "in_features": "m", "out_features": "1"}
    rule = {"name": "rule", "computes": "a row", "terms": [term]}
    report = priced(LLAVA, Schedule(channels={"ffn": "1/2"}, selection=rule))
    assert report.bill("exact").by_component()["selection"] == 2 * 11008
