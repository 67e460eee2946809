"""Shares as arrays: every rounding rule beside exact arithmetic, up to where floats end."""

from __future__ import annotations

from fractions import Fraction

import numpy as np  # noqa: TID253 (arrays are what is tested)
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.costmodel.schedule import kept_tokens
from vlm_tokencost.costmodel.sweeping import as_shares
from vlm_tokencost.costmodel.sweeping.shares import (
    common_denominator,
    exact_shares,
    kept_tokens_array,
)

RULES = ("floor", "round", "ceil", "float-floor")


def kept(numerators, denominator, tokens, rule):
    out = np.empty(len(numerators))
    values = np.array(numerators, dtype=float)
    kept_tokens_array(values, float(denominator), float(tokens), rule, out)
    return out.tolist()


@given(
    st.integers(1, 10**9),
    st.integers(1, 10**7),
    st.lists(st.fractions(0, 1).filter(bool), min_size=1, max_size=5),
)
def test_every_rule_is_that_of_one_schedule(tokens, denominator, shares):
    if not exact_shares(denominator, tokens):
        return
    numerators = [max(1, int(share * denominator)) for share in shares]
    for rule in RULES:
        expected = [kept_tokens(Fraction(one, denominator), tokens, rule) for one in numerators]
        assert kept(numerators, denominator, tokens, rule) == expected


@given(st.integers(2, 10**6), st.integers(0, 10**6), st.sampled_from([-1, 0, 1]))
def test_quotients_next_to_whole_numbers_and_halves(denominator, half, off):
    """r·M = half/2 + off/(2·denominator): where one division might round to the other side."""
    tokens = 2**52 // (2 * denominator) - 1  # as large as is allowed
    numerator = (half * denominator + off) // 2 // max(1, tokens // denominator)
    numerator = min(max(numerator, 1), denominator)
    assert exact_shares(denominator, tokens)
    for rule in RULES:
        expected = kept_tokens(Fraction(numerator, denominator), tokens, rule)
        assert kept([numerator], denominator, tokens, rule) == [expected]


@pytest.mark.parametrize(
    ("rule", "expected"),
    # 2.5, 3.5 and 2.4 tokens: half to even
    [("floor", [2, 3, 2]), ("round", [2, 4, 2]), ("ceil", [3, 4, 3]), ("float-floor", [2, 3, 2])],
)
def test_halves_by_hand(rule, expected):
    assert kept([25, 35, 24], 100, 10, rule) == expected


def test_the_bound_of_exact_division():
    assert exact_shares(20, 10**9)
    # 2 · (q·M + q) < 2⁵³ = 9,007,199,254,740,992
    assert exact_shares(2**22, 2**30 - 2) and not exact_shares(2**22, 2**30 - 1)


def test_denominators():
    assert common_denominator([Fraction(1, 3), Fraction(7, 20), Fraction(1)]) == 60


def test_floats_stand_for_their_decimals():
    shares = as_shares([0.05, 0.7, 1.0], [0.125, 0.3, 0.0625])
    assert shares.denominator == 10**4
    assert [list(one) for one in shares.numerators] == [[500, 7000, 10000], [1250, 3000, 625]]
    with pytest.raises(InvalidInput, match="more than 9 decimals"):
        as_shares([1 / 3])
