"""What specs accept and refuse, and the sentences in which they refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from refusals import named, refusal
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
    lower_decode,
    plan,
    published_bill,
)
from vlm_tokencost.costmodel.architecture import Decoder
from vlm_tokencost.costmodel.architecture.blocks import ATTENTIONS
from vlm_tokencost.costmodel.connectors import STAGES
from vlm_tokencost.costmodel.errors import clip
from vlm_tokencost.costmodel.numeric import ratio, whole
from vlm_tokencost.costmodel.workload import image_size
from vlm_tokencost.presets import load_model

LLAVA = load_model("llava-1.5-7b")
SCHEDULE_KEYS = (
    "known keys: bits, cache, channels, compress, encoder, input, layers, mixture, name, rounding, "
    "selection, stages, stream, training"
)


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
    "rule": (LLAVA.token_rule, "image_size"),
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


@pytest.mark.parametrize("model_id", ["llava-1.5-7b", "qwen2-vl-7b", "phi-3.5-vision"])
def test_a_model_can_be_the_key_of_a_table(model_id):
    model = load_model(model_id)  # qwen2-vl's rules of images and of videos have class_limits
    rebuilt = Model(**dict(model))
    assert {model: "cost"}[rebuilt] == "cost"


def test_the_limits_of_a_class_cannot_be_changed():
    rule = load_model("qwen2-vl-7b").token_rule
    for limits in (rule.class_limits, rule.video.class_limits):
        with pytest.raises(TypeError, match="frozen"):
            limits["max_pixels"] = 3
        with pytest.raises(TypeError, match="frozen"):
            limits.clear()


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
            "known keys: at, extra, learned, ratio, tokens",
        ),
        (
            Workload,
            {"zzz": 1},
            "zzz",
            "known keys: batch, frames, images, new_tokens, processor, text_tokens, visual_tokens",
        ),
        # A misspelt key that must be there is a misspelling, not a missing key.
        (Stage, {"first_leyer": 2, "ratio": "0.5"}, "first_leyer", "did you mean first_layer?"),
        # Names that Python's own calls use are keys like any other.
        (Schedule, {"self": 1}, "self", SCHEDULE_KEYS),
        (Schedule, {"cls": 1}, "cls", SCHEDULE_KEYS),
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
        (
            "vision",
            {"windows": {"size": 8, "full_attention_layers": ()}},
            ("windows", "class_token"),
        ),
    ],
    ids=["heads", "decoder-width", "layers", "encoder-width", "window-layer", "window-class"],
)
def test_model_whose_parts_do_not_fit_is_refused(part, change, fragments):
    data = LLAVA.model_dump()
    sentence = str(refusal(Model, **{**data, part: {**data[part], **change}}))
    for fragment in fragments:
        assert fragment in sentence


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
    # Another size stands nearer letter by letter, the right one in another order.
    sizes = ["llama3.2-vision-90b", "llama3.2-vision-11b"]
    for name in ("llama-3.2-11b-vision", "Llama-3.2-11B-Vision-Instruct"):
        hint = UnknownName("model", name, sizes, "list").way_out
        assert hint == "did you mean llama3.2-vision-11b?"


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
        lambda: ATTENTIONS.build(value),
        lambda: ATTENTIONS.build({"kind": value, value: value}),
        lambda: STAGES.build_all(value),
        lambda: STAGES.build_all([value]),
        lambda: Model(**{**dict(LLAVA), "id": value, "decoder": value, "vision": value}),
        lambda: Decoder(**{**dict(LLAVA.decoder), "adapter": value, "variants": [value]}),
        lambda: Decoder(**{**dict(LLAVA.decoder), "sliding_window": {value: value}}),
        lambda: Decoder(**{**dict(LLAVA.decoder), "extra_parameters": value}),
    ):
        try:
            call()
        except InvalidInput as error:
            assert "\n" not in str(error)


# --- arguments that are something else -----------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("llava-1.5-7b",), ("model str", "load_model")),
        ((None,), ("model NoneType", "load_model")),
        ((LLAVA, Schedule.keep(0.5, layer=2)), ("workload Schedule", "Workload by name")),
        ((LLAVA, None, Workload()), ("schedule Workload", "Schedule by name")),
        ((LLAVA, None, None, {"causal": True}), ("counting dict", "Counting by name")),
    ],
    ids=["id", "none", "schedule-as-workload", "workload-as-schedule", "dict-as-counting"],
)
def test_wrong_arguments_of_evaluate(arguments, fragments):
    with pytest.raises(InvalidInput) as caught:
        evaluate(*arguments)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_wrong_arguments_of_a_report():
    report = evaluate(LLAVA)
    for call in (report.ratio, report.total, report.bill):
        with pytest.raises(UnknownName, match="did you mean exact"):
            call("exactt")
    with pytest.raises(UnknownName, match=r"phase prefil .* did you mean prefill"):
        report.bill(phase="prefil")
    with pytest.raises(UnknownName, match="convention exact"):
        published_bill("exact", LLAVA, report.dense)
    with pytest.raises(InvalidInput, match="last 1 makes no range with first 3"):
        lower_decode(LLAVA, report.dense, 3, 1)
    for step in (0, -1, 1.5, "x"):
        with pytest.raises(InvalidInput, match="step"):
            report.decode_forward(step)
    with pytest.raises(InvalidInput, match="model id"):
        load_model(None)


def test_a_report_is_shown_by_its_question():
    shown = repr(evaluate(LLAVA, schedule=Schedule.keep(0.5, layer=2)))
    assert len(shown) < 500
    assert "llava-1.5-7b" in shown
