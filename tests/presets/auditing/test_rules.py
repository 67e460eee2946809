"""Each rule, on claims as a user would write them; expected values are worked out beside them."""

from decimal import Decimal

import pytest
from audited import LLAVA, claim, verdict
from vlm_tokencost.costmodel import InvalidInput


def test_a_stated_convention_is_the_only_one():
    # gated 3.817, survey 2.986 TMAC at 576 tokens.
    assert verdict("flops", 3.82, "TFLOP", dense=True, **LLAVA).convention == "gated"
    assert verdict("flops", 2.99, "TFLOP", dense=True, **LLAVA).convention == "survey"
    stated = verdict(
        "flops", 3.82, "TFLOP", dense=True, convention="survey", text_tokens=0, **LLAVA
    )
    assert stated.verdict == "inconsistent"


def test_macs_printed_as_flops_are_a_reading_and_flops_printed_as_macs_a_slip():
    # 2 · 3.817 = 7.634
    doubled = verdict(
        "flops", 7.63, "TFLOP", dense=True, convention="gated", text_tokens=0, **LLAVA
    )
    assert (doubled.verdict, doubled.counts) == ("reproduced", "FLOP")
    slip = verdict("flops", 7.63, "TMAC", dense=True, convention="gated", text_tokens=0, **LLAVA)
    assert (slip.verdict, slip.rule) == ("inconsistent", "unit-slip")


def test_stated_text_is_not_fitted():
    # 118 others make 4.62; 64 make 4.252.
    fields = {"dense": True, "convention": "gated", **LLAVA}
    assert verdict("flops", 4.62, "TFLOP", **fields).rule == "fit"
    assert verdict("flops", 4.62, "TFLOP", text_tokens=118, **fields).verdict == "reproduced"
    assert verdict("flops", 4.62, "TFLOP", text_tokens=64, **fields).verdict == "inconsistent"


def test_an_implausible_prompt_is_no_explanation():
    # 7 T would take 866 LLM tokens more than 576 visual ones hold with 300 of text.
    found = verdict("flops", 7.0, "TFLOP", dense=True, convention="gated", **LLAVA)
    assert found.verdict == "not checkable"
    assert "more than 300 text tokens" in found.missing[0]


def test_less_than_any_prompt_costs_is_inconsistent():
    # 576 visual tokens alone cost 3.817 T (gated), 2.986 T (survey), 3.8 TMAC exactly.
    assert verdict("flops", 2.0, "TFLOP", dense=True, **LLAVA).verdict == "inconsistent"


def test_a_boundary_off_by_one_is_an_assumption():
    # Half from layer 3 on keeps (3 + 29/2)/32 = 54.7 % of the tokens, from layer 2 53.1 %.
    fields = {"schedule": "keep 0.5 @ 2", "text_tokens": 0, **LLAVA}
    found = verdict("token ratio", "54.69", "%", **fields)
    assert (found.verdict, found.rule) == ("reproduced with an assumption", "fit")
    assert "begins one later, at 3" in found.assumption
    assert verdict("token ratio", "53.13", "%", **fields).verdict == "reproduced"


def test_images_of_unknown_size_are_an_assumption_or_a_gap():
    # 1092×1092 pixels make 39·39 = 1,521 tokens of Qwen2.5-VL.
    fields = {"model": "qwen2.5-vl-7b", "dense": True}
    found = verdict("visual tokens", 1521, "tokens", **fields)
    assert found.verdict == "reproduced with an assumption"
    assert "1092×1092" in found.assumption
    other = verdict("visual tokens", 1280, "tokens", **fields)
    assert (other.verdict, other.rule) == ("not checkable", "incomplete")
    sized = verdict("visual tokens", 1280, "tokens", images=("1092x1092",), **fields)
    assert sized.verdict == "inconsistent"


def test_saved_and_left_are_told_apart():
    # A quarter of the tokens is left, three quarters are saved.
    found = verdict("token reduction", 25, "%", schedule="compress 0.25", **LLAVA)
    assert (found.verdict, found.rule) == ("inconsistent", "unit-slip")


@pytest.mark.parametrize("gap", [{"model": ""}, {"schedule": None}, {"unsettled": "no K"}])
def test_gaps_are_named(gap):
    fields = {"schedule": "keep 0.5 @ 2", **LLAVA, **gap}
    found = verdict("flops ratio", 55, "%", **fields)
    assert (found.verdict, found.rule) == ("not checkable", "incomplete")
    assert found.missing


def test_one_table_has_one_prompt():
    # 118 text tokens make 4.62 T dense and 2.79 with half from layer 2 on; 2.53 needs 78 or 79.
    dense = claim("flops", "4.62", "TFLOP", "dense", dense=True, convention="gated", **LLAVA)
    fields = {"schedule": "keep 0.5 @ 2", "convention": "gated", **LLAVA}
    alone = verdict("flops", "2.53", "TFLOP", **fields)
    assert alone.rule == "fit"
    beside = verdict("flops", "2.53", "TFLOP", known=[dense], baseline="dense", **fields)
    assert (beside.verdict, beside.rule) == ("inconsistent", "one-prompt")


def test_bytes_in_either_unit():
    # 576 · 524,288 B = 301.99 MB = 288 MiB.
    for printed in ("302.0", "288"):
        assert verdict("kv bytes", printed, "MB", dense=True, **LLAVA).verdict == "reproduced"


def test_reads_are_not_storage():
    fields = {"schedule": {"cache": {"stored": 1, "read": "1/4"}}, **LLAVA}
    found = verdict("kv reduction", 75, "%", **fields)
    assert (found.verdict, found.rule) == ("inconsistent", "reserve")
    assert verdict("kv read ratio", 25, "%", **fields).verdict == "reproduced"


def test_half_a_digit_on_both_sides_is_allowed():
    # 0.52/0.22 lies between 0.515/0.225 = 2.29 and 0.525/0.215 = 2.44.
    follows = [{"kind": "factor", "of": [Decimal("0.22"), Decimal("0.52")]}]
    fields = {"applies": "desap", "budget": 64, "scope": "prefill", **LLAVA}
    assert verdict("speed-up", "2.3", "×", follows=follows, **fields).verdict == "plausible"
    found = verdict("speed-up", "2.6", "×", follows=follows, **fields)
    assert (found.verdict, found.rule) == ("inconsistent", "own-numbers")


def test_cut_digits_are_no_contradiction():
    # 3220/1820 = 1.769, printed as 1.76.
    follows = [{"kind": "factor", "of": [Decimal(1820), Decimal(3220)]}]
    fields = {"applies": "desap", "budget": 64, **LLAVA}
    assert verdict("speed-up", "1.76", "×", follows=follows, **fields).verdict == "plausible"


@pytest.mark.parametrize(
    ("kind", "of", "right", "wrong"),
    [
        ("ratio", [25, 100], "25", "30"),
        ("reduction", [25, 100], "75", "70"),
        ("equal", [25], "25", "26"),
        ("sum", [10, 15], "25", "27"),
        ("difference", [75, 100], "25", "27"),
    ],
)
def test_relations(kind, of, right, wrong):
    follows = [{"kind": kind, "of": [Decimal(one) for one in of]}]
    for value, contradicts in ((right, False), (wrong, True)):
        found = verdict("flops reduction", value, "%", follows=follows)
        assert (found.rule == "own-numbers" and found.verdict == "inconsistent") is contradicts


def test_rates_are_times_upside_down():
    # 100 against 50 images a second: half the time, twice as fast.
    follows = [{"kind": "factor", "of": [Decimal(100), Decimal(50)], "as_times": True}]
    assert verdict("speed-up", 2, "×", follows=follows).verdict == "not checkable"
    assert verdict("speed-up", 3, "×", follows=follows).verdict == "inconsistent"


def test_a_share_of_costs_worked_out_from_others_is_an_assumption():
    follows = [{"kind": "reduction", "of": [Decimal("1573.1"), Decimal("3555.1")]}]
    found = verdict("flops reduction", "55.8", "%", follows=follows)
    assert (found.verdict, found.rule) == ("reproduced with an assumption", "own-numbers")


def test_a_rounded_share_widens_what_was_multiplied_out():
    # 35 % of 99.3 = 34.8; the formula gives 35.2, inside 34.5 to 35.5 % of 99.3.
    share = claim("flops ratio", 35, "%", "share")
    dense = claim("flops per layer", "99.3", "GFLOP", "dense")
    fields = {
        "schedule": "keep 0.25 @ 3",
        "text_tokens": 36,
        "convention": "survey",
        **LLAVA,
    }
    alone = verdict("flops per layer", "34.8", "GFLOP", **fields)
    assert alone.verdict == "inconsistent"
    follows = [{"kind": "product", "of": ["share", "dense"]}]
    found = verdict(
        "flops per layer", "34.8", "GFLOP", known=[share, dense], follows=follows, **fields
    )
    assert found.verdict == "reproduced"


def test_an_unknown_id_is_named():
    with pytest.raises(InvalidInput, match="nobody is not a claim"):
        verdict("flops ratio", 25, "%", follows=[{"kind": "equal", "of": ["nobody"]}])
