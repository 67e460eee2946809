"""Figures of methods-citing.md, section 3: what it works out of further methods.

Counts and what is out of scope: see test_calculated.py.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
from calculated import (
    HALF,
    LARGE,
    LLAVA,
    NEXT,
    NEXT_LARGE,
    ONEVISION,
    VIDEO,
    Elsewhere,
    Row,
    asked,
    average,
    cost,
    flat,
    kv,
    ratio,
    reduced,
    runs,
    share,
    staged,
)


def sparsevlm_rows():
    """Section 3.2: the lists over 2, 4, 10 and 16 layers, without recycled tokens."""
    table = [
        ((300, 200, 110), "191.0", "1.250"),
        ((303, 110, 36), "126.3", "0.827"),
        ((238, 48, 26), "93.8", "0.615"),
        ((66, 30, 17), "62.1", "0.408"),
        ((300, 200, 118), "195.0", ""),
        ((238, 108, 60), "129.5", ""),
        ((246, 54, 28), "97.6", ""),
        ((66, 34, 20), "64.9", ""),
    ]
    for (first, second, third), mean, gated in table:
        schedule = runs((2, 576), (4, first), (10, second), (16, third))
        where = f"3.2, SparseVLM [{first},{second},{third}]"
        yield Row(where, mean, "tokens", lambda s=schedule: average(s))
        if gated:
            yield Row(where, gated, "TMAC", lambda s=schedule: cost(asked(LLAVA, 576, s)))


def nearest(reduction):
    """Return the count of 576 visual tokens whose saving is nearest."""
    return min(range(1, 577), key=lambda n: abs(1 - ratio(asked(LLAVA, 576, flat(n))) - reduction))


def frozen(*layers):
    rule = {"kind": "freeze", "layers": layers}
    return 1 - ratio(asked(NEXT_LARGE, 2880, {"layers": [rule]}))


def withdrawn(first):
    return 1 - ratio(asked(LLAVA, 576, {"layers": [{"kind": "withdraw", "layer": first}]}))


def without(*parts):
    return 1 / (1 - sum(share(asked(NEXT_LARGE, 2880), part) for part in parts))


#: A tenth of 6272 tokens, and half of them from layer 18 on
HOLITOM = {**flat(627), **staged((18, "1/2"))}
OTHERS = [
    Row("3.1, CDPruner", "94.99", "%", lambda: 1 - ratio(asked(NEXT, 2880, flat(160)))),
    Row("3.1, CDPruner", "20", "×", lambda: 1 / ratio(asked(NEXT, 2880, flat(160)))),
    Row("3.1, VisPruner's −91 %", "53", "tokens", lambda: nearest(Fraction(91, 100))),
    Row("3.1, KV of a token", "0.524", "MB", lambda: kv(LLAVA, 1)),
    Row("3.1, KV of 576 tokens", "302", "MB", lambda: kv(LLAVA, 576)),
    Row("3.1, KV of 1 token", "0.52", "MB", lambda: kv(LLAVA, 576, flat(1))),
    Row("3.1, one token, LLM", "99.8", "%", lambda: 1 - ratio(asked(LLAVA, 576, flat(1)))),
    Row("3.1, 360 MB above KV", "19", "%", lambda: 360 * 10**6 / kv(LLAVA, 576) - 1),
    Row("3.2, FastV 7B", "47.4", "%", lambda: 1 - ratio(asked(LLAVA, 576, HALF))),
    Row("3.2, FastV 13B", "47.9", "%", lambda: 1 - ratio(asked(LARGE, 576, HALF))),
    Row("3.2, FastV 7B, 60 text", "43.0", "%", lambda: 1 - ratio(asked(LLAVA, 576, HALF, 60))),
    Row("3.2, FastV 13B, 60 text", "43.5", "%", lambda: 1 - ratio(asked(LARGE, 576, HALF, 60))),
    # 92.2 % fewer tokens: 45 of 576, 225 of 2880
    Row("3.2, MustDrop's bound", "92", "%", lambda: 1 - ratio(asked(LLAVA, 576, flat(45)))),
    Row("3.2, MustDrop's bound", "93", "%", lambda: 1 - ratio(asked(NEXT, 2880, flat(225)))),
    Row(
        "3.2, AIM",
        "7.5",
        "×",
        lambda: 1 / ratio(reduced("aim", ONEVISION, 6272, frames=32), "survey"),
    ),
    Row(
        "3.2, FrameFusion's linear bound",
        "3.33",
        "×",
        lambda: Fraction(10816) / reduced("framefusion", VIDEO, 10816).scheduled.visual[0],
    ),
    Row("3.2, HoliTom", "6.8", "%", lambda: ratio(asked(ONEVISION, 6272, HOLITOM), "survey")),
    Row("3.2, TokenCarve's bound", "3.7", "×", lambda: 1 / ratio(reduced("tokencarve"))),
    Row("3.2, Dynamic-LLaVA", "24.6", "%", lambda: ratio(reduced("dynamic-llava"))),
    Row("3.2, VTW K=16", "50", "%", lambda: withdrawn(16)),
    Row("3.2, VTW K=20", "37.5", "%", lambda: withdrawn(20)),
    Row("3.2, ShortV, a frozen layer", "84.9", "%", lambda: 40 * frozen(39)),
    Row("3.2, ShortV, 0.6 of the layers", "50.9", "%", lambda: frozen(*range(16, 40))),
    Row(
        "3.2, ZipVL, scores", "8.5", "%", lambda: share(asked(NEXT_LARGE, 2880), "attention scores")
    ),
    Row("3.2, ZipVL without scores", "1.09", "×", lambda: without("attention scores")),
    Row(
        "3.2, ZipVL without attention",
        "1.63",
        "×",
        lambda: without("attention scores", "attention projections"),
    ),
]

#: What each section is about
SOURCES = {
    "3.1": "methods before the LLM: CDPruner 2506.10967, VisPruner 2412.01818, LLaVA-Mini",
    "3.2": "methods in the LLM: FastV 2403.06764, SparseVLM 2410.04417, MustDrop 2411.10803, AIM "
    "2412.03248, FrameFusion, HoliTom 2505.21334, TokenCarve, Dynamic-LLaVA 2412.00876, VTW "
    "2405.05803, ShortV 2504.00502, ZipVL; their code",
}
ROWS = [*OTHERS, *sparsevlm_rows()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.where}: {row.printed}")
def test_a_figure_of_other_methods(row):
    row.check(SOURCES)


#: Figures of methods-citing.md that methods have
ELSEWHERE = [
    Elsewhere("0.2 and 2.1", "pyramiddrop", "prefill", ("2.13", "1.38", "1.78", "9.46")),
    Elsewhere("2.1", "pyramiddrop", "ratio", ("46.6",)),
    Elsewhere("2.3", "rotatek", "KV ratio", ("0.28", "0.25")),
    Elsewhere("2.4", "learnpruner", "KV factor", ("6.8",)),
    Elsewhere("2.7", "dualcomp", "prefill", ("198.1", "99.8")),
    Elsewhere("2.13", "videorouter", "token reduction", ("67.9",)),
    Elsewhere("2.24 and 5", "aot", "prefill", ("3.4", "40.8", "9.3", "80.2")),
    Elsewhere("2.24", "aot", "token ratio", ("25",)),
    Elsewhere("3.1", "cdpruner", "reduction", ("95",)),
    Elsewhere("3.1", "voco-llama", "reduction", ("94.8",)),
    Elsewhere("3.2", "tokencarve", "KV reduction", ("64",)),
]


@pytest.mark.parametrize("one", ELSEWHERE, ids=lambda one: f"{one.where}: {one.method}")
def test_a_figure_that_a_method_has(one):
    one.check()
