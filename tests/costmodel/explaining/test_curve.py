"""Curves of costs in a token count."""

from __future__ import annotations

from fractions import Fraction

import pytest
from vlm_tokencost.costmodel.explaining import reading
from vlm_tokencost.costmodel.explaining.curve import Quadratic, counts_within, curves

ONE, TWO = reading("survey", "MAC", "LLM layers"), reading("gated", "MAC", "LLM layers")


def test_a_quadratic_is_found_again():
    found = curves(lambda n: {ONE: 3 * n * n + 5 * n + 7}, 1, (1000,))
    assert [found[ONE](n) for n in (0, 10, 12345)] == [7, 357, 3 * 12345**2 + 5 * 12345 + 7]
    assert found[ONE].coefficients == (3.0, 5.0, 7.0)


def test_fractions_stay_exact():
    found = curves(lambda n: {ONE: Fraction(n * n, 3)}, 0, (100,))
    assert found[ONE](7) == Fraction(49, 3)


def test_what_is_no_quadratic_has_no_curve():
    found = curves(lambda n: {ONE: min(n, 50) * n, TWO: n}, 1, (100,))
    assert set(found) == {TWO}


@pytest.mark.parametrize(
    ("low", "high", "counts"),
    [(9, 16, [3, 4]), (10, 15, []), (10, 16, [4]), (0, 3, [1]), (99, 10**9, list(range(10, 51)))],
)
def test_counts_of_squares(low, high, counts):
    squares = Quadratic(0, 0, 1, 2)
    assert [squares(n) for n in range(5)] == [0, 1, 4, 9, 16]
    assert list(counts_within(squares, low, high, 50)) == counts
