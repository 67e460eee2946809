"""Rules of `layers`, by hand: LLaVA-1.5-7B has 32 layers, 576 visual tokens and 64 others."""

import math
from fractions import Fraction

import pytest
from refusals import refusal
from vlm_tokencost.costmodel import Schedule, Workload, evaluate, plan
from vlm_tokencost.presets import load_model

LLAVA = load_model("llava-1.5-7b")
T, M, N = 32, 576, 64


def planned(*rules, rounding="floor", **others):
    return plan(LLAVA, Workload(), Schedule(layers=rules, rounding=rounding, **others))


def test_freeze_updates_text_alone():
    # ShortV: a frozen layer projects keys and values of all 640, and updates the 64 others, whose
    # queries score 64 · 640 pairs
    seen = planned({"kind": "freeze", "layers": [3]})
    assert seen.query[3] == seen.ffn[3] == N
    assert seen.key[3] == seen.attended[3] == M + N
    assert seen.pairs[3] == N * (M + N)
    assert seen.query[4] == M + N
    assert seen.pairs[4] == (M + N) ** 2
    assert seen.kv_stored == (M + N,) * T


def test_freeze_from_a_layer_on():
    seen = planned({"kind": "freeze", "first_layer": 30})
    assert seen.query == (M + N,) * 30 + (N,) * 2


def test_a_frozen_layer_saves_what_shortv_says():
    # LLaVA-NeXT-13B, 2,880 visual tokens and no text, gated: of 4nd² + 2n²d + 3ndm the projections
    # of keys and values stay, 2nd²: 1 − 2d/(4d + 2n + 3m) = 84.9 %
    d, m, n = 5120, 13824, 2880
    saved = 1 - Fraction(2 * d, 4 * d + 2 * n + 3 * m)
    assert round(float(saved), 3) == 0.849
    report = evaluate(
        load_model("llava-next-vicuna-13b"),
        Workload(visual_tokens=n, text_tokens=0),
        Schedule(layers=[{"kind": "freeze", "layers": [5]}]),
    )
    layers = report.bill("gated").by_layer()
    dense = report.bill("gated", scheduled=False).by_layer()
    structural = report.dense.structural_tokens
    assert structural == 0
    assert 1 - Fraction(layers["decoder", 5], dense["decoder", 5]) == saved


def test_sparse_scores_a_share_of_the_pairs():
    # AdaSpark: visual pairs ⌊0.3 · 576²⌋, those with text in full; ⌊0.5 · 576⌋ through the FFN
    seen = planned({"kind": "sparse", "pairs": 0.3, "ffn": 0.5, "layers": [7]})
    assert seen.query[7] == seen.key[7] == M + N
    assert seen.ffn[7] == 288 + N
    assert seen.pairs[7] == int(Fraction(3, 10) * M * M) + 2 * M * N + N * N
    assert seen.ffn[8] == M + N


def test_subset_attends_among_some_and_feeds_all():
    # ZipVL: ⌊0.4 · 576⌋ = 230
    seen = planned({"kind": "subset", "ratio": 0.4})
    assert set(seen.query) == set(seen.key) == {230 + N}
    assert set(seen.ffn) == {M + N}
    assert set(seen.pairs) == {(230 + N) ** 2}
    assert set(seen.kv_stored) == {230 + N}


def test_withdraw_inject_and_expand():
    assert planned({"kind": "withdraw", "layer": 16}).visual == (M,) * 16 + (0,) * 16
    assert planned({"kind": "inject", "layer": 4}).visual == (0,) * 4 + (M,) * 28
    # ⌊0.1 · 576⌋ = 57
    assert planned({"kind": "expand", "layer": 8, "ratio": 0.1}).visual == (57,) * 8 + (M,) * 24
    both = planned({"kind": "withdraw", "layer": 16}, {"kind": "inject", "layer": 4})
    assert both.visual == (0,) * 4 + (M,) * 12 + (0,) * 16


def test_rules_and_stages_allow_the_least():
    seen = planned(
        {"kind": "subset", "ratio": 0.75},  # 432
        {"kind": "sparse", "pairs": 0.5},
        {"kind": "sparse", "pairs": 0.4},
        stages=[{"first_layer": 8, "ratio": 0.5}],  # 288
    )
    assert seen.query == (432 + N,) * 8 + (288 + N,) * 24
    assert seen.ffn == (M + N,) * 8 + (288 + N,) * 24
    # shares of pairs multiply: 0.2 of 288²
    assert seen.pairs[8] == int(Fraction(1, 5) * 288 * 288) + 2 * 288 * N + N * N


CURVES = {
    "step": lambda i: 1 if i < 10 else 0.2,
    "linear": lambda i: 1 if i < 10 else 1 - 0.8 * (i - 9) / 22,
    "exponential": lambda i: 1 if i < 10 else 0.2 ** ((i - 9) / 22),
    "sigmoid": lambda i: 1 - 0.8 / (1 + math.exp(-10 * (i - 10))),
    "cosine": lambda i: 0.2 + 0.8 * (1 + math.cos(math.pi * i / 31)) / 2,
}


@pytest.mark.parametrize("curve", CURVES)
def test_profiles_are_their_curves(curve):
    rule = {"kind": "profile", "curve": curve, "ratio": 0.2, "layer": 10}
    seen = planned(rule, rounding="round")
    for layer, count in enumerate(seen.visual):
        assert abs(count - CURVES[curve](layer) * M) <= 0.5 + 1e-6
    if curve != "sigmoid":
        assert seen.visual[31] == 115  # 0.2 · 576 = 115.2


def test_limits_of_a_profile():
    rule = {"kind": "profile", "curve": "linear", "ratio": 0, "layer": 0}
    # falling by 1/32 a layer: 18 tokens
    assert planned(rule).visual == tuple(576 - 18 * (layer + 1) for layer in range(32))
    limited = planned({**rule, "least": 0.25, "full_above": 0.75}).visual
    # 7 of 32 layers leave more than 0.75; what falls below 0.25 stays there
    assert limited[:7] == (576,) * 7
    assert limited[7] == 432
    assert limited[23:] == (144,) * 9


def test_vectors_are_taken_as_they_are():
    tokens = [1] * 8 + ["0.5"] * 8 + [0] * 8 + [1] * 8  # tokens may come back
    assert planned({"kind": "vectors", "tokens": tokens}).visual == (
        (576,) * 8 + (288,) * 8 + (0,) * 8 + (576,) * 8
    )
    apart = planned(
        {"kind": "vectors", "query": [0.25] * 32, "key": [0.5] * 32, "pairs": [0.5] * 32}
    )
    assert (apart.query[0], apart.key[0], apart.ffn[0]) == (144 + N, 288 + N, M + N)
    # ⌊0.5 · 144 · 288⌋ + 144 · 64 + 64 · 288 + 64²
    assert apart.pairs[0] == 20736 + 9216 + 18432 + 4096
    assert apart.visual[0] == M  # all of them pass the FFN


def test_rounding_is_that_of_the_schedule():
    rule = {"kind": "subset", "ratio": "0.4"}  # 230.4
    kept = {how: planned(rule, rounding=how).query[0] - N for how in ("floor", "ceil", "round")}
    assert kept == {"floor": 230, "ceil": 231, "round": 230}


@pytest.mark.parametrize(
    ("rule", "field", "words"),
    [
        ({"kind": "withdraw", "layer": 32}, "layers.0.layer", "give 0 to 31"),
        ({"kind": "freeze", "layers": [3, 40]}, "layers.0.layers", "which has 32"),
        ({"kind": "vectors", "tokens": [1] * 28}, "layers.0.tokens", "28 shares for a decoder"),
    ],
)
def test_layers_that_do_not_exist(rule, field, words):
    error = refusal(planned, rule)
    assert error.field == field
    assert words in str(error)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"kind": "freeze", "layers": []}, "is not a list of layers"),
        ({"kind": "freeze", "layers": [5, 3]}, "is not in order"),
        ({"kind": "freeze", "layers": [3, 3]}, "is not in order"),
        ({"kind": "vectors"}, "gives no shares"),
        ({"kind": "vectors", "tokens": []}, "is not a list of shares"),
        ({"kind": "vectors", "tokens": [1], "key": [1]}, "goes with none of query, key, ffn"),
        ({"kind": "vectors", "tokens": [1.5]}, "is outside [0, 1]"),
        ({"kind": "vectors", "tokens": [True]}, "is not a number"),
        ({"kind": "froze", "layers": [1]}, "did you mean freeze?"),
        ({"layers": [1]}, "kind is missing"),
    ],
)
def test_rules_that_are_wrong(rule, words):
    assert words in str(refusal(Schedule, layers=[rule]))


@pytest.mark.parametrize("zero", [0, 0.0, "0", "0.0", "0.00", " 0 ", Fraction(0)])
def test_nothing_is_a_share(zero):
    rule = Schedule(layers=[{"kind": "vectors", "tokens": [zero]}]).layers[0]
    assert rule.tokens == (Fraction(0),)


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"kind": "subset", "ratio": 0.001}, "layers.0.ratio"),
        ({"kind": "profile", "curve": "step", "layer": 2, "ratio": 0.001}, "layers.0.ratio"),
        ({"kind": "sparse", "ffn": 0.001}, "layers.0.ffn"),
        ({"kind": "vectors", "tokens": ["0.001"] * T}, "layers.0"),
    ],
)
def test_shares_that_leave_no_token(rule, field):
    # ⌊0.001 · 576⌋ = 0
    error = refusal(planned, rule)
    assert error.field == field
    assert "leaves none of the 576 visual tokens" in str(error)


def test_curves_that_are_to_end_at_none():
    rule = {"kind": "profile", "curve": "sigmoid", "layer": 9, "ratio": 0}
    assert planned(rule).visual[-1] == 0
    assert planned({"kind": "vectors", "tokens": [1] * 31 + [0]}).visual[-2:] == (M, 0)
