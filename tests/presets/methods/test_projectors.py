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


@pytest.mark.parametrize(
    ("name", "model", "tokens"),
    [
        # 1,521 // 4 of Qwen2.5-VL-7B, whose connector takes squares itself; 39 // 2 = 19 squared
        ("tokenpacker", "qwen2.5-vl-7b", 380),
        ("mobilevlm-ldp", "qwen2.5-vl-7b", 361),
        # five crops of 24×24 without newlines; two of 27×27: 9² squares of 3×3, 13² cells
        ("tokenpacker", "llava-next-vicuna-7b", 5 * 144),
        ("tokenpacker", "llava-onevision-7b", 2 * 81),
        ("mobilevlm-ldp", "llava-next-vicuna-7b", 5 * 144),
        ("mobilevlm-ldp", "llava-onevision-7b", 2 * 169),
        # 13² squares of 2×2, a row and a column left out; 9² of 3×3, for 27 is odd
        ("llava-stf", "llava-onevision-7b", 2 * 169),
        ("internvl-x-pvtc", "llava-onevision-7b", 2 * 81),
    ],
)
def test_what_other_grids_become(name, model, tokens):
    report, _, _ = priced(name, model=model)
    assert set(report.scheduled.visual) == {tokens}


def test_llava_mini_fuses_frame_by_frame():
    """Sixteen frames of Qwen2.5-VL-7B enter its encoder in eight pairs; 16 tokens enter the LLM."""
    loaded, workload = load_model("qwen2.5-vl-7b"), Workload(frames=16)
    schedule = load_method("llava-mini").schedule(loaded, workload)
    plan = evaluate(loaded, workload, schedule).scheduled
    found = {}
    for operator in selection_work(loaded, plan, schedule).operators:
        stage = operator.name.partition(":")[0]
        found[stage] = found.get(stage, 0) + operator.macs * (len(operator.layers) or 1)
    patches = plan.encoder_positions
    visual = patches // 4
    # Each frame with 64 text tokens, over d = 3,584 with 28 and 4 heads of 128 and m = 18,944
    total = visual + 16 + 16 * 64
    linear = 2 * 3584 * 128 * (28 + 4) + 3 * 3584 * 18_944
    assert found["pre-fusion"] == 4 * (total * linear + 2 * (total**2 // 16) * 28 * 128)
    assert found["keys and values of the resampler"] == patches * 1280 * 2560
    # one query of each frame over that frame's patches, scores and values
    assert found["attention of the resampler"] == 2 * patches * 1280


def test_llava_mini_resamples_the_tiles_alone():
    loaded = load_model("llava-next-vicuna-7b")
    schedule = load_method("llava-mini").schedule(loaded, Workload(), 4)
    plan = evaluate(loaded, Workload(), schedule).scheduled
    work = selection_work(loaded, plan, schedule)
    macs = {operator.name: operator.macs for operator in work.operators}
    # four tiles of 576 of the five crops; 2×2 queries over all of them at once
    assert macs["keys and values of the resampler"] == 4 * 576 * 1024 * 2048
    assert macs["attention of the resampler"] == 2 * 4 * (4 * 576) * 1024
