"""Published results: the survey's tables as data, its averages, and what stands wrong in them."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from vlm_tokencost.costmodel import InvalidInput, UnknownName
from vlm_tokencost.presets.result import Result, ResultTable, load_result, load_results


def mean(numbers: list[Fraction]) -> Fraction:
    return sum(numbers, Fraction(0)) / len(numbers)


def rounds_to(value: Fraction, printed: Decimal) -> bool:
    """Whether a value prints as a figure with one decimal does."""
    return abs(value - Fraction(printed)) <= Fraction(1, 20)


def test_tables_hold_the_rows_of_the_survey():
    tables = load_results()
    assert {name: len(table.results) for name, table in tables.items()} == {
        "reduction": 1 + 3 * 6,  # unreduced; 192, 128, 64 tokens of six methods
        "training": 20,
    }
    assert len(tables["reduction"].benchmarks) == 9
    assert len(tables["training"].benchmarks) == 12


REDUCED = [one for one in load_results()["reduction"].results if not one.dense]


@pytest.mark.parametrize("result", REDUCED, ids=lambda one: one.id)
def test_averages_are_means_of_shares(result):
    dense = load_results()["reduction"].reference
    assert dense is not None
    shares = [
        Fraction(score) / Fraction(dense.scores[name]) for name, score in result.scores.items()
    ]
    # ToMe and VisionZip have no figures of MMBench-CN and VizWiz.
    assert len(shares) == (7 if result.method in ("ToMe", "VisionZip") else 9)
    if result.id == "vscan-64":  # 96.754, printed as 96.7
        assert Decimal("96.75") < 100 * mean(shares) < Decimal("96.76")
        assert "96.75" in result.note
    else:
        assert rounds_to(100 * mean(shares), result.average)


@pytest.mark.parametrize(
    ("result_id", "gqa", "mme"), [("vscan-128", "59.8", "1792"), ("vscan-64", "58.3", "1698")]
)
def test_vscan_s_shifted_rows_are_put_back(result_id, gqa, mme):
    table, result = load_result(result_id)
    # A dash stands under GQA, and each figure one column to the right of its own.
    assert result.printed[:2] == ("-", gqa)
    assert [str(result.scores[name]) for name in table.benchmarks] == list(result.printed[1:10])
    assert result.printed[10] == f"{result.average}%"
    assert str(result.scores["MME"]) == mme
    assert result.correction


#: Means of twelve scores that agree with the printed one.
AGREE = ["llava-uhd-13b", "llava-next-7b", "internvl2-8b-hd", "llava-meteor-114", "llava-meteor-56"]


@pytest.mark.parametrize("result_id", AGREE)
def test_averages_of_trained_models_are_means(result_id):
    _, result = load_result(result_id)
    assert len(result.scores) == 12
    assert rounds_to(mean([Fraction(one) for one in result.scores.values()]), result.average)


@pytest.mark.parametrize(
    ("result_id", "total", "count"),
    [
        # 49.7 + 63.0 + 77.8 + 50.6 + 70.9 + 34.1 + 39.2 + 86.8 + 71.1
        ("internvl2-8b", "543.2", 9),
        # 69.9 + 64.2 + 59.0 + 39.2 + 64.9 + 82.4 + 59.3 + 69.4 + 44.7 + 37.5 + 89.9 + 67.7
        ("llava-meteor-256", "748.1", 12),
    ],
)
def test_averages_that_disagree_are_noted(result_id, total, count):
    _, result = load_result(result_id)
    assert sum(result.scores.values()) == Decimal(total)
    assert not rounds_to(Fraction(total) / count, result.average)
    assert "mean" in result.note


def test_cells_in_a_wrong_column_are_left_out():
    training = load_results()["training"]
    wrong = [one for one in training.results if one.printed]
    assert [one.id for one in wrong] == [
        "instructblip-7b",
        "qwen-vl-7b",
        "mini-gemini-7b",
        "fastvlm-7b",
    ]
    for result in wrong:
        for place, cell in enumerate(result.printed[:12]):
            score = result.scores.get(training.benchmarks[place])
            assert score is None or str(score) == cell


def test_results_without_a_model_say_why():
    for table in load_results().values():
        for result in table.results:
            assert bool(result.model) != bool(result.uncosted)


ROW = {"id": "a", "method": "A", "model_name": "M", "tokens": 64, "scores": {"GQA": Decimal(60)}}


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"dense": True}, "model or uncosted"),
        ({"dense": True, "model": "m", "uncosted": "none"}, "model or uncosted"),
        ({"model": "m"}, "dense or applies"),
        ({"model": "m", "dense": True, "applies": "fastv"}, "dense or applies"),
        ({"model": "m", "dense": True, "printed": ("-",)}, "printed and correction"),
        ({"model": "m", "dense": True, "tokens": 0}, "tokens 0"),
        ({"model": "m", "dense": True, "scores": {"GQA": "sixty"}}, "is not a number"),
        ({"model": "m", "dense": True, "tokes": 3}, "tokes is not a known key"),
    ],
)
def test_a_wrong_row_is_refused(changes, fragment):
    with pytest.raises(InvalidInput, match=fragment):
        Result(**{**ROW, **changes})


def test_an_unknown_benchmark_is_refused():
    row = Result(**ROW, model="llava-1.5-7b", dense=True)
    table = {"id": "t", "title": "T", "average": "a", "source": "s", "corrections": ()}
    with pytest.raises(InvalidInput, match=r"results\.0\.scores GQA is not known"):
        ResultTable(**table, benchmarks=("GQB",), results=(row,))


def test_an_unknown_result_is_told_what_is_near():
    with pytest.raises(UnknownName, match="did you mean vscan-64"):
        load_result("vscan-65")
