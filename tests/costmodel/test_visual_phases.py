"""What is alive before the LLM runs, by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from vlm_tokencost.costmodel import Counting, Schedule, Workload, evaluate
from vlm_tokencost.costmodel.selection import selection_work
from vlm_tokencost.costmodel.transients import Running
from vlm_tokencost.costmodel.visual_phases import held_visual, selection_terms, visual_phases
from vlm_tokencost.presets import load_method, load_model


def phases(model_id, running="sdpa", **workload):
    model = load_model(model_id)
    plan = evaluate(model, Workload(**workload)).dense
    found = {name: (layer, terms) for name, layer, terms in visual_phases(model, plan, running)}
    return found, plan


@pytest.mark.parametrize("batch", [1, 3])
def test_clip_in_llava(batch):
    # 577 tokens of 1024 features, 24 layers, FFN of 4096 with a quick GELU (three maps); LLaVA asks
    # for all hidden states, of which those of layers 1 to 22 are held beside the stream
    found, _ = phases("llava-1.5-7b", Running("sdpa"), batch=batch)
    layer, terms = found["vision"]
    assert layer == 23
    n = 577 * batch
    pixels = 2 * batch * 576 * 3 * 14 * 14
    assert terms == {
        "pixels": pixels,
        "stream": 2 * 1024 * (n + 3 * n),
        "feed-forward": 2 * 3 * n * 4096,
        "kept hidden states": 2 * 22 * n * 1024,
    }
    assert found["connector"] == (
        None,
        {
            "pixels": pixels,
            "encoder features": 2 * n * 1024,
            "connector": 2 * 576 * batch * (4096 + 4096),
            "kept hidden states": 2 * 24 * n * 1024,
        },
    )


def test_eager_scores_of_an_encoder():
    found, _ = phases("llava-1.5-7b", Running("eager"))
    _, terms = found["vision"]
    # 8 bytes for each score of 16 heads; queries, keys and values are nobody's cache
    assert terms["attention"] == 8 * 16 * 577**2 + 2 * 577 * 1024 + 2 * 577 * 2 * 1024
    assert "mask" not in terms


def test_siglip_in_paligemma_keeps_one_map_less_and_no_hidden_states():
    # 256 tokens of 1152 features, FFN of 4304 with a tanh GELU
    found, _ = phases("paligemma-3b-224", Running("sdpa"))
    _, terms = found["vision"]
    assert terms == {
        "pixels": 2 * 256 * 3 * 14 * 14,
        "stream": 2 * 1152 * (256 + 3 * 256),
        "feed-forward": 2 * 2 * 256 * 4304,
    }
    assert "kept hidden states" not in found["connector"][1]


def test_what_is_held_while_the_llm_runs():
    model = load_model("llava-1.5-7b")
    schedule = Schedule(compress={"tokens": 64})
    for plan, tokens in (
        (evaluate(model, Workload(batch=2)).dense, 576),
        (evaluate(model, Workload(batch=2), schedule).scheduled, 64),
    ):
        held = held_visual(model, plan)
        assert held["visual features"] == 2 * 2 * tokens * 4096
        assert held["pixels"] == 2 * 2 * 576 * 588


def test_deepstack_features_are_held_for_every_layer_that_takes_them():
    # Qwen3-VL-8B: three DeepStack mergers beside the usual one
    model = load_model("qwen3-vl-8b")
    plan = evaluate(model, Workload()).dense
    held = held_visual(model, plan)
    assert held["visual features"] == 2 * plan.entering_visual_tokens * 4096 * 4


def test_queries_and_keys_that_turn_in_32_bits():
    # Qwen2.5-VL: 16 heads of 80 = 1280 features; 4·1521 patches
    found, plan = phases("qwen2.5-vl-7b", Running("sdpa"))
    _, terms = found["vision"]
    n = 4 * 1521
    assert plan.encoder_tokens[0] == n
    assert terms["attention"] == 15 * 2 * n * 1280
    assert terms["stream"] == 2 * 2 * n * 1280
    assert terms["rotary tables"] == 2 * 4 * n * 80


def test_a_second_encoder_holds_what_the_first_found():
    # OpenVLA: 256 patches, a class token and four registers of DINOv2, 1024 features each
    found, _ = phases("openvla-7b", Running("sdpa"))
    assert "features of the first encoder" not in found["vision"][1]
    assert found["second vision"][1]["features of the first encoder"] == 2 * 261 * 1024
    # and 256 of SigLIP, 1152 each
    both = found["connector"][1]["encoder features"]
    assert both == 2 * (261 * 1024 + 256 * 1152)


def work_of(method, counting=None, **budget):
    model, counting = load_model("llava-1.5-7b"), counting or Counting()
    schedule = load_method(method).schedule(model, **budget)
    plan = evaluate(model, Workload(batch=2), schedule, counting).scheduled
    return model, plan, selection_work(model, plan, schedule, counting)


def test_the_map_of_fastv_as_released():
    model, plan, work = work_of("fastv", Counting(selection="released"))
    terms = selection_terms(model, plan, work, 2)
    scores = 2 * 32 * 640**2  # two requests, 32 heads
    assert terms["selection's maps"] == 2 * scores
    # softmax in 32 bits and its copy: 6 of 8 bytes of a score, beside the 2 that are kept
    assert terms["eager scores"] == 6 * scores
    assert terms["stream"] == 2 * 2 * 4096 * 3 * 640


def test_the_matrix_of_a_choice_before_the_llm():
    model, plan, work = work_of("divprune", budget=64)
    terms = selection_terms(model, plan, work, None)
    # cosine distances of 576 tokens to one another, for two requests
    assert terms == {"selection's matrix": 2 * 2 * 576 * 576}


def test_results_of_products():
    model, plan, _ = work_of("divprune", budget=64)
    operators = (
        SimpleNamespace(tokens=3, out_features=7),
        SimpleNamespace(pairs=5, heads=4),
        SimpleNamespace(positions=6, out_channels=2),
    )
    for one, values in zip(operators, (21, 20, 12), strict=True):
        work = SimpleNamespace(attention_map_bytes=0, operators=(one,))
        assert selection_terms(model, plan, work, None) == {"selection's matrix": 2 * values}
