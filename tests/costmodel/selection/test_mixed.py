"""What choosing takes where a router sends requests one of several ways."""

import pytest
from vlm_tokencost.costmodel import InvalidInput, Schedule, Workload, evaluate
from vlm_tokencost.costmodel.selection import report_selection
from vlm_tokencost.presets import load_method, load_model

LLAVA = load_model("llava-1.5-7b")
#: Scores of 577² pairs in 16 heads of 64 in the 23 layers that contribute.
ROWS = 2 * 23 * 577**2 * 16 * 64


def sp_vla():
    return evaluate(LLAVA, Workload(), load_method("sp-vla").schedule(LLAVA, Workload()))


def test_a_rule_is_charged_in_the_steps_that_run_the_model():
    report = sp_vla()
    expected = 3 * ROWS // 4  # 0.75 · 15.682 = 11.762 GFLOP
    assert report.bill("exact").by_component()["selection"] == expected
    assert report_selection(report).flops == expected


def test_rounds_and_maps_are_those_of_the_way_with_the_most():
    report = sp_vla()
    assert report_selection(report).launches == 2
    released = report.counting.model_copy(update={"selection": "released"})
    # all 24 layers are eager; the map of a step that runs is whole
    assert report_selection(report, released).attention_map_bytes == 2 * 24 * 16 * 577**2


def test_the_whole_s_rule_runs_before_a_way_s():
    described = {
        "name": "router",
        "computes": "a map",
        "terms": [{"name": "map", "tokens": "M", "in_features": "d", "out_features": "1"}],
    }
    ways = [
        {
            "probability": "1/2",
            "schedule": {"stages": [{"first_layer": 2, "ratio": 0.5}], "selection": "fastv"},
        },
        {"probability": "1/2"},
    ]
    report = evaluate(LLAVA, Workload(), Schedule(mixture=ways, selection=described))
    found = report_selection(report)
    # a router over 576 tokens, and a query row over 640 in half of the requests
    assert found.flops == 2 * 576 * 4096 + 640 * 4096
    assert found.launches == 2


@pytest.mark.parametrize("method", ["sparsevlm-v1", "sparsevlm-v2"])
def test_text_that_ranks_must_be_there(method):
    workload = Workload(text_tokens=0)
    with pytest.raises(InvalidInput, match="text token"):
        evaluate(LLAVA, workload, load_method(method).schedule(LLAVA, workload)).bill("exact")
