"""What specs accept and refuse, and the sentences in which they refuse."""

import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from vlm_tokencost.costmodel import (
    Compress,
    Counting,
    InvalidInput,
    MissingExtra,
    Model,
    Schedule,
    Stage,
    TokencostError,
    UnknownName,
    Workload,
    evaluate,
    plan,
)
from vlm_tokencost.costmodel.errors import clip
from vlm_tokencost.costmodel.numeric import ratio, whole
from vlm_tokencost.costmodel.schedule import kept_tokens
from vlm_tokencost.costmodel.workload import image_size
from vlm_tokencost.presets import load_model

LLAVA = load_model("llava-1.5-7b")


def refusal(call, *args, **kwargs) -> InvalidInput:
    """Return the error that a call raises; its sentence holds field, value and way out."""
    with pytest.raises(InvalidInput) as caught:
        call(*args, **kwargs)
    error = caught.value
    sentence = str(error)
    assert sentence.startswith(error.field)
    if error.value is not None:
        assert clip(error.value) in sentence
    assert error.problem in sentence
    assert sentence.endswith(error.way_out)
    assert error.way_out
    assert "\n" not in sentence
    return error


def named(value: object) -> str:
    """Name a case by what it is about."""
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, dict):
        return ",".join(value)
    if isinstance(value, Schedule):
        amounts = [f"{stage.first_layer}:{stage.tokens or stage.ratio}" for stage in value.stages]
        compress = [f"compress:{one.tokens or one.ratio}" for one in [value.compress] if one]
        return " ".join([*compress, *amounts])
    return str(value)


# --- frozen, no unknown keys ---------------------------------------------------------------------

FROZEN = {
    "workload": (Workload(), "text_tokens"),
    "counting": (Counting(), "causal"),
    "schedule": (Schedule(), "rounding"),
    "stage": (Stage(first_layer=2, ratio="0.5"), "ratio"),
    "compress": (Compress(tokens=3), "tokens"),
    "model": (LLAVA, "decoder"),
    "decoder": (LLAVA.decoder, "hidden_size"),
    "attention": (LLAVA.decoder.attention, "head_dim"),
    "rule": (LLAVA.visual_tokens, "image_size"),
    "plan": (plan(LLAVA, Workload()), "query"),
    "visual-input": (plan(LLAVA, Workload()).visual_input, "crops"),
    "report": (evaluate(LLAVA), "workload"),
    "bill": (evaluate(LLAVA).bill(), "unit"),
}


@pytest.mark.parametrize(("spec", "field"), FROZEN.values(), ids=FROZEN)
def test_frozen(spec, field):
    before = getattr(spec, field)
    with pytest.raises((AttributeError, ValidationError)):
        setattr(spec, field, before)
    assert getattr(spec, field) is before


@pytest.mark.parametrize(
    ("spec", "data", "field", "way_out"),
    [
        (Workload, {"txt_tokens": 3}, "txt_tokens", "did you mean text_tokens?"),
        (Workload, {"imges": ()}, "imges", "did you mean images?"),
        (Workload, {"Batch": 2}, "Batch", "did you mean batch?"),
        (Counting, {"causl": True}, "causl", "did you mean causal?"),
        (Schedule, {"stage": ()}, "stage", "did you mean stages?"),
        (Schedule, {"compres": {}}, "compres", "did you mean compress?"),
        (
            Stage,
            {"first_layer": 2, "ratio": "0.5", "tokns": 3},
            "tokns",
            "did you mean tokens?",
        ),
        (Compress, {"tokens": 2, "att": "x"}, "att", "did you mean at?"),
        (
            Schedule,
            {"stages": [{"first_layer": 2, "ratio": 1}, {"first_layer": 3, "ratoi": "0.5"}]},
            "stages.1.ratoi",
            "did you mean ratio?",
        ),
        (
            Schedule,
            {"compress": {"tokens": 3, "where": "x"}},
            "compress.where",
            "known keys: at, ratio, tokens",
        ),
        (
            Workload,
            {"zzz": 1},
            "zzz",
            "known keys: batch, images, new_tokens, text_tokens, visual_tokens",
        ),
        # A misspelt key that must be there is a misspelling, not a missing key.
        (Stage, {"first_leyer": 2, "ratio": "0.5"}, "first_leyer", "did you mean first_layer?"),
        # Names that Python's own calls use are keys like any other.
        (Schedule, {"self": 1}, "self", "known keys: compress, name, rounding, stages"),
        (Schedule, {"cls": 1}, "cls", "known keys: compress, name, rounding, stages"),
    ],
    ids=named,
)
def test_unknown_key(spec, data, field, way_out):
    error = refusal(spec, **data)
    assert (error.field, error.value, error.way_out) == (field, None, way_out)
    assert error.problem == "is not a known key"


def test_missing_key():
    error = refusal(Stage, ratio="0.5")
    assert (error.field, error.problem) == ("first_layer", "is missing")
    error = refusal(Schedule, stages=[{"first_layer": 1, "ratio": 1}, {"tokens": 3}])
    assert (error.field, error.problem) == ("stages.1.first_layer", "is missing")


def test_model_without_a_source_is_refused():
    data = LLAVA.model_dump()
    assert Model(**data) == LLAVA
    for part in ("vision", "connector", "decoder"):
        bare = {key: value for key, value in data[part].items() if key != "source"}
        assert refusal(Model, **{**data, part: bare}).field == f"{part}.source"
        assert refusal(Model, **{**data, part: {**bare, "source": ()}}).field == f"{part}.source"
    assert refusal(Model, **{key: data[key] for key in data if key != "source"}).field == "source"


@pytest.mark.parametrize(
    ("part", "change", "fragments"),
    [
        # 32 is no multiple of 5
        (
            "decoder",
            {"attention": {**LLAVA.decoder.attention.model_dump(), "num_key_value_heads": 5}},
            ("5", "32"),
        ),
        ("decoder", {"hidden_size": 5120}, ("4096", "5120")),  # the connector ends in 4096
        ("vision", {"contributing_layers": 25}, ("25", "24")),
        ("vision", {"hidden_size": 1152}, ("1152", "1024")),  # the connector takes 1024
        (
            "vision",
            {"windows": {"size": 8, "full_attention_layers": (7, 24)}},
            ("24", "23"),
        ),
    ],
    ids=["heads", "decoder-width", "layers", "encoder-width", "window-layer"],
)
def test_model_whose_parts_do_not_fit_is_refused(part, change, fragments):
    data = LLAVA.model_dump()
    sentence = str(refusal(Model, **{**data, part: {**data[part], **change}}))
    for fragment in fragments:
        assert fragment in sentence


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


# --- image sizes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("336x672", (336, 672)),  # height first
        ("336X672", (336, 672)),
        ("336×672", (336, 672)),
        (" 336 x 672 ", (336, 672)),
        ("448", (448, 448)),
        ((336, 672), (336, 672)),
        ([336, 672], (336, 672)),
        (("336", 672), (336, 672)),
        ("1x65535", (1, 65_535)),
    ],
    ids=repr,
)
def test_image_size(value, expected):
    assert image_size(value) == expected
    assert Workload(images=[value]).images == (expected,)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("336x672x3", "is not a height and a width"),
        ("axb", "is not a height and a width"),
        ("", "is not a height and a width"),
        ("x", "is not a height and a width"),
        ("336x", "is not a height and a width"),
        ("336,672", "is not a height and a width"),
        ("336.0x672", "is not a height and a width"),
        ("+-3x5", "is not a height and a width"),
        (336.0, "is not a height and a width"),
        (True, "is not a height and a width"),
        ((336,) * 3, "is not a height and a width"),
        ((), "is not a height and a width"),
        (None, "is not a height and a width"),
        (float("nan"), "is not a height and a width"),
        ("0x5", "is below 1"),
        ("5x0", "is below 1"),
        ("0", "is below 1"),
        (448, "is not a height and a width"),  # (336, 672) as images would be two squares
        ("-3x5", "is below 1"),
        ("65536", "is above 65,535"),
        ("5x99999999999", "is above 65,535"),
    ],
    ids=repr,
)
def test_wrong_image_size(value, problem):
    error = refusal(image_size, value, "image_size")
    assert (error.field, error.problem) == ("image_size", problem)
    assert error.way_out == "give HEIGHTxWIDTH in pixels, such as 336x672"
    error = refusal(Workload, images=[value])
    assert error.field.startswith("images")
    assert error.problem == problem


def test_not_withdrawing_is_no_amount():
    with pytest.raises(InvalidInput, match="gives no amount"):
        Stage(first_layer=2, withdraw=False)
    assert Stage(first_layer=2, tokens=5, withdraw=False).tokens == 5


def test_images_are_a_sequence_of_sizes():
    assert Workload(images=["336", "448x224"]).images == ((336, 336), (448, 224))
    assert Workload(images=()).images == ()
    for value in (336, "336x672", None):
        assert refusal(Workload, images=value).field == "images"
    error = refusal(Workload, images=["336"] * 10_001)
    assert error.field == "images"
    assert "10,001" in str(error)
    assert "above 10,000" in error.problem


# --- schedules that do not fit a model ------------------------------------------------------------


def misfit(schedule: Schedule, workload: Workload | None = None, model: Model = LLAVA):
    error = refusal(plan, model, workload or Workload(), schedule)
    assert str(refusal(evaluate, model, workload, schedule)) == str(error)
    return error


def stages(*steps) -> Schedule:
    """Return stages from (first_layer, tokens) or (first_layer, "ratio") pairs."""
    return Schedule(
        stages=tuple(
            Stage(first_layer=layer, **{"ratio" if isinstance(amount, str) else "tokens": amount})
            for layer, amount in steps
        )
    )


@pytest.mark.parametrize("layer", [32, 33, 10**6])
def test_layer_beyond_the_last(layer):
    error = misfit(stages((layer, "0.5")))
    assert (error.field, error.value) == ("stages.0.first_layer", layer)
    assert "32" in error.problem
    assert error.way_out == "give 0 to 31"


def test_the_last_layer_can_be_reduced():
    assert plan(LLAVA, Workload(), stages((31, "0.5"))).visual == (576,) * 31 + (288,)


def test_layer_bound_is_the_model_s():
    vicuna_13b = load_model("llava-1.5-13b")
    assert plan(vicuna_13b, Workload(), stages((39, "0.5"))).visual[-1] == 288
    assert misfit(stages((40, "0.5")), model=vicuna_13b).way_out == "give 0 to 39"


@pytest.mark.parametrize("later", [5, 3, 0])
def test_stages_out_of_order_or_twice(later):
    error = misfit(stages((5, 100), (later, 50)))
    assert (error.field, error.value) == ("stages.1.first_layer", later)
    assert error.problem == "does not come after the stage at layer 5"
    assert "order" in error.way_out


@pytest.mark.parametrize(
    ("schedule", "field", "value", "left", "before"),
    [
        (stages((5, 60), (7, 61)), "stages.1.tokens", "61", "61", "60"),
        (stages((5, "0.25"), (7, "0.5")), "stages.1.ratio", "0.5", "288", "144"),
        (stages((1, 300), (2, 200), (3, "0.5")), "stages.2.ratio", "0.5", "288", "200"),
    ],
    ids=named,
)
def test_growing_stages(schedule, field, value, left, before):
    error = misfit(schedule)
    assert (error.field, error.value) == (field, value)
    assert left in error.problem
    assert before in error.problem


def test_nothing_comes_back_after_withdrawal():
    schedule = Schedule(
        stages=(Stage(first_layer=5, withdraw=True), Stage(first_layer=7, tokens=1))
    )
    assert misfit(schedule).field == "stages.1.tokens"


def test_equal_stages_are_allowed():
    assert plan(LLAVA, Workload(), stages((5, 60), (7, 60))).visual == (576,) * 5 + (60,) * 27


@pytest.mark.parametrize(
    ("schedule", "field", "value", "most"),
    [
        (stages((2, 577)), "stages.0.tokens", "577", "576"),
        (Schedule(compress=Compress(tokens=577)), "compress.tokens", "577", "576"),
        (
            Schedule(compress=Compress(tokens=100), stages=(Stage(first_layer=2, tokens=101),)),
            "stages.0.tokens",
            "101",
            "100",
        ),
    ],
    ids=named,
)
def test_more_tokens_than_there_are(schedule, field, value, most):
    error = misfit(schedule)
    assert (error.field, error.value, error.way_out) == (field, value, f"give 1 to {most}")
    assert "more than" in error.problem
    assert most in error.problem


def test_given_visual_tokens_are_what_the_model_has():
    workload = Workload(visual_tokens=100)
    assert plan(LLAVA, workload, Schedule(compress=Compress(tokens=100))).visual == (100,) * 32
    error = misfit(Schedule(compress=Compress(tokens=101)), workload)
    assert (error.field, error.value) == ("compress.tokens", "101")


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        (stages((2, "0.001")), "stages.0.ratio"),  # ⌊0.576⌋
        (stages((2, "0.5"), (4, "0.0017")), "stages.1.ratio"),  # ⌊0.9792⌋
        (Schedule(compress=Compress(ratio="0.001")), "compress.ratio"),
    ],
    ids=named,
)
def test_no_token_left(schedule, field):
    error = misfit(schedule)
    assert error.field == field
    assert error.problem == "leaves none of the 576 visual tokens"
    assert "withdraw" in error.way_out


def test_rounding_up_may_leave_one():
    up = stages((2, "0.001")).model_copy(update={"rounding": "ceil"})
    assert plan(LLAVA, Workload(), up).visual[2:] == (1,) * 30


def test_before_connector_takes_at_most_the_connector_tokens():
    # LLaVA-NeXT, 672×672: 2,880 pass the connector, 48 newlines join behind it.
    model = load_model("llava-next-vicuna-7b")

    def reduced(tokens, at):
        return Schedule(compress=Compress(tokens=tokens, at=at))

    assert plan(model, Workload(), reduced(2928, "after-connector")).visual[0] == 2928
    assert plan(model, Workload(), reduced(2880, "before-connector")).connector_tokens == 2880
    error = misfit(reduced(2881, "before-connector"), model=model)
    assert (error.field, error.value) == ("compress.tokens", "2881")
    assert "2,880" in error.problem
    assert "after the connector" in error.way_out
    half = Schedule(compress=Compress(ratio="0.999", at="before-connector"))
    assert misfit(half, model=model).field == "compress.ratio"  # ⌊0.999 · 2928⌋ = 2925


# --- withdrawal ---------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [0, 16, 31])
def test_withdraw_leaves_text_alone(layer):
    schedule = Schedule(stages=(Stage(first_layer=layer, withdraw=True),))
    seen = plan(LLAVA, Workload(), schedule)
    assert seen.visual == (576,) * layer + (0,) * (32 - layer)
    assert seen.query == (640,) * layer + (64,) * (32 - layer)


def test_withdraw_keeps_structural_tokens():
    # Qwen's <|vision_start|> and <|vision_end|> are vocabulary tokens.
    schedule = Schedule(stages=(Stage(first_layer=4, withdraw=True),))
    seen = plan(load_model("qwen2.5-vl-7b"), Workload(text_tokens=10), schedule)
    assert seen.query == (1521 + 2 + 10,) * 4 + (2 + 10,) * 24


# --- errors as such -----------------------------------------------------------------------------


def test_errors_have_one_base_and_are_value_errors():
    assert issubclass(InvalidInput, TokencostError)
    assert issubclass(InvalidInput, ValueError)
    assert issubclass(UnknownName, InvalidInput)
    assert issubclass(MissingExtra, TokencostError)


def test_a_front_end_can_rename_the_field():
    error = refusal(Workload, batch=0)
    assert error.sentence("--batch") == str(error).replace("batch", "--batch", 1)


def test_missing_extra_names_package_and_extra():
    error = MissingExtra("matplotlib", "plot")
    assert (error.package, error.extra) == ("matplotlib", "plot")
    assert "matplotlib" in str(error)
    assert "pip install 'vlm-tokencost[plot]'" in str(error)


def test_unknown_name_suggests_or_lists():
    known = ["llava-1.5-7b", "qwen2-vl-7b"]
    assert UnknownName("model", "lava-1.5-7b", known, "list").way_out == (
        "did you mean llava-1.5-7b?"
    )
    assert UnknownName("model", "LLAVA-1.5-7B", known, "list").way_out == (
        "did you mean llava-1.5-7b?"
    )
    assert UnknownName("model", "zzz", known, "list").way_out == "see `list`"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand tabs", "two lines and tabs"),
        ("bell\x07", "bell?"),
        ("\x1b[31mred", "?[31mred"),
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 79 + "…"),
        (3.5, "3.5"),
    ],
    ids=named,
)
def test_values_are_shown_on_one_printable_line(value, shown):
    assert clip(value) == shown


@given(st.text() | st.integers() | st.floats() | st.none() | st.binary())
def test_anything_wrong_is_an_invalid_input(value):
    for call in (
        lambda: whole(value, "n"),
        lambda: ratio(value, "keep"),
        lambda: image_size(value),
        lambda: Workload(images=[value], text_tokens=value, batch=value),
        lambda: Schedule(rounding=value, stages=value),
        lambda: Stage(first_layer=value, ratio=value),
    ):
        try:
            call()
        except InvalidInput as error:
            assert "\n" not in str(error)
