"""Printed figures: digits, prefixes, units, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import pytest
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.costmodel.explaining import read_printed


@pytest.mark.parametrize(
    ("text", "base", "half", "unit"),
    [
        ("99.3e9", 99_300_000_000, 50_000_000, ""),
        ("3.82T", 3_820_000_000_000, 5_000_000_000, ""),
        ("3.82 T", 3_820_000_000_000, 5_000_000_000, ""),
        ("3,817 TFLOPs", 3_817 * 10**12, 5 * 10**11, "FLOP"),
        ("154.6 GMACs", 154_600_000_000, 50_000_000, "MAC"),
        ("99.3B", 99_300_000_000, 50_000_000, ""),
        ("0.9 gflops", 900_000_000, 50_000_000, "FLOP"),
        ("1.50e12 FLOP", 1_500_000_000_000, 5_000_000_000, "FLOP"),
        ("12 PFLOPs", 12 * 10**15, 5 * 10**14, "FLOP"),
        ("40 MMAC", 40_000_000, 500_000, "MAC"),
    ],
)
def test_amounts(text, base, half, unit):
    printed = read_printed(text)
    assert printed.kinds == ("amount",)
    assert printed.number * 10**printed.power == base
    assert printed.tolerance == Fraction(half, base)
    assert printed.unit == unit


def test_digits_are_those_that_are_printed():
    texts = ("99.3e9", "3,817 T", "20.80", "0.042T", "55%", "1")
    assert [read_printed(text).digits for text in texts] == [3, 4, 4, 2, 2, 1]


def test_a_prefix_that_was_printed_may_be_a_slip():
    scales = read_printed("3817 T").scales("amount")
    assert [(scale.factor, scale.slip) for scale in scales] == [
        (10**12, 1),
        (10**9, 1000),
        (10**15, Fraction(1, 1000)),
    ]
    assert scales[0].rank == 0 < scales[1].rank == scales[2].rank
    exponent = read_printed("3817e12")
    assert exponent.number == 3817 * 10**12
    assert [scale.slip for scale in exponent.scales("amount")] == [1, 1000, Fraction(1, 1000)]


def test_a_bare_number_lacks_its_prefix():
    assert {scale.assumed for scale in read_printed("20.8").scales("amount")} == set("TGPM")
    assert [scale.factor for scale in read_printed("99327541248").scales("amount")] == [1]
    assert {scale.assumed for scale in read_printed("381918").scales("amount")} == {*"TGPM", ""}


def test_shares_and_factors():
    percent, factor, fraction = read_printed("55%"), read_printed("2.1x"), read_printed("0.457")
    assert (percent.kinds, percent.number) == (("share",), Fraction(55, 100))
    assert percent.step == Fraction(1, 100)
    assert (factor.kinds, factor.number) == (("factor",), Fraction(21, 10))
    assert read_printed("2.1 ×").kind == "factor"
    assert fraction.kinds == ("amount", "share")
    assert read_printed("0.457T").kinds == ("amount",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("abc", "is not a number"),
        ("", "is not a number"),
        ("e9", "is not a number"),
        (".", "is not a number"),
        ("٣T", "is not a number"),
        ("nan", "is not a number"),
        ("1" * 61, "is not a number"),
        ("-3e9", "is negative"),
        ("0", "is zero"),
        ("0.0%", "is zero"),
        ("3.82GB", "has an unknown unit: GB"),
        ("3.82 TOPs", "has an unknown unit: TOPs"),
        ("3.82e", "has an unknown unit: e"),
        ("1,23T", "has an unknown unit: ,23T"),
        ("3.82T%", "has an unknown unit"),
        ("101%", "is above 100%"),
        ("1e31", "is out of range"),
        ("1e999", "is out of range"),
        ("1e-40", "is out of range"),
    ],
)
def test_what_is_no_figure(text, problem):
    with pytest.raises(InvalidInput, match=r".*") as caught:
        read_printed(text)
    assert caught.value.problem.startswith(problem)
    assert caught.value.field == "VALUE"
