"""Keep ratios as percentages, in options and in schedule lines."""

from __future__ import annotations

import csv
import io
from fractions import Fraction

import pytest
from vlm_tokencost.cli.keep_ratios import keep_ratio
from vlm_tokencost.costmodel import InvalidInput

LLAVA = ("--model", "llava-1.5-7b")


@pytest.mark.parametrize(
    ("typed", "share"),
    [
        ("50%", Fraction(1, 2)),
        ("50 %", Fraction(1, 2)),
        (" 22.2% ", Fraction(222, 1000)),
        ("100%", Fraction(1)),
        (".5%", Fraction(1, 200)),
        ("1/3", Fraction(1, 3)),
        ("0.7", Fraction(7, 10)),
        ("1", Fraction(1)),
    ],
)
def test_percentages_are_exact_shares(typed, share):
    assert keep_ratio(typed, "--keep") == share


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("0%", "0% is outside (0%, 100%]; give a share such as 0.5 or 50%"),
        ("150%", "150% is outside (0%, 100%]; give a share such as 0.5 or 50%"),
        ("%", "% is not a percentage; give a share such as 0.5 or 50%"),
        ("-5%", "-5% is not a percentage; give a share such as 0.5 or 50%"),
        ("1/2%", "1/2% is not a percentage; give a share such as 0.5 or 50%"),
        ("5e1%", "5e1% is not a percentage; give a share such as 0.5 or 50%"),
        ("50%%", "50%% is not a percentage; give a share such as 0.5 or 50%"),
        (f"{'9' * 60}%", "is not a percentage; give a share such as 0.5 or 50%"),
        ("50", "50 is outside (0, 1]; write 0.5 or 50%"),
        ("22.2", "22.2 is outside (0, 1]; write 0.222 or 22.2%"),
        ("100", "100 is outside (0, 1]; write 1 or 100%"),
        ("1.5", "1.5 is outside (0, 1]; give a keep ratio in (0, 1], such as 0.5"),
        ("0", "0 is outside (0, 1]; give a keep ratio in (0, 1], such as 0.5"),
        ("half", "half is not a number; give a keep ratio in (0, 1], such as 0.5"),
        ("50% of", "50% of is not a number; give a keep ratio in (0, 1], such as 0.5"),
    ],
)
def test_other_values_are_refused_in_one_sentence(tokencost, typed, sentence):
    with pytest.raises(InvalidInput):
        keep_ratio(typed, "--keep")
    answer = tokencost("ratio", *LLAVA, "--prune-layer", 2, f"--keep={typed}")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.endswith(f"{sentence}\n")
    assert answer.err.startswith("error: --keep ")
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(("typed", "plain"), [("50%", "0.5"), ("33.3%", "0.333"), ("100%", "1")])
def test_a_percentage_is_the_share_that_it_says(tokencost, typed, plain):
    words = ("ratio", *LLAVA, "--prune-layer", 2, "--format", "json")
    answer = tokencost(*words, "--keep", typed).json()
    assert answer == tokencost(*words, "--keep", plain).json()
    # 576 visual tokens: floor(0.5 · 576) = 288, floor(0.333 · 576) = 191; 64 of text
    left = {"50%": 288, "33.3%": 191, "100%": 576}[typed]
    assert answer["schedule"]["tokens_per_layer"][2:] == [left + 64] * 30


def test_lines_of_schedules_have_percentages_too(tokencost):
    words = ("ratio", *LLAVA, "--format", "json", "--schedule")
    found = [tokencost(*words, f"keep {share} @ 2").json() for share in ("50%", "0.5")]
    assert found[0]["conventions"] == found[1]["conventions"]
    for share, problem in (("150%", "is no percentage up to 100%"), ("0%", "is outside (0, 1]")):
        answer = tokencost(*words, f"keep {share} @ 2")
        assert (answer.status, answer.out) == (2, "")
        assert problem in answer.err


def test_ranges_of_percentages(tokencost):
    def kept(values):
        text = tokencost("sweep", *LLAVA, "--prune-layer", 2, "--keep", values).out
        return [row["keep_1"] for row in csv.DictReader(io.StringIO(text))]

    assert kept("10%:30%:10%") == kept("0.1:0.3:0.1") == ["0.1", "0.2", "0.3"]
    for values, problem in (
        ("10%:30%:0%", "has a step of 0"),
        ("10:50:10", "--keep 10 is outside (0, 1]; write 0.1 or 10%"),
    ):
        answer = tokencost("sweep", *LLAVA, "--prune-layer", 2, "--keep", values)
        assert (answer.status, answer.out) == (2, "")
        assert problem in answer.err


def test_a_ratio_of_dart_may_be_a_fraction(tokencost):
    words = ("ratio", *LLAVA, "--format", "json", "--schedule")
    found = [tokencost(*words, f"2:dart:{share}").json() for share in ("1/2", "0.5")]
    assert found[0]["conventions"] == found[1]["conventions"]
    # 10 pivots and 15 · ⌊0.5 · 576 / 15⌋ = 285 tokens that they pick; 64 of text
    assert found[0]["schedule"]["tokens_per_layer"][2] == 295 + 64
