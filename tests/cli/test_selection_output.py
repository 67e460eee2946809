"""What the commands say of selection rules and of merging in the encoder."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import jsonschema
import pytest
from vlm_tokencost.costmodel import EncoderMerge, Schedule, evaluate
from vlm_tokencost.presets import load_model

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
FASTV = 'selection = "fastv"\n[[stages]]\nfirst_layer = 2\nratio = 0.5\n'
TOME = 'selection = "tome"\n[encoder]\nmerged_per_layer = 16\n'


@pytest.fixture
def asked(tokencost, tmp_path):
    """Return a function that runs a command on LLaVA-1.5-7B with a schedule's text."""

    def run(command, text, *words, model="llava-1.5-7b"):
        path = tmp_path / "schedule.toml"
        path.write_text(text, encoding="utf-8")
        return tokencost(*command.split(), "--model", model, "--schedule", path, *words)

    return run


@pytest.mark.parametrize("text", [FASTV, TOME], ids=["fastv", "tome"])
def test_json_fits_its_schema(asked, text):
    for command, words in (("ratio", ()), ("cost", ("--per-layer", "--explain"))):
        answer = asked(command, text, *words, "--format", "json").json()
        schema = json.loads((SCHEMAS / f"{command}.schema.json").read_text())
        jsonschema.validate(answer, schema)


def test_json_names_the_rule_and_counts_it(asked):
    answer = asked("ratio", FASTV, "--format", "json").json()
    assert answer["schedule"]["selection"] == "fastv"
    assert answer["schedule"]["encoder"] is None
    exact = answer["conventions"]["exact"]
    # 2 FLOP · 640·32·128; the bare schedule costs 5,272,907,120,640
    assert exact["components"]["selection"] == {"baseline": 0, "scheduled": 5_242_880}
    assert exact["scheduled"] == 5_272_907_120_640 + 5_242_880
    bare = asked("ratio", FASTV.split("\n", 1)[1], "--format", "json").json()
    assert bare["schedule"]["selection"] == "not specified, 0 counted"
    assert bare["floor"] == answer["floor"]


def test_json_lists_the_encoder_s_layers(asked):
    schedule = asked("ratio", TOME, "--format", "json").json()["schedule"]
    assert schedule["encoder"] == {
        "merged_per_layer": [16] * 24,
        "tokens_per_layer": [577 - 16 * layer for layer in range(24)],
    }
    assert schedule["visual_tokens_per_layer"] == [208] * 32
    assert schedule["connector_tokens"] == 208
    # the same of each of 5 crops
    crops = asked("ratio", TOME, "--format", "json", model="llava-next-vicuna-7b").json()
    assert crops["schedule"]["encoder"]["merged_per_layer"] == [16] * 24
    assert crops["schedule"]["encoder"]["tokens_per_layer"][1] == 5 * 561


def test_the_table_names_rule_and_provenance_of_its_cost(asked):
    out = " ".join(asked("ratio", FASTV).out.split())
    assert "selection TFLOP 0 5.243e-06 — —" in out
    assert "selection: fastv as priced here (one query row per stage" in out
    # One row of 640; the released code reads it off an eager map of 32·640² two-byte entries.
    assert "5.2429 MFLOP, 1 serial round, no attention map" in out
    assert "as released: 0 FLOP, 1 serial round, attention maps of 26.2144 MB" in out
    assert "not specified" not in out
    # What the ideal form computes is not said of the released code, which does keep a map.
    released = asked("ratio", FASTV, "--implementation", "selection=released").out
    released = " ".join(released.split())
    assert "fastv as its released code computes it: 0 FLOP, 1 serial round" in released
    assert "ideal (one query row per stage, no attention map): 5.2429 MFLOP" in released
    published = " ".join(asked("ratio", FASTV, "--convention", "survey").out.split())
    assert "selection: fastv, which exact alone counts" in published
    whole = FASTV.replace("0.5", "1")
    assert "fastv: nothing to choose here, 0 counted" in asked("ratio", whole).out


def test_the_table_says_what_merging_leaves(asked):
    out = " ".join(asked("ratio", TOME).out.split())
    assert "encoder merges tokens per layer (16): 208 of 576 patches leave it" in out
    assert "grid" not in out
    several = " ".join(asked("ratio", TOME, model="llava-next-vicuna-7b").out.split())
    assert "merges tokens of each crop per layer (16): 1040 of 2880 patches leave it" in several
    assert "merged tokens lie on no grid: no un-padding, no learned separators" in several


def test_csv_and_layers_hold_the_selection(asked):
    rows = list(csv.DictReader(io.StringIO(asked("ratio", FASTV, "--format", "csv").out)))
    (row,) = [row for row in rows if row["component"] == "selection"]
    assert (row["baseline"], row["scheduled"], row["ratio"]) == ("0", "5242880", "")
    layers = asked("cost", FASTV, "--per-layer", "--format", "json").json()["layers"]
    (row,) = [row for row in layers if row["component"] == "selection"]
    assert (row["convention"], row["layer"], row["parameters"]) == ("exact", None, 0)
    assert (row["baseline"], row["scheduled"], row["scheduled_tokens"]) == (0, 5_242_880, None)
    exact = [row for row in layers if row["convention"] == "exact"]
    assert sum(row["scheduled"] for row in exact) == 5_272_907_120_640 + 5_242_880


def test_layers_of_a_merging_encoder(asked):
    rows = asked("cost", TOME, "--per-layer", "--format", "json").json()["layers"]
    tokens = {
        row["layer"]: (row["baseline_tokens"], row["scheduled_tokens"])
        for row in rows
        if row["component"] == "vision" and row["convention"] == "exact"
    }
    assert tokens[None] == (576, 576)  # patches
    assert tokens[0] == (577, 577)
    assert tokens[23] == (577, 209)


def test_terms_are_worked_out(asked):
    terms = asked("cost", FASTV, "--explain", "--format", "json").json()["terms"]
    (term,) = [term for term in terms if term["component"] == "selection"]
    assert (term["side"], term["term"]) == ("scheduled", "query row in layer 1")
    assert term["substitution"] == "2 · 640 · 32 · (128 + 0)"
    assert term["total"] == 5_242_880


def test_the_figure_says_what_it_leaves_out(asked, tmp_path):
    def texts(text):
        path = tmp_path / "layers.svg"
        assert asked("plot layers", text, "--output", path).status == 0
        return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text()))

    named = texts(FASTV)
    assert "patch embedding, connector, head and selection of the scheduled run" in named
    assert "5.2429 MFLOP of it" in named
    assert "patch embedding, connector and head of the scheduled run" in texts(FASTV[20:])


def test_the_bars_of_a_merging_encoder_are_the_bill():
    from vlm_tokencost.cli.plots.layers import draw

    schedule = Schedule(encoder=EncoderMerge(merged_per_layer=16), selection="tome")
    report = evaluate(load_model("llava-1.5-7b"), schedule=schedule)
    vision, _ = draw(report, "exact").axes
    bars = [patch for patch in vision.patches if hasattr(patch, "get_height")]
    assert len(bars) == 2 * 24 * 3
    full = sum(bar.get_height() for bar in bars if bar.get_alpha() == 1)
    # Σ over n_l = 577 − 16·l of 2·(4·n_l·1024² + 2·n_l²·1024 + 2·(n_l − 16)·1024·4096), in G
    assert round(full, 6) == 247.310418


@pytest.mark.parametrize("command", ["ratio", "cost", "plot layers --output x.svg"])
@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        (FASTV.replace("2", "0"), ("selection fastv", "layer 0")),
        (FASTV.replace("fastv", "tome"), ("selection tome", "`encoder`")),
        (TOME.replace("16", "24"), ("encoder.merged_per_layer 24", "give at most 23")),
    ],
    ids=["layer 0", "primitive", "too many"],
)
def test_misfits_are_refused_by_every_command(asked, command, text, fragments):
    result = asked(command, text)
    assert (result.status, result.out) == (2, "")
    for fragment in fragments:
        assert fragment in result.err
