"""The one-line form: what each statement says, and what is said of slips."""

from fractions import Fraction

import pytest
from vlm_tokencost.costmodel import InvalidInput, Schedule, Workload
from vlm_tokencost.presets import load_model
from vlm_tokencost.presets.language import parse_schedule, read_text

STATEMENTS = {
    "compress 64 | keep 0.5 @ 16": {
        "compress": {"tokens": 64},
        "stages": [{"first_layer": 16, "ratio": 0.5}],
    },
    "compress 0.1 before-connector + 1": {
        "compress": {"ratio": 0.1, "at": "before-connector", "extra": 1}
    },
    "keep 300 @ 3 | keep 1/8 @ 7 | keep 5% @ 9 | keep none @ 12": {
        "stages": [
            {"first_layer": 3, "tokens": 300},
            {"first_layer": 7, "ratio": Fraction(1, 8)},
            {"first_layer": 9, "ratio": Fraction(1, 20)},
            {"first_layer": 12, "withdraw": True},
        ]
    },
    "withdraw @ 16 | inject @ 4": {
        "layers": [{"kind": "withdraw", "layer": 16}, {"kind": "inject", "layer": 4}]
    },
    "freeze 3, 5-7": {"layers": [{"kind": "freeze", "layers": [3, 5, 6, 7]}]},
    "freeze @ 20": {"layers": [{"kind": "freeze", "first_layer": 20}]},
    "sparse pairs 0.3 ffn 0.5 @ 2-4": {
        "layers": [{"kind": "sparse", "pairs": 0.3, "ffn": 0.5, "layers": [2, 3, 4]}]
    },
    "subset 0.4": {"layers": [{"kind": "subset", "ratio": 0.4}]},
    "profile sigmoid 0.2 @ 10 steepness 3": {
        "layers": [
            {"kind": "profile", "curve": "sigmoid", "ratio": 0.2, "layer": 10, "steepness": 3}
        ]
    },
    "merge 16": {"encoder": {"merged_per_layer": 16}},
    "merge 16,15": {"encoder": {"merged_per_layer": [16, 15]}},
    "encoder 0.5 @ 3 pool | encoder 0.25 @ 6 pool": {
        "encoder": {
            "stages": [{"first_layer": 3, "ratio": 0.5}, {"first_layer": 6, "ratio": 0.25}],
            "op": "pool",
        }
    },
    "input frames 0.5 patches 0.3": {"input": {"frames": 0.5, "patches": 0.3}},
    "cache stored 1 read 0.05 focal 3,9": {
        "cache": {"stored": 1, "read": 0.05, "focal_layers": [3, 9]}
    },
    "cache tokens 64 @ 2 generated 0.5 shrink 0.01 rescan 0.1": {
        "cache": {
            "stored_tokens": 64,
            "first_layer": 2,
            "generated": 0.5,
            "shrink": 0.01,
            "rescan": 0.1,
        }
    },
    "channels key 0.25 encoder-ffn 0.5": {"channels": {"key": 0.25, "encoder_ffn": 0.5}},
    "bits weights 4 kv 4": {"bits": {"weights": 4, "kv": 4}},
    "stream stride 0.25 refresh 0.1 bank 1024": {
        "stream": {"stride": 0.25, "refresh": 0.1, "bank": 1024}
    },
    "compress 9 | select divprune | round float-floor": {
        "compress": {"tokens": 9},
        "selection": "divprune",
        "rounding": "float-floor",
    },
    "mix 0.3: compress 64 / 0.6 (keep 0.5 @ 2 | bits kv 8) / 0.05 dense / 0.05: skip": {
        "mixture": [
            {"probability": 0.3, "schedule": {"compress": {"tokens": 64}}},
            {
                "probability": 0.6,
                "schedule": {"stages": [{"first_layer": 2, "ratio": 0.5}], "bits": {"kv": 8}},
            },
            {"probability": 0.05},
            {"probability": 0.05, "skipped": True},
        ]
    },
    "train fixed 0.26 recompute": {"training": {"fixed_share": 0.26, "recompute": True}},
}


@pytest.mark.parametrize(("line", "fields"), STATEMENTS.items(), ids=list(STATEMENTS))
def test_every_statement(line, fields):
    assert parse_schedule(line) == Schedule(**fields)


def test_layers_may_be_shares_of_the_depth():
    # ⌊32/2⌋ = 16, ⌊32/3⌋ = 10, ⌊28/3⌋ = 9
    assert parse_schedule("keep 0.5 @ 1/2", depth=32).stages[0].first_layer == 16
    assert parse_schedule("keep 0.5 @ 1/3", depth=32).stages[0].first_layer == 10
    assert parse_schedule("keep 0.5 @ 1/3", depth=28).stages[0].first_layer == 9
    assert parse_schedule("withdraw @ 75%", depth=28).layers[0].layer == 21
    assert parse_schedule("subset 0.4 @ 25-", depth=28).layers[0].layers == (25, 26, 27)
    model = load_model("qwen2.5-vl-7b")  # 28 layers
    written = read_text("keep 0.5 @ 1/2")
    assert written.fitted(model, Workload()).stages[0].first_layer == 14
    with pytest.raises(InvalidInput, match="depends on the model's depth; give the depth"):
        parse_schedule("keep 0.5 @ 1/2")


SLIPS = {
    "kep 0.5 @ 2": (1, "kep is no statement; did you mean keep?"),
    "keep 0.5 # 2": (10, "# is no part of keep; choose from @"),
    "keep 2.0 @ 16": (6, "in keep: 2.0 is outside (0, 1]"),
    "compress 64 | keep 0.5": (15, "keep names no layer; add @ and the first layer"),
    "compress 64 |": (14, "ends where a statement such as keep 0.5 @ 2 is wanted"),
    "compress 64 | compress 3": (15, "compress comes twice; say it once"),
    "compress 64 )": (13, ") closes nothing"),
    "compress 64 before-conector": (13, "did you mean before-connector?"),
    "keep 0.5 @ 2 compress 3": (14, "compress is too much behind keep; put | before"),
    "keep 0.5 @ x": (12, "x is no layer"),
    "keep 0.5 @ 2 @ 3": (16, "3 gives first_layer once more"),
    "mix 0.3: compress 64": (1, "in mix: mixture has probabilities that sum to 0.3"),
    "mix 0.3: (compress 64": (22, "ends where ) is wanted"),
    "mix 1: (mix 1: dense)": (9, "mix stands inside a mix"),
    "mix 0.5: (compress 64 | keep 2.0 @ 1) / 0.5: dense": (30, "in keep: 2.0 is outside"),
    "select fasv | compress 3": (8, "in select: fasv is not a choice; did you mean fastv?"),
    "cache stord 1": (7, "stord is no part of cache; did you mean stored?"),
    "profile sigmod 0.2": (9, "in profile: sigmod is not a choice"),
    "merge 16 | encoder 0.5 @ 3": (12, "encoder does not go with merge"),
    "encoder 0.5 @ 3 pool | encoder 0.2 @ 6": (24, "encoder lacks the op of the one before"),
    "freeze 9,3": (8, "in freeze: layers is not in order"),
    "freeze 3-1": (8, "has a range of layers that ends before it begins"),
    "freeze 0-99999": (8, "has a range of layers"),
    "vectors tokens 1*99999": (16, "has more shares than any decoder has layers"),
    'name "x': (6, '"x is not a text in quotes'),
    "bits kv 0": (9, "in bits: 0 is below 1"),
    "compress 120%": (10, "120% is no percentage up to 100%"),
    "stream refresh 0.1": (1, "in stream: stride is missing"),
}


@pytest.mark.parametrize(("line", "where"), SLIPS.items(), ids=list(SLIPS))
def test_slips_name_column_and_word(line, where):
    column, words = where
    with pytest.raises(InvalidInput) as caught:
        parse_schedule(line)
    sentence = str(caught.value)
    assert sentence.startswith(f"schedule {line} at column {column}: ")
    assert words in sentence


def test_what_does_not_fit_a_model_names_the_column():
    written = read_text("compress 64 | keep 0.5 @ 40")
    error = InvalidInput("stages.0.first_layer", 40, "is not a layer of this model", "give less")
    complaint = written.complaint(error, "--schedule")
    assert str(complaint) == (
        "--schedule compress 64 | keep 0.5 @ 40 at column 26: in keep: 40 is not a layer of this "
        "model; give less"
    )


def test_a_line_that_reduces_nothing_is_refused():
    for line in ("dense", "select fastv", "round ceil", "train"):
        with pytest.raises(InvalidInput, match="reduces nothing"):
            read_text(line)


def test_a_rule_without_words_of_its_own_takes_its_fields():
    # full_above is a field; its word has a dash
    rule = parse_schedule("profile linear 0 least 0.1 full-above 0.9").layers[0]
    assert (rule.least, rule.full_above) == (Fraction(1, 10), Fraction(9, 10))
    assert parse_schedule("input crops 3").input.crops == 3
    assert parse_schedule("cache read-tokens 64").cache.read_tokens == 64
    compress = parse_schedule("compress 64 instead-of-connector + 1 learned 5").compress
    assert (compress.at, compress.extra, compress.learned) == ("instead-of-connector", 1, 5)
