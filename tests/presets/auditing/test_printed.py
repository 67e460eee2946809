"""Which values a printed figure allows."""

from fractions import Fraction

import pytest
from vlm_tokencost.presets.auditing.printed import difference, near, number, shown, span
from vlm_tokencost.presets.claim import Claim


def claim(value, unit="TFLOP", quantity="flops", **fields):
    """Return a claim with that figure."""
    return Claim(
        id="one", method="m", source="s", value=value, unit=unit, quantity=quantity, **fields
    )


@pytest.mark.parametrize(
    ("fields", "low", "high"),
    [
        ({}, "3.815", "3.825"),  # half of 0.01 on both sides
        ({"cut": True}, "3.82", "3.83"),
        ({"most": "3.90"}, "3.815", "3.905"),
        ({"hedge": "about"}, "3.629", "4.011"),  # 5 %
    ],
)
def test_spans_in_base_units(fields, low, high):
    found = span(claim("3.82", **fields))
    assert found == (Fraction(low) * 10**12, Fraction(high) * 10**12)


def test_trailing_zeros_are_digits():
    assert span(claim("3.820")).high == Fraction("3.8205") * 10**12


def test_at_least_has_no_end():
    found = span(claim("57", "%", "flops reduction", hedge="at least"))
    assert found.holds(Fraction(9, 10)) and not found.holds(Fraction(56, 100))


def test_near_is_one_percent_of_what_is_printed():
    assert near(claim("99.3", "GFLOP")).holds(Fraction("99.3") * 10**9 * Fraction(1009, 1000))
    assert not near(claim("99.3", "GFLOP")).holds(Fraction("99.3") * 10**9 * Fraction(1011, 1000))


def test_near_of_a_large_share_is_one_percent_of_what_is_left():
    # 94.8 % saved leave 5.2 %, of which 1 % is 0.052; half a digit is 0.05.
    found = near(claim("94.8", "%", "flops reduction"))
    assert found.holds(Fraction("0.9485")) and not found.holds(Fraction("0.9486"))


def test_difference_is_relative_to_the_printed_figure():
    assert difference(claim("2.00"), Fraction(21, 10) * 10**12) == pytest.approx(0.05)
    assert difference(claim("2.00", most="3.00"), Fraction(5, 2) * 10**12) == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (14.8968, "14.9"),
        (0.54546, "0.5455"),
        (2880, "2,880"),
        (1664.4, "1,664"),
        (0, "0"),
        (0.00001234, "1.234e-05"),
    ],
)
def test_numbers_in_sentences(value, text):
    assert number(value) == text


def test_units_in_sentences():
    assert shown(claim("1", "%", "flops ratio"), Fraction(1, 8)) == "12.5 %"
    assert shown(claim("1", "×", "flops factor"), Fraction(19, 2)) == "9.5×"
    assert shown(claim("1", "GiB", "memory"), 2**30) == "1 GiB"
