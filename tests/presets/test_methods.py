"""Methods: published averages, what a budget becomes, assumptions, refusals, broken files.

Averages of published settings are those of the papers' tables or of the released lists, worked out
beside them; M = 576 and T = 32 of LLaVA-1.5-7B unless said otherwise.
"""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refusal
from vlm_tokencost.costmodel import (
    InvalidInput,
    TokencostError,
    UnknownName,
    Workload,
    evaluate,
    plan,
)
from vlm_tokencost.costmodel.selection import recycling
from vlm_tokencost.presets import load_method, load_model, method

LLAVA = load_model("llava-1.5-7b")
NEXT = "llava-next-vicuna-7b"
PAPERS_COUNT = Workload(visual_tokens=2880)  # LLaVA-NeXT as papers count it: 5 crops of 576


def planned(name, budget=None, model=LLAVA, workload=None):
    schedule = load_method(name).schedule(model, workload, budget)
    return plan(model, workload or Workload(), schedule)


#: (method, budget, model, workload): average visual tokens per decoder layer
AVERAGES = {
    # FastV, K = 2, R = 50 %: (2·576 + 30·288) / 32
    ("fastv", None, "llava-1.5-7b", 576): Fraction(306),
    # LLaVA-NeXT: (2·2880 + 30·1440) / 32
    ("fastv", None, NEXT, 2880): Fraction(1530),
    # PyramidDrop: (576 + 288 + 144 + 72) · 8 / 32, and five times that
    ("pyramiddrop", None, "llava-1.5-7b", 576): Fraction(270),
    ("pyramiddrop", None, NEXT, 2880): Fraction(1350),
    # SparseVLM v1.5: lists of kept tokens, each with its clusters
    ("sparsevlm", None, "llava-1.5-7b", 576): Fraction(3 * 576 + 4 * 309 + 9 * 204 + 16 * 113, 32),
    ("sparsevlm", 192, "llava-1.5-7b", 576): Fraction("206.5"),
    ("sparsevlm", 128, "llava-1.5-7b", 576): Fraction(3 * 576 + 4 * 312 + 9 * 117 + 16 * 39, 32),
    ("sparsevlm", 96, "llava-1.5-7b", 576): Fraction(3 * 576 + 4 * 249 + 9 * 55 + 16 * 27, 32),
    ("sparsevlm", 64, "llava-1.5-7b", 576): Fraction(3 * 576 + 4 * 82 + 9 * 32 + 16 * 18, 32),
    # DivPrune: round(0.098 · 576 = 56.448)
    ("divprune", None, "llava-1.5-7b", 576): Fraction(56),
    # VisionZip: 191 + 30 in the released code, of each of LLaVA-NeXT's five crops
    ("visionzip", None, "llava-1.5-7b", 576): Fraction(221),
    ("visionzip", None, NEXT, 2880): Fraction(1105),
    # ToMe, r = 16 in 23 blocks: 577 − 368 = 209 with the class token
    ("tome", None, "llava-1.5-7b", None): Fraction(208),
    # … of each of the five crops
    ("tome", None, NEXT, None): Fraction(1040),
}


@pytest.mark.parametrize(("asked", "average"), AVERAGES.items(), ids=lambda value: str(value))
def test_published_averages(asked, average):
    name, budget, model, visual_tokens = asked
    workload = Workload(visual_tokens=visual_tokens)
    achieved = planned(name, budget, load_model(model), workload).average_visual_tokens
    assert achieved == average


def test_the_survey_prints_these_averages():
    printed = {192: 206.5, 128: 145.4, 96: 114.1, 64: 82.3}
    for budget, average in printed.items():
        achieved = planned("sparsevlm", budget).average_visual_tokens
        assert abs(achieved - Fraction(str(average))) <= Fraction(1, 20), "one decimal is printed"


@pytest.mark.parametrize(("budget", "kept"), [(192, 166), (128, 98), (64, 29)])
def test_fastv_budget(budget, kept):
    # ⌊(32·B − 2·576) / 30⌋: 4992 / 30 = 166.4, 2944 / 30 = 98.1, 896 / 30 = 29.9
    assert planned("fastv", budget).visual == (576,) * 2 + (kept,) * 30


@given(budget=st.integers(37, 576))
def test_fastv_budget_is_the_largest_that_fits(budget):
    visual = planned("fastv", budget).visual
    assert sum(visual) <= 32 * budget < sum(visual) + 30, "a token more in 30 layers exceeds it"


@given(budget=st.integers(37, 576))
def test_pyramiddrop_budget_is_the_largest_ratio_that_fits(budget):
    def visual(step):  # slow and obvious: every λ = step / 1000
        kept = [max(1, int(Fraction(step, 1000) ** s * 576)) for s in (1, 2, 3)]
        return (576,) * 2 + (kept[0],) * 6 + (kept[1],) * 8 + (kept[2],) * 16

    fitting = [step for step in range(1001) if sum(visual(step)) <= 32 * budget]
    assert planned("pyramiddrop", budget).visual == visual(max(fitting))


def test_pyramiddrop_stages_follow_the_depth():
    # 28 layers: ⌊28/16⌋ = 1, 7, 14 for a budget, 7, 14, 21 by default; ⌊1521/2⌋ = 760, 380, 190
    qwen = load_model("qwen2.5-vl-7b")
    budget = load_method("pyramiddrop").schedule(qwen, None, 507)
    assert [stage.first_layer for stage in budget.stages] == [1, 7, 14]
    visual = planned("pyramiddrop", None, qwen).visual
    assert visual == (1521,) * 7 + (760,) * 7 + (380,) * 7 + (190,) * 7


def test_visionzip_is_before_a_connector_that_takes_tokens_one_by_one():
    for budget in (64, 128, 192):
        found = planned("visionzip", budget)
        assert (found.entering_visual_tokens, found.connector_tokens) == (budget, budget)
    qwen = planned("visionzip", 169, load_model("qwen2.5-vl-7b"))
    assert (qwen.entering_visual_tokens, qwen.connector_tokens) == (169, 1521)


@pytest.mark.parametrize("budget", [160, 320, 640])
def test_visionzip_budgets_of_five_crops(budget):
    found = planned("visionzip", budget, load_model(NEXT), PAPERS_COUNT)
    assert (found.entering_visual_tokens, found.connector_tokens) == (budget, budget)


def test_visionzip_default_where_a_crop_has_fewer_tokens():
    # 196×196 in Qwen2.5-VL: 14×14 patches, 7×7 = 49 merged tokens; a third of 49 is 16
    small = Workload(images=[(196, 196)])
    found = planned("visionzip", None, load_model("qwen2.5-vl-7b"), small)
    assert found.entering_visual_tokens == 16
    # 100 tokens are fewer than 221: a third of them
    assert planned("visionzip", None, LLAVA, Workload(visual_tokens=100)).visual == (33,) * 32


def test_divprune_counts_the_projected_tokens():
    found = planned("divprune", 64)
    assert (found.entering_visual_tokens, found.connector_tokens) == (64, 576)


#: 576 − B tokens over 23 blocks: 384 = 16·23 + 16, 448 = 19·23 + 11, 512 = 22·23 + 6
SPREAD = {192: (17,) * 16 + (16,) * 7, 128: (20,) * 11 + (19,) * 12, 64: (23,) * 6 + (22,) * 17}


@pytest.mark.parametrize(("budget", "merged"), SPREAD.items())
def test_tome_budget_is_spread_evenly(budget, merged):
    schedule = load_method("tome").schedule(LLAVA, None, budget)
    assert schedule.encoder.merged_per_layer == merged
    assert planned("tome", budget).visual == (budget,) * 32


def test_tome_budget_of_five_crops():
    # 640 / 5 = 128 of each crop
    model = load_model(NEXT)
    schedule = load_method("tome").schedule(model, None, 640)
    assert schedule.encoder.merged_per_layer == SPREAD[128]
    assert planned("tome", 640, model).visual == (640,) * 32


@given(budget=st.integers(1, 576))
def test_tome_never_merges_more_than_half(budget):
    merged = load_method("tome").schedule(LLAVA, None, budget).encoder.merged_per_layer
    patches = 576
    for amount in merged:
        assert 0 <= amount <= patches // 2
        patches -= amount
    assert patches == budget
    assert sorted(merged, reverse=True) == list(merged), "larger numbers first"
    # Only blocks that merge all they can fall short of the others by more than one.
    patches = 576
    for amount in merged:
        assert amount >= merged[0] - 1 or amount == patches // 2
        patches -= amount


def test_sparsevlm_tokens_are_kept_and_clusters():
    # 192: 576 − 300 = 276 dropped, ⌊82.8⌋ + 1 = 83 recycled, ⌊8.3⌋ + 1 = 9 clusters: 309;
    # 309 − 200 = 109, 33, 4: 204; 204 − 110 = 94, 29, 3: 113
    assert planned("sparsevlm", 192).visual == (576,) * 3 + (309,) * 4 + (204,) * 9 + (113,) * 16
    # five times the tokens, kept 1500, 1000, 550: 1380 dropped, 415 recycled, 42 clusters: 1542;
    # 542, 163, 17: 1017; 467, 141, 15: 565
    found = planned("sparsevlm", 960, load_model(NEXT), PAPERS_COUNT)
    assert found.visual == (2880,) * 3 + (1542,) * 4 + (1017,) * 9 + (565,) * 16


@pytest.mark.parametrize(
    ("budget", "kept"),
    [(192, [300, 200, 110]), (128, [303, 110, 36]), (96, [238, 48, 26]), (64, [66, 30, 17])],
)
def test_sparsevlm_keeps_the_published_numbers(budget, kept):
    visual = planned("sparsevlm", budget).visual
    pairs = ((visual[2], visual[3]), (visual[6], visual[7]), (visual[15], visual[16]))
    assert [recycling(before, after).kept for before, after in pairs] == kept


def test_sparsevlm_knows_the_same_shares_of_other_counts():
    # Qwen2.5-VL: 1521 tokens, 28 layers: ⌈2.625⌉ = 3, ⌈6.125⌉ = 7, 14; a third is 507
    qwen = load_model("qwen2.5-vl-7b")
    schedule = load_method("sparsevlm").schedule(qwen, None, 507)
    assert [stage.first_layer for stage in schedule.stages] == [3, 7, 14]
    # 1521/6 = 253.5: both neighbours stand for it
    rounded = [load_method("sparsevlm").schedule(qwen, None, budget) for budget in (253, 254)]
    assert rounded[0].stages == rounded[1].stages


@pytest.mark.parametrize("name", ["fastv", "pyramiddrop", "visionzip", "divprune", "tome"])
def test_the_whole_as_a_budget_reduces_nothing(name):
    assert planned(name, 576).visual == (576,) * 32


#: (method, budget): fragments of the sentence
REFUSED = {
    ("fastv", 36): ("36", "37"),  # ⌈(2·576 + 30) / 32⌉ = ⌈36.94⌉
    ("pyramiddrop", 36): ("36", "37"),
    ("sparsevlm", 100): ("100", "192, 128, 96, 64"),
    ("divprune", 577): ("577", "at most 576"),
    ("visionzip", 0): ("0", "at least 1"),
    ("tome", -1): ("-1", "at least 1"),
    ("tome", 1.5): ("1.5", "whole"),
    ("fastv", True): ("True", "whole"),
    ("fastv", "many"): ("many", "whole"),
}


@pytest.mark.parametrize(("asked", "fragments"), REFUSED.items(), ids=str)
def test_budgets_that_cannot_be_met(asked, fragments):
    name, budget = asked
    error = refusal(load_method(name).schedule, LLAVA, None, budget)
    assert error.field == "budget"
    for fragment in fragments:
        assert fragment in str(error)


@pytest.mark.parametrize("name", ["visionzip", "tome"])
def test_crops_share_a_budget_equally(name):
    error = refusal(load_method(name).schedule, load_model(NEXT), None, 161)
    assert "5 crops" in error.problem
    assert "160 or 165" in error.way_out
    least = refusal(load_method(name).schedule, load_model(NEXT), None, 3)
    assert least.way_out == "give 5"


@pytest.mark.parametrize("budget", [2880, 2925, 2928])
def test_tome_merges_something_or_nothing(budget):
    # LLaVA-NeXT's 2928 tokens hold 48 separators, which go with the first of 5·576 patches that
    # merges: at most 5·575 tokens can be had
    error = refusal(load_method("tome").schedule, load_model(NEXT), None, budget)
    assert error.way_out == "give at most 2,875"
    schedule = load_method("tome").schedule(load_model(NEXT), None, 2875)
    assert evaluate(load_model(NEXT), None, schedule).scheduled.query[0] == 2875 + 64


@pytest.mark.parametrize("budget", [2881, 2927, 2928])
def test_visionzip_passes_no_more_than_the_connector(budget):
    # 5 crops of 576 patches, without the 48 separators
    error = refusal(load_method("visionzip").schedule, load_model(NEXT), None, budget)
    assert error.way_out == "give at most 2,880"
    schedule = load_method("visionzip").schedule(load_model(NEXT), None, 2880)
    assert evaluate(load_model(NEXT), None, schedule).scheduled.connector_tokens == 2880


def test_tome_needs_blocks_enough():
    shallow = LLAVA.vision.model_copy(update={"num_hidden_layers": 3, "contributing_layers": 2})
    model = LLAVA.model_copy(update={"vision": shallow})
    # 576 → 288 → 144
    error = refusal(load_method("tome").schedule, model, None, 143)
    assert "give 144 or more" in str(error)
    schedule = load_method("tome").schedule(model, None, 144)
    assert schedule.encoder.merged_per_layer == (288, 144)


def test_fastv_needs_its_layer():
    decoder = LLAVA.decoder.model_copy(update={"num_hidden_layers": 2})
    model = LLAVA.model_copy(update={"decoder": decoder})
    error = refusal(load_method("fastv").schedule, model, None, 192)
    assert "layer 2" in error.problem


def test_a_schedule_knows_its_method():
    schedule = load_method("fastv").schedule(LLAVA, None, 192)
    assert (schedule.name, schedule.selection) == ("fastv at budget 192", "fastv")
    applied = schedule.method
    assert (applied.id, applied.title, applied.paper) == ("fastv", "FastV", "2403.06764")
    assert applied.budget == 192
    assert load_method("fastv").schedule(LLAVA).name == "fastv"
    assert load_method("fastv").schedule(LLAVA).method.budget is None


#: (method, budget, model): a fragment of every assumption, in order
ASSUMED = {
    ("fastv", None, "llava-1.5-7b"): (),
    ("fastv", None, "qwen2.5-vl-7b"): (),
    ("fastv", 192, "llava-1.5-7b"): ("average over the layers",),
    ("pyramiddrop", None, "llava-1.5-7b"): (),
    ("pyramiddrop", None, "llava-1.5-13b"): ("published for 32 layers",),
    ("pyramiddrop", 192, "llava-1.5-13b"): ("without their settings",),
    ("sparsevlm", 192, "llava-1.5-7b"): (),
    ("sparsevlm", None, "llava-1.5-7b"): ("192 of 576",),
    ("sparsevlm", 507, "qwen2.5-vl-7b"): ("scaled by M/576", "published for 32 layers"),
    ("visionzip", 64, "llava-1.5-7b"): ("10 of 64",),
    ("visionzip", 169, "qwen2.5-vl-7b"): ("10 of 64", "merges neighbours"),
    ("visionzip", None, "llava-1.5-7b"): ("10 of 64", "191 + 30"),
    ("visionzip", None, NEXT): ("10 of 64", "191 + 30", "221 tokens of each crop"),
    ("divprune", None, NEXT): (),
    ("tome", None, "llava-1.5-7b"): ("image classifiers", "r = 16"),
    ("tome", 64, "llava-1.5-7b"): ("image classifiers", "spread"),
}


@pytest.mark.parametrize(("asked", "fragments"), ASSUMED.items(), ids=str)
def test_assumptions_are_stated_where_they_are_made(asked, fragments):
    name, budget, model = asked
    stated = load_method(name).schedule(load_model(model), None, budget).method.assumed
    for text, fragment in zip(stated, fragments, strict=True):
        assert fragment in text


def test_unknown_methods():
    for name, close in (
        ("fastvv", "fastv"),
        ("pyramidrop", "pyramiddrop"),
        ("x", ""),
    ):
        error = refusal(load_method, name)
        assert isinstance(error, UnknownName)
        assert error.way_out == (
            f"did you mean {close}?" if close else "see `tokencost methods list`"
        )
    assert "not a method id" in refusal(load_method, 3).problem
    assert "is not known" in refusal(load_method, "../models/llava-1.5").problem


#: What a file holds: fragments of the complaint
BROKEN = {
    "id = ": ("broken.toml", "TOML"),
    'id = "broken"\ntitel = "x"\n': ("broken.toml", "titel", "did you mean title?"),
    'id = "broken"\n': ("broken.toml", "title", "missing"),
}


@pytest.mark.parametrize(("text", "fragments"), BROKEN.items())
def test_broken_files_are_ours(tmp_path, monkeypatch, text, fragments):
    monkeypatch.setattr(method, "METHODS", tmp_path)
    (tmp_path / "broken.toml").write_text(text)
    with pytest.raises(TokencostError) as caught:
        load_method("broken")
    assert not isinstance(caught.value, InvalidInput)
    for fragment in fragments:
        assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "fragments"),
    [
        ('id = "fastv"', 'id = "other"', ("other", "file's name")),
        ('"2403.06764"', '"FastV"', ("paper",)),
        ('strategy = "ratio-stages"', 'strategy = "ratios"', ("default",)),
        ("ratios = [0.5]", "ratios = [2]", ("default", "ratios", "2", "(0, 1]")),
        ("first_layers = [2]", 'first_layers = ["2"]', ("first_layers", "2", "(0, 1]")),
        ('when = ["budget"]', 'when = ["never"]', ("assumed", "never")),
        ('selection = "fastv"', 'selection = "fast"', ("selection", "fast", "fastv")),
    ],
)
def test_wrong_data_is_named(tmp_path, monkeypatch, old, new, fragments):
    text = (method.METHODS / "fastv.toml").read_text()
    assert old in text
    monkeypatch.setattr(method, "METHODS", tmp_path)
    (tmp_path / "fastv.toml").write_text(text.replace(old, new))
    with pytest.raises(TokencostError) as caught:
        load_method("fastv")
    assert str(caught.value).startswith("fastv.toml: ")
    for fragment in fragments:
        assert fragment in str(caught.value)
