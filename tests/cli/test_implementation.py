"""Which parts of a model --implementation changes, and what it refuses."""

import pytest
from refusals import refusal
from vlm_tokencost.cli.implementation import chosen_implementation, implementation_parts
from vlm_tokencost.costmodel import Counting, evaluate
from vlm_tokencost.costmodel.architecture.experts import Experts
from vlm_tokencost.presets import load_model

EXPERTS = Experts(
    num_experts=8, num_experts_per_tok=2, intermediate_size=64, gated=False, bias=False
)


@pytest.mark.parametrize(
    ("model_id", "parts"),
    [
        ("llava-1.5-7b", set()),
        ("kimi-vl-a3b", {"latent", "experts"}),
        ("qwen3-vl-30b-a3b", {"experts"}),
        ("phi-4-multimodal", {"adapters"}),
        ("fastvlm-0.5b", set()),
        ("instructblip-vicuna-7b", set()),
    ],
)
def test_parts_of_released_models(model_id, parts):
    assert implementation_parts(load_model(model_id)) == parts


def test_experts_of_the_encoder_are_changed():
    model = load_model("llava-1.5-7b")
    vision = model.vision.model_copy(update={"feed_forward": EXPERTS})
    mixed = model.model_copy(update={"vision": vision})
    assert implementation_parts(mixed) == {"experts"}
    assert chosen_implementation(["experts=all"], mixed) == {"experts": "all"}
    routed, every = (
        evaluate(mixed, counting=Counting(experts=how)).bill().by_component()["vision"]
        for how in ("routed", "all")
    )
    # 24 layers, 577 tokens, 8 instead of 2 experts of two matrices of 1024 · 64
    assert every - routed == 2 * 24 * 577 * (8 - 2) * 2 * 1024 * 64


def test_experts_of_a_connector_cannot_be_changed():
    model = load_model("instructblip-vicuna-7b")
    first, *rest = model.connector.stages
    former = first.model_copy(update={"feed_forward": EXPERTS})
    connector = model.connector.model_copy(update={"stages": (former, *rest)})
    mixed = model.model_copy(update={"connector": connector})
    error = refusal(chosen_implementation, ["experts=all"], mixed)
    assert error.field == "--implementation"
    assert error.value == "experts=all"
    assert "instructblip-vicuna-7b's connector always runs its experts routed" in error.problem
    # What it always does is no change either, and the LLM has none.
    assert "has no experts" in refusal(chosen_implementation, ["experts=routed"], mixed).problem
    with_both = mixed.model_copy(update={"decoder": load_model("kimi-vl-a3b").decoder})
    assert "connector" in refusal(chosen_implementation, ["experts=all"], with_both).problem
    assert chosen_implementation(["latent=absorbed"], with_both) == {"latent": "absorbed"}
