"""Layer:ratio pairs, as UniPruneBench's code runs them."""

import pytest
from vlm_tokencost.costmodel import InvalidInput, Schedule, Workload, evaluate
from vlm_tokencost.presets import load_model
from vlm_tokencost.presets.language import read_text

LLAVA = load_model("llava-1.5-7b")  # 576 visual tokens


def stages(line):
    schedule = read_text(line).fitted(LLAVA, Workload())
    return [(stage.first_layer, stage.tokens) for stage in schedule.stages]


def test_ratios_are_of_what_reaches_the_layer():
    # layer_prune.py: keep_num = int(image_len · ratio) with the image_len of the layer:
    # int(576 · 0.5) = 288, int(288 · 0.3) = int(86.4) = 86
    assert stages("2:0.5;6:0.3") == [(2, 288), (6, 86)]
    assert stages(" 6 : 0.3 , 2:0.5 ;") == [(2, 288), (6, 86)]


def test_the_example_of_the_readme():
    # "2:fitprune_intra_llm:0.5;6:pdrop_intra_llm:0.3;12:pdrop_intra_llm:0.2": int(86 · 0.2) = 17
    line = "2:fitprune_intra_llm:0.5;6:pdrop_intra_llm:0.3;12:pdrop_intra_llm:0.2"
    assert stages(line) == [(2, 288), (6, 86), (12, 17)]
    schedule = read_text(line).fitted(LLAVA, Workload())
    assert schedule.selection is None
    assert schedule.name == "UniPruneBench fitprune and pdrop, choice not priced"


def test_products_are_cut_in_floats():
    # 2880 · 0.7 is 2015.999… in floats, so int gives 2015
    written = read_text("2:0.7")
    workload = Workload(visual_tokens=2880)
    assert written.fitted(LLAVA, workload).stages[0].tokens == 2015


def test_dart_keeps_its_pivots_too():
    # DART_IntraLLM.py: 15 pivots pick int(576 · 0.5 / 15) = 19 each, and the 10 of the image stay
    assert stages("2:dart_intra_llm:0.5") == [(2, 10 + 15 * 19)]


def test_fastv_and_pdrop_rank_by_the_same_row():
    # Pdrop_IntraLLM.py ranks by the last token's row of the layer before, as FastV does
    for line in ("2:fastv:0.5;6:pdrop:0.5", "2:fastv_intra_llm:0.5;6:fastv_intra_llm:0.5"):
        schedule = read_text(line).fitted(LLAVA, Workload())
        assert schedule.selection == "fastv"
        # rows over 640 and 352 keys of 32 heads of 128, 2 FLOP per MAC
        report = evaluate(LLAVA, Workload(), schedule)
        assert report.bill("exact").by_component()["selection"] == 2 * (640 + 352) * 32 * 128


def test_chance_computes_nothing():
    schedule = read_text("2:random_intra_llm:0.5").fitted(LLAVA, Workload())
    assert schedule == Schedule(
        name="UniPruneBench random", stages=[{"first_layer": 2, "tokens": 288}]
    )


@pytest.mark.parametrize(
    ("line", "column", "words"),
    [
        ("2:0.5;2:0.3", 7, "layer 2 comes twice"),
        ("2:vtw_intra_llm:0.5", 1, "vtw_intra_llm is no method of UniPruneBench inside the LLM"),
        ("2:fastvv:0.5", 1, "did you mean fastv?"),
        ("2:fastv_intra_llm", 1, "names a method and no ratio"),
        ("2:0.5; 6:1.5", 8, "1.5 is outside (0, 1]"),
        ("2:0.5;x:0.5", 7, "x is not a whole number"),
        ("2:0.5:0.5:0.5", 1, "is no pair"),
        ("2:", 1, "is not a number"),
    ],
)
def test_slips_name_the_column(line, column, words):
    with pytest.raises(InvalidInput) as caught:
        read_text(line)
    assert f"schedule {line} at column {column}: " in str(caught.value)
    assert words in str(caught.value)


def test_what_leaves_nothing_names_the_column():
    # int(576 · 0.01) = 5, int(5 · 0.1) = 0
    with pytest.raises(InvalidInput, match=r"at column 8: 0\.1 leaves 0 of the 5 visual tokens"):
        read_text("2:0.01;6:0.1").fitted(LLAVA, Workload())


def test_what_does_not_fit_the_model_names_the_column():
    written = read_text("6:0.5;40:0.5")
    error = InvalidInput("stages.1.first_layer", 40, "is not a layer", "give less")
    assert "at column 7: 40 is not a layer" in str(written.complaint(error))
