"""Claims in words and as rows: digits as printed, base units, relations with their figures."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import get_args

import pytest
from verdicts import a_claim, a_verdict, every_kind
from vlm_tokencost.cli.claim_rows import base_unit, claim_row, flat, verdict_row
from vlm_tokencost.cli.claim_words import (
    SCOPES,
    VERIFICATIONS,
    amount,
    baseline,
    bounds_shown,
    counts,
    off,
    printed,
    relation,
    request,
    schedule_words,
    source,
    tally,
)
from vlm_tokencost.presets.claim import QUANTITIES, UNITS, RelationKind, Scope, Verification


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"value": "1.50"}, "1.50 TFLOP"),
        ({"value": Decimal("1.38E+4"), "unit": "GFLOP"}, "13800 GFLOP"),
        ({"value": "5", "most": "11", "quantity": "speed-up", "unit": "×"}, "5–11×"),
        ({"value": "7.8", "hedge": "up to", "quantity": "speed-up", "unit": "×"}, "up to 7.8×"),
        ({"value": "0.55", "quantity": "flops ratio", "unit": "fraction"}, "0.55"),
        ({"value": "55", "quantity": "flops ratio", "unit": "%"}, "55 %"),
        ({"value": None, "printed": "faster"}, "faster"),
        ({"value": "565", "quantity": "total time", "unit": "s", "printed": "9:25"}, "9:25"),
    ],
)
def test_a_figure_is_shown_as_printed(fields, text):
    assert printed(a_claim(**fields)) == text


def test_words_cover_the_data():
    assert set(SCOPES) == set(get_args(Scope))
    assert set(VERIFICATIONS) == set(get_args(Verification))
    known = {"a": a_claim("a"), "b": a_claim("b", value="3.00")}
    for kind in get_args(RelationKind):
        of = ("a",) if kind == "equal" else ("a", "b")
        rule = a_claim(follows=[{"kind": kind, "of": of}]).follows[0]
        assert "1.50 TFLOP (a)" in relation(rule, known), kind


def test_a_relation_names_its_figures():
    known = {"a": a_claim("a"), "b": a_claim("b", value="3.00")}
    rules = a_claim(
        follows=[
            {"kind": "reduction", "of": ["a", "b"]},
            {"kind": "factor", "of": [Decimal("27.8"), "gone"], "as_times": True},
        ]
    ).follows
    assert relation(rules[0], known) == "the reduction 1 − 1.50 TFLOP (a) / 3.00 TFLOP (b)"
    assert relation(rules[1], known).startswith("the factor gone / 27.8; figures are rates")
    assert baseline(a_claim(baseline="b"), known) == "3.00 TFLOP (b)"
    assert baseline(a_claim(baseline=Decimal("3.10")), known) == "3.10 TFLOP"
    share = a_claim(baseline=Decimal("57.8"), quantity="time reduction", unit="%")
    assert baseline(share, known) == "57.8"
    assert baseline(a_claim(), known) == ""


def test_a_request_says_what_is_known_alone():
    assert request(a_claim()) == ""
    full = a_claim(
        images=["336x336", "672x672"],
        visual_tokens=2880,
        text_tokens=36,
        new_tokens=10,
        batch=2,
        device="a100-80-sxm",
        weight_bits=4,
        attention="eager",
        runtime="graph",
    )
    assert request(full) == (
        "2 images of 336x336, 672x672, 2,880 visual tokens, 36 text tokens, 10 new tokens, batch "
        "2, on a100-80-sxm, 4-bit weights, eager attention, graph runtime"
    )
    averaged = a_claim(frames=8, text_lengths=[15, 23], visual_lengths=[2225, 1922])
    assert request(averaged) == (
        "8 frames, 15, 23 text tokens, averaged, with 2225, 1922 visual tokens"
    )


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "fastv, its default"),
        ({"budget": 64}, "fastv, budget 64"),
        ({"dense": True}, "none: the dense model"),
        ({"schedule": "keep 0.5 @ 2"}, "keep 0.5 @ 2"),
        ({"schedule": {"compress": {"tokens": 64}}}, "compress tokens 64"),
        ({"unsettled": "which layers is not said"}, "unsettled: which layers is not said"),
        ({"applies": ""}, "unknown"),
    ],
)
def test_what_is_priced(fields, text):
    assert schedule_words(a_claim(**fields)) == text


def test_a_source_says_how_far_it_was_read():
    assert source(a_claim()) == "table 1 (read in the source)"
    other = a_claim(primary=False, verification="secondary")
    assert source(other) == "table 1 (from secondary notes; not the method's own paper)"
    assert source(a_claim(source_kind="user", source="my notes")) == "my notes"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "—"),
        (0.00264, "+0.26 %"),
        (-0.213, "−21.30 %"),
        (-0.00001, "0.00 %"),
        (-0.999, "−99.90 %"),
        (999.0, "1000-fold"),
    ],
)
def test_a_difference_in_words(share, text):
    assert off(a_verdict(relative_difference=share)) == text


@pytest.mark.parametrize(
    ("scope", "shown"),
    [
        ("llm-prefill", ["prefill of the LLM 3×", "attention alone 9×", "upper bound 10×"]),
        ("end-to-end", ["prefill of the LLM 3×", "end to end 1.5×", "upper bound 10×"]),
        ("", ["prefill of the LLM 3×", "end to end 1.5×", "upper bound 10×"]),
        ("encoder", ["upper bound 10×"]),
    ],
)
def test_bounds_of_the_scope_and_its_parts_are_shown(scope, shown):
    every = (("llm-prefill", 3.0), ("attention", 9.0), ("end-to-end", 1.5), ("serving", 99.0))
    claim = a_claim(quantity="speed-up", unit="×", scope=scope)
    found = bounds_shown(a_verdict(claim, bounds=(*every, ("upper bound", 10.0))))
    assert [" ".join(one) for one in found] == shown


def test_amounts_keep_five_digits():
    assert [amount(value) for value in (99.32754, -0.5, 123456.7)] == ["99.328", "−0.5", "123,457"]


def test_counts_are_in_the_order_of_verdicts():
    found = every_kind()
    assert list(counts(found).values()) == [1, 1, 1, 1, 1, 1, 2]
    assert tally(found[:3]) == (
        "3 claims: 1 reproduced, 1 reproduced with an assumption, 1 plausible"
    )
    assert tally([]) == "0 claims"


def test_a_figure_that_is_recorded_twice_counts_once():
    twice = [a_verdict(a_claim("a")), a_verdict(a_claim("b", repeats="a"))]
    assert counts(twice)["reproduced"] == 1
    assert tally(twice) == "1 claim: 1 reproduced, 1 recorded twice"
    assert tally(twice[1:]) == "1 claim: 1 reproduced", "the other one is not among them"


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_has_a_base(unit):
    quantity = next(name for name, kind in QUANTITIES.items() if kind == UNITS[unit].dimension)
    row = claim_row(a_claim(quantity=quantity, unit=unit, value="2.5", printed="2.5"))
    assert row["value"] == float(Fraction(5, 2) * UNITS[unit].size)
    assert bool(row["base_unit"]) == (unit != "text")


@pytest.mark.parametrize(
    ("quantity", "unit", "base"),
    [
        ("flops", "GMAC", "MAC"),
        ("flops", "TFLOP", "FLOP"),
        ("memory", "GiB", "B"),
        ("time", "ms", "s"),
        ("flops ratio", "%", "1"),
    ],
)
def test_base_units(quantity, unit, base):
    assert base_unit(a_claim(quantity=quantity, unit=unit)) == base


def test_rows_are_in_base_units():
    claim = a_claim(value="1.50", most="1.75", corrected="1.6", correction="a slip")
    row = verdict_row(a_verdict(claim, value=1.504, bound=2.5, bounds=(("prefill", 2.5),)))
    assert (row["value"], row["most"], row["corrected"]) == (1.5e12, 1.75e12, 1.6e12)
    assert type(row["value"]) is int
    assert row["recomputed"] == 1.504 * 1e12
    assert (row["bound"], row["bounds"]) == (2.5e12, {"prefill": 2.5e12})
    share = verdict_row(a_verdict(a_claim(value="55", unit="%", quantity="flops ratio")))
    assert share["value"] == 0.55
    assert share["recomputed"] is None


def test_rows_for_csv_are_flat():
    row = flat(
        verdict_row(
            a_verdict(
                convention="survey",
                tokens=612,
                bounds=(("prefill", 2.0), ("ttft", 1.5)),
                missing=("the model", "the setting"),
            )
        )
    )
    assert row["reading_convention"] == "survey"
    assert row["reading_tokens"] == 612
    assert row["bounds"] == "prefill: 2e+12; ttft: 1.5e+12"
    assert row["missing"] == "the model; the setting"
    assert not any(isinstance(value, dict | list) for value in row.values())
