"""Counts written as arithmetic."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refusal
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.costmodel.selection.expressions import LONGEST, SYMBOLS, computed, expression

VALUES = {"M": 577, "N": 64, "d": 4, "crops": 3}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("M", 577),
        ("576 * d", 2304),
        ("M * (M - N) // crops", 577 * 513 // 3),
        ("ceil(M, 2)", 289),
        ("ceil(576, 2)", 288),
        ("min(M, N) + max(M, N)", 641),
        ("isqrt(M)", 24),
        ("log2(577)", 10),  # 2⁹ < 577 ≤ 2¹⁰ rounds of halving
        ("log2(512)", 9),
        ("N - 64", 0),
    ],
)
def test_counts(text, count):
    assert expression(text) == text
    assert computed(text, VALUES) == count


def test_whole_numbers_are_expressions():
    assert expression(64) == "64"


@pytest.mark.parametrize(
    "text",
    [
        *("", "M +", "-M", "M / 2", "M ** 2", "M.real", "M if N else d", "1.5", "'M'", "True"),
        *("f(M)", "min(M)", "ceil(M, 2, 3)", "isqrt(M, N)", "min(M, N, key=d)", "min(*M)", "M; N"),
        *("M\0", "[M]", "M < N", "lambda: 1", "(M := 3)", "__import__('os')", "1or 2"),
        "(" * 60 + "M",
    ],
)
def test_what_is_no_arithmetic_is_refused(text):
    assert refusal(expression, text).way_out


def test_unknown_symbols_are_named():
    assert "uses K, which is no symbol" in str(refusal(expression, "K * d"))
    assert "is not a short expression" in str(refusal(expression, "M + " * LONGEST + "M"))
    assert "is not a short expression" in str(refusal(expression, True))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("N - M", "comes below 0"),
        ("M // (N - 64)", "divides by 0"),
        ("ceil(M, N - 64)", "divides by 0"),
        ("isqrt(N - M)", "comes below 0"),
        ("b - a", "uses b, which has no value here"),
        ("9" * 40 + " * " + "9" * 40, "comes out of any range"),
    ],
)
def test_what_comes_to_no_count_is_refused(text, words):
    assert words in str(refusal(computed, expression(text), VALUES))


def test_powers_by_repetition_stay_small():
    product = " * ".join(["M"] * 25)
    assert "out of any range" in str(refusal(computed, expression(product), {"M": 10**9}))


PIECES = st.sampled_from([*SYMBOLS, *"+-*/()%,.", "//", "**", "min", "ceil", "0", "7", " ", "or"])


@settings(max_examples=400, deadline=None)
@given(pieces=st.one_of(st.lists(PIECES, max_size=12).map(" ".join), st.text(max_size=20)))
def test_anything_is_a_count_or_a_sentence(pieces):
    try:
        count = computed(expression(pieces), dict.fromkeys(SYMBOLS, 5))
    except InvalidInput as error:
        assert str(error).isprintable()
    else:
        assert isinstance(count, int)
