"""Projectors that are trained to make fewer tokens, on LLaVA-1.5-7B: 576 patches, d_e = 1,024."""

import pytest
from vlm_tokencost.costmodel import Workload, evaluate
from vlm_tokencost.costmodel.selection import selection_work
from vlm_tokencost.presets import load_method, load_model


def priced(name, budget=None, model="llava-1.5-7b"):
    loaded = load_model(model)
    schedule = load_method(name).schedule(loaded, Workload(), budget)
    report = evaluate(loaded, Workload(), schedule)
    work = selection_work(loaded, report.scheduled, schedule)
    return report, work, report.bill("exact").by_component()


@pytest.mark.parametrize(("budget", "tokens"), [(None, 144), (144, 144), (64, 64), (36, 36)])
def test_token_packer(budget, tokens):
    report, work, parts = priced("tokenpacker", budget)
    assert report.scheduled.visual == (tokens,) * 32
    # LLaVA's connector, 1,024 → 4,096 → 4,096, on what is left
    assert parts["connector"] == 2 * tokens * (1024 * 4096 + 4096 * 4096)
    # query, queries and outputs of attention; two MLPs 4,096 → 1,024 → 1,024 and two projections
    # of all patches; each patch is scored and summed once
    macs = 3 * tokens * 1024**2 + 576 * (2 * 5 + 2) * 1024**2 + 2 * 576 * 1024
    assert work.flops == parts["selection"] == 2 * macs


def test_token_packer_is_the_models_connector():
    _, work, parts = priced("tokenpacker")
    model = load_model("tokenpacker-7b")
    own = evaluate(model, Workload()).bill("exact").by_component()["connector"]
    assert parts["connector"] + parts["selection"] == own
    # 15 matrices of 1,024², four biases of the MLPs, four of attention, three norms of two
    assert work.parameters == 15 * 1024**2 + 14 * 1024
    assert work.launches == 1


def test_downsample_projector():
    report, work, parts = priced("mobilevlm-ldp")
    assert report.scheduled.visual == (144,) * 32
    assert parts["connector"] == 2 * 576 * (1024 * 4096 + 4096 * 4096)
    # a 3×3 convolution of every channel by itself
    assert work.flops == 2 * 9 * 144 * 4096
    assert (work.launches, work.parameters) == (2, 10 * 4096)


def test_downsample_projector_is_the_models_connector():
    _, _, parts = priced("mobilevlm-ldp")
    model = load_model("mobilevlm-v2-7b")
    own = evaluate(model, Workload()).bill("exact").by_component()["connector"]
    assert parts["connector"] + parts["selection"] == own


@pytest.mark.parametrize("name", ["tokenpacker", "mobilevlm-ldp"])
def test_a_quarter_in_any_model(name):
    # 1,521 // 4 of Qwen2.5-VL-7B, whose connector takes squares itself
    report, _, _ = priced(name, model="qwen2.5-vl-7b")
    assert set(report.scheduled.visual) == {380}
