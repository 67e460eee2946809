"""Numbers on entry: whole numbers, ratios, rounding."""

import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import named, refusal
from vlm_tokencost.costmodel import (
    Compress,
    Counting,
    InvalidInput,
    Schedule,
    Stage,
    Workload,
    evaluate,
    plan,
)
from vlm_tokencost.costmodel.numeric import ratio, whole
from vlm_tokencost.costmodel.schedule import kept_tokens
from vlm_tokencost.presets import load_model

LLAVA = load_model("llava-1.5-7b")


# --- whole numbers ------------------------------------------------------------------------------

INTEGER_TYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("dtype", INTEGER_TYPES)
def test_numpy_integers_become_python_ints(dtype):
    import numpy as np

    five = np.dtype(dtype).type(5)
    workload = Workload(
        visual_tokens=five, text_tokens=five, new_tokens=five, batch=five, images=[(five, five)]
    )
    numbers = (workload.visual_tokens, workload.text_tokens, workload.new_tokens, workload.batch)
    for number in (*numbers, *workload.images[0], Stage(first_layer=five, tokens=five).tokens):
        assert type(number) is int
        assert number == 5
    assert type(Stage(first_layer=five, tokens=five).first_layer) is int
    assert type(Compress(tokens=five).tokens) is int
    assert workload == Workload(
        visual_tokens=5, text_tokens=5, new_tokens=5, batch=5, images=[(5, 5)]
    )


def test_numpy_workload_prices_in_python_ints():
    import numpy as np

    workload = Workload(
        text_tokens=np.int64(64), batch=np.uint8(200), images=[(np.int32(336), np.int32(336))]
    )
    report = evaluate(LLAVA, workload, Schedule.keep(np.float64(0.5), layer=np.int8(2)))
    assert type(report.total()) is int
    # 200 requests of 5,272,907,120,640 FLOPs, beyond what int32 and uint8 hold
    assert report.total() == 200 * 5_272_907_120_640


@pytest.mark.parametrize("text", ["640", " 640 ", "+640", "0640"])
def test_digits_are_whole_numbers(text):
    assert whole(text, "text_tokens") == 640


NOT_WHOLE = [
    True, False, 5.0, 5.5, float("nan"), float("inf"), Decimal(5), Fraction(5), 5j, [5], (5,), {},
    "five", "", " ", "5.0", "1e3", "1_000", "0x10", "²", "٣", "5 5", "nan", "None", "--", "+", "5-",
    "+-5", "--5", "-+5", b"5",
]  # fmt: skip


@pytest.mark.parametrize("value", NOT_WHOLE, ids=repr)
def test_not_a_whole_number(value):
    error = refusal(Workload, text_tokens=value)
    assert (error.field, error.problem) == ("text_tokens", "is not a whole number")
    assert error.way_out == "give a whole number of at least 0"
    error = refusal(whole, value, "layers", minimum=1)
    assert (error.field, error.value, error.problem) == ("layers", value, "is not a whole number")
    assert error.way_out == "give a whole number of at least 1"


def test_numpy_values_that_are_not_whole():
    import numpy as np

    for value in (np.float64(5), np.float32(5), np.bool_(True), np.array([5]), np.array([5, 6])):
        assert refusal(whole, value, "layers").problem == "is not a whole number"


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("text_tokens", -1, "is below 0"),
        ("text_tokens", "-1", "is below 0"),
        ("batch", 0, "is below 1"),
        ("batch", "0", "is below 1"),
        ("new_tokens", 0, "is below 1"),
        ("visual_tokens", 0, "is below 1"),
        ("visual_tokens", -5, "is below 1"),
        ("text_tokens", 10**9 + 1, "is above 1,000,000,000"),
        ("batch", 10**40, "is above 1,000,000,000"),
    ],
    ids=named,
)
def test_out_of_range(field, value, problem):
    error = refusal(Workload, **{field: value})
    assert (error.field, error.value, error.problem) == (field, value, problem)


@pytest.mark.parametrize("digits", [4_301, 10_000])
@pytest.mark.parametrize("sign", [1, -1])
def test_numbers_too_long_to_print_are_refused_like_others(digits, sign):
    # str() of an int refuses more than 4,300 digits; the sentence has to do without them all.
    error = refusal(Workload, text_tokens=sign * 10**digits)
    assert error.field == "text_tokens"
    assert len(str(error)) < 300


def test_nothing_is_optional_by_accident():
    for field in ("text_tokens", "new_tokens", "batch"):
        assert refusal(Workload, **{field: None}).field == field


def test_zero_text_tokens_are_allowed():
    assert Workload(text_tokens=0).text_tokens == 0


# --- ratios -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [0.7, "0.7", Decimal("0.7"), Fraction(7, 10), "7e-1", ".7", "0.70", "7/10", " 0.7 "],
    ids=repr,
)
def test_seven_tenths_is_exact(value):
    assert ratio(value, "keep") == Fraction(7, 10)
    stage = Stage(first_layer=2, ratio=value)
    assert type(stage.ratio) is Fraction
    assert stage == Stage(first_layer=2, ratio="0.7")
    assert kept_tokens(stage.ratio, 2880, "floor") == 2016


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("value", ["0.5", "0.7", "0.1"])
def test_numpy_floats_are_the_decimals_that_they_print(dtype, value):
    import numpy as np

    scalar = np.dtype(dtype).type(value)
    assert str(scalar) == value
    kept = ratio(scalar, "keep")
    assert type(kept) is Fraction
    assert kept == Fraction(value)


def test_numpy_one_is_a_ratio():
    import numpy as np

    assert ratio(np.int64(1), "keep") == 1
    assert type(ratio(np.int64(1), "keep")) is Fraction


@pytest.mark.parametrize("value", [1, 1.0, "1", "1.0", Decimal(1), Fraction(1)], ids=repr)
def test_one_is_a_ratio(value):
    assert ratio(value, "keep") == 1


@pytest.mark.parametrize("value", ["1e-9", "0.000001", 5e-324], ids=str)
def test_tiny_ratios_are_exact(value):
    assert ratio(value, "keep") == Fraction(str(value))


NOT_RATIOS = [
    True, False, float("nan"), float("inf"), float("-inf"), "half", "", "50%", "nan", "inf", "1/0",
    Decimal("nan"), Decimal("snan"), Decimal("inf"), 5j, [0.5], (0.5,), {}, b"0.5", "0" * 41, "0,5",
]  # fmt: skip


@pytest.mark.parametrize("value", NOT_RATIOS, ids=lambda value: repr(value)[:20])
def test_not_a_ratio(value):
    error = refusal(Stage, first_layer=2, ratio=value)
    assert (error.field, error.problem) == ("ratio", "is not a number")
    assert error.way_out == "give a keep ratio in (0, 1], such as 0.5"


def test_a_numpy_bool_is_not_a_ratio():
    import numpy as np

    assert refusal(ratio, np.bool_(True), "keep").problem == "is not a number"


@pytest.mark.parametrize(
    "value", [0, 0.0, -0.0, "0", -0.5, "-0.5", 1.0000001, "1.1", 2, 50, 1e300, "1e30"], ids=repr
)
def test_ratio_out_of_range(value):
    error = refusal(Schedule.keep, value, 2)
    assert (error.field, error.value) == ("ratio", value)
    assert error.problem == "is outside (0, 1]"
    assert refusal(Compress, ratio=value).problem == "is outside (0, 1]"


@pytest.mark.parametrize("value", ["1e-999999999", "1e999999999"])
def test_absurd_exponents_are_refused_at_once(value):
    # In a process of its own: expanding 10**999999999 would neither end nor be interrupted.
    code = (
        "from vlm_tokencost.costmodel import InvalidInput\n"
        "from vlm_tokencost.costmodel.numeric import ratio\n"
        "try:\n"
        f"    ratio({value!r}, 'keep')\n"
        "except InvalidInput as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    assert value in done.stdout


@given(thousandths=st.integers(1, 1000), tokens=st.integers(1, 10**9))
def test_decimals_that_were_typed_are_exact(thousandths, tokens):
    typed = f"{thousandths // 1000}.{thousandths % 1000:03}"
    for value in (typed, float(typed), Decimal(typed)):
        kept = ratio(value, "keep")
        assert kept == Fraction(thousandths, 1000)
        assert kept_tokens(kept, tokens, "floor") == thousandths * tokens // 1000
        assert kept_tokens(kept, tokens, "ceil") == -(-thousandths * tokens // 1000)


# --- rounding -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "tokens", "floor", "nearest", "ceil", "released"),
    [
        ("0.7", 2880, 2016, 2016, 2016, 2015),  # in floats 2015.9999999999998
        ("0.5", 576, 288, 288, 288, 288),
        ("0.5", 577, 288, 288, 289, 288),  # 288.5 to the even 288
        ("0.5", 579, 289, 290, 290, 289),  # 289.5 to the even 290
        ("0.1", 1152, 115, 115, 116, 115),  # 115.2
        ("0.1", 576, 57, 58, 58, 57),  # 57.6
        ("0.29", 100, 29, 29, 29, 28),  # in floats 28.999999999999996
        ("0.333", 576, 191, 192, 192, 191),  # 191.808
        ("0.001", 576, 0, 1, 1, 0),  # 0.576
        ("1", 2928, 2928, 2928, 2928, 2928),
    ],
    ids=named,
)
def test_rounding(typed, tokens, floor, nearest, ceil, released):
    share = ratio(typed, "keep")
    rules = ("floor", "round", "ceil", "float-floor")
    results = [kept_tokens(share, tokens, rule) for rule in rules]
    assert results == [floor, nearest, ceil, released]
    assert all(type(result) is int for result in results)


@given(percent=st.integers(1, 100), tokens=st.integers(1, 100_000))
def test_float_floor_is_what_released_code_does(percent, tokens):
    keep = percent / 100
    assert kept_tokens(ratio(keep, "keep"), tokens, "float-floor") == int(keep * tokens)


def test_rounding_reaches_stages_and_compression():
    def visual(**schedule):
        return plan(LLAVA, Workload(visual_tokens=577), Schedule(**schedule)).visual[-1]

    stages = (Stage(first_layer=2, ratio="0.5"),)
    compress = Compress(ratio="0.5")
    for rule, expected in (("floor", 288), ("round", 288), ("ceil", 289), ("float-floor", 288)):
        assert visual(stages=stages, rounding=rule) == expected
        assert visual(compress=compress, rounding=rule) == expected
    kept = Schedule.keep("0.5", layer=2, rounding="ceil")
    assert kept == Schedule(stages=stages, rounding="ceil")


def test_ratio_is_of_the_tokens_that_enter_layer_0():
    """Never of the stage before, nor of the count before compression."""
    schedule = Schedule(
        compress=Compress(tokens=300),
        stages=(Stage(first_layer=1, ratio="0.5"), Stage(first_layer=2, ratio="0.25")),
    )
    assert plan(LLAVA, Workload(), schedule).visual == (300, 150) + (75,) * 30


@pytest.mark.parametrize(
    ("spec", "data", "field", "fragments"),
    [
        (Schedule, {"rounding": "down"}, "rounding", ("down", "floor", "float-floor")),
        (Schedule, {"rounding": None}, "rounding", ("floor",)),
        (Counting, {"logits": "first"}, "logits", ("first", "last", "all")),
        (
            Counting,
            {"encoder_layers": "dead"},
            "encoder_layers",
            ("dead", "computed", "contributing"),
        ),
        (Counting, {"causal": "perhaps"}, "causal", ("perhaps",)),
        (Compress, {"tokens": 5, "at": "before"}, "at", ("before-connector", "after-connector")),
        (Stage, {"first_layer": 2, "withdraw": 1}, "withdraw", ("1",)),
        (Stage, {"first_layer": 2, "withdraw": "yes"}, "withdraw", ("yes",)),
        (Counting, {"causal": 1}, "causal", ("1",)),
        (Schedule, {"stages": 3}, "stages", ("3",)),
        (Schedule, {"stages": "first"}, "stages", ("first",)),
        (Schedule, {"stages": ["x"]}, "stages.0", ("x",)),
        (Schedule, {"compress": 3}, "compress", ("3",)),
        (Schedule, {"name": 3}, "name", ("3",)),
    ],
    ids=named,
)
def test_wrong_choice_or_type(spec, data, field, fragments):
    error = refusal(spec, **data)
    assert error.field == field
    for fragment in fragments:
        assert fragment in str(error)


@pytest.mark.parametrize(
    ("spec", "data", "choices"),
    [
        (Stage, {"tokens": 3, "ratio": "0.5"}, "tokens, ratio, withdraw"),
        (Stage, {"tokens": 3, "withdraw": True}, "tokens, ratio, withdraw"),
        (Stage, {}, "tokens, ratio, withdraw"),
        (Compress, {"tokens": 3, "ratio": "0.5"}, "tokens, ratio"),
        (Compress, {}, "tokens, ratio"),
    ],
    ids=[
        "tokens-ratio",
        "tokens-withdraw",
        "no-stage-amount",
        "compress-both",
        "compress-none",
    ],
)
def test_exactly_one_amount(spec, data, choices):
    layer = {"first_layer": 2} if spec is Stage else {}
    with pytest.raises(InvalidInput) as caught:
        spec(**layer, **data)
    assert caught.value.way_out == f"give exactly one of {choices}"
    for name in data:
        assert name in caught.value.problem
