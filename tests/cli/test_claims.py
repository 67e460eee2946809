"""`tokencost claims list`, `show` and `check`: choices, forms, verdicts as data, mistakes."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from vlm_tokencost.presets.claim import QUANTITIES, load_claims

ROOT = Path(__file__).parents[2]
JSON = ("--format", "json")
#: FastV's 99.3 G per layer of LLaVA-1.5-7B: 4·612·4096² + 2·612²·4096 + 2·612·4096·11008 MAC.
PER_LAYER = 99_327_541_248


def schema(name: str) -> dict[str, object]:
    return json.loads((ROOT / "docs" / "schemas" / f"{name}.schema.json").read_text())


# --- list and show -------------------------------------------------------------------------------


def test_the_list_keeps_its_schema(tokencost):
    rows = tokencost("claims", "list", *JSON).json()
    jsonschema.validate(rows, schema("claims-list"))
    assert [row["id"] for row in rows] == list(load_claims())
    (layer,) = (row for row in rows if row["id"] == "SV042")
    assert layer["value"] == 99_300_000_000
    assert (layer["printed"], layer["base_unit"]) == ("99.3 GFLOP", "FLOP")
    assert (layer["method_id"], layer["model_id"]) == (None, "llava-1.5-7b") or layer["method_id"]


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (("--method", "fastv"), "method", "FastV"),
        (("--method", "FASTV"), "method", "FastV"),
        (("--model", "llava-1.5-7b"), "model_id", "llava-1.5-7b"),
        (("--quantity", "flops per layer"), "quantity", "flops per layer"),
        (("--quantity", "flops-per-layer"), "quantity", "flops per layer"),
        (("--quantity", "speedup"), "quantity", "speed-up"),
        (("--verification", "abstract"), "verification", "abstract"),
    ],
)
def test_filters(tokencost, words, key, value):
    rows = tokencost("claims", "list", *words, *JSON).json()
    every = tokencost("claims", "list", *JSON).json()
    wanted = {row["id"] for row in every if row[key] == value}
    found = {row["id"] for row in rows}
    assert wanted and wanted <= found
    if key not in ("method", "model_id"):  # those may be named otherwise by a source
        assert found == wanted


def test_filters_together(tokencost):
    words = ("--method", "fastv", "--quantity", "flops-per-layer")
    rows = tokencost("claims", "list", *words, *JSON).json()
    assert {row["quantity"] for row in rows} == {"flops per layer"}
    assert "SV042" in {row["id"] for row in rows}


def test_the_list_in_other_forms(tokencost):
    words = ("claims", "list", "--quantity", "flops-per-layer")
    table = " ".join(tokencost(*words).out.split())
    assert "SV042 FastV LLaVA-1.5-7B baseline flops per layer 99.3 GFLOP" in table
    rows = list(csv.DictReader(io.StringIO(tokencost(*words, "--format", "csv").out)))
    assert {row["unit"] for row in rows} <= {"GFLOP", "GMAC", "TFLOP", "TMAC"}
    assert "| SV042 | FastV |" in tokencost(*words, "--format", "markdown").out


def test_a_card_keeps_its_schema(tokencost):
    card = tokencost("claims", "show", "sv042", *JSON).json()
    jsonschema.validate(card, schema("claims-show"))
    assert card["id"] == "SV042"
    assert card["verdict"] == "reproduced"
    assert card["recomputed"] == pytest.approx(PER_LAYER, rel=1e-12)
    assert card["claim"]["value"] == "99.3"
    assert card["rule_text"]


def test_a_card_shows_conditions_and_relations(tokencost):
    shown = " ".join(tokencost("claims", "show", "SV042").out.split())
    for fragment in (
        "SV042: FastV, flops per layer 99.3 GFLOP: reproduced",
        "request 36 text tokens",
        "printed recomputed off bound verdict rule",
        "99.3 GFLOP 99.328 GMAC +0.03 % — reproduced recompute",
        "arXiv 2403.06764",
        "SV050",  # a row of the same table, which is held against this one
    ):
        assert fragment in shown, fragment


# --- check ---------------------------------------------------------------------------------------


def test_verdicts_keep_their_schema(tokencost):
    answer = tokencost("claims", "check", "SV042", "SV001", *JSON)
    rows = answer.json()
    jsonschema.validate(rows, schema("claims-check"))
    assert [(row["id"], row["verdict"]) for row in rows] == [
        ("SV042", "reproduced"),
        ("SV001", "inconsistent"),  # 3.817 TMAC printed as 3,817
    ]
    assert answer.err == "2 claims: 1 reproduced, 1 inconsistent\n"


def test_one_claim_is_a_list_too(tokencost):
    rows = tokencost("claims", "check", "SV042", *JSON).json()
    jsonschema.validate(rows, schema("claims-check"))
    assert [row["id"] for row in rows] == ["SV042"]


def test_patterns_choose_ids(tokencost):
    rows = tokencost("claims", "check", "sv04[24]", *JSON).json()
    assert [row["id"] for row in rows] == ["SV042", "SV044"]


def test_verdicts_are_data(tokencost):
    answer = tokencost("claims", "check", "SV001")
    assert answer.status == 0
    assert answer.err == ""
    assert "inconsistent" in answer.out


def test_a_filter_of_verdicts(tokencost):
    words = ("claims", "check", "SV042", "SV001", "--verdict")
    assert [row["id"] for row in tokencost(*words, "inconsistent", *JSON).json()] == ["SV001"]
    both = tokencost(*words, "inconsistent,reproduced", *JSON).json()
    assert [row["id"] for row in both] == ["SV042", "SV001"]
    none = tokencost(*words, "needs-scope", *JSON)
    assert (none.json(), none.err, none.status) == ([], "0 claims\n", 0)
    assert "0 of 2 published claims checked" in tokencost(*words, "needs-scope").out


def test_a_table_has_counts_and_rules(tokencost):
    shown = " ".join(tokencost("claims", "check", "SV042", "SV001").out.split())
    for fragment in (
        "2 published claims checked",
        "Verdicts verdict claims meaning",
        "reproduced 1 model and schedule give the figure",
        "inconsistent 1 it disagrees",
        "SV001: The figure is 1,000 times too large",
        "rule unit-slip:",
    ):
        assert fragment in shown, fragment


def test_csv_has_a_row_per_claim(tokencost):
    text = tokencost("claims", "check", "SV042", "SV001", "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["verdict"] for row in rows] == ["reproduced", "inconsistent"]
    assert rows[0]["reading_tokens"] == "612"


def test_filters_of_the_check(tokencost):
    words = ("claims", "check", "--method", "fastv", "--quantity", "flops-per-layer", *JSON)
    found = {row["id"]: row["verdict"] for row in tokencost(*words).json()}
    listed = tokencost("claims", "list", *words[2:]).json()
    assert list(found) == [row["id"] for row in listed]
    assert found["SV042"] == "reproduced"


def test_a_terminal_sees_progress():
    """Progress goes to stderr, if that is a terminal, and leaves standard output alone."""
    words = ["claims", "check", "SV04*", "--format", "json"]
    command = [sys.executable, "-m", "vlm_tokencost.cli", *words]
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
        run = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True
        )
        os.close(theirs)
        out = run.communicate()[0]
        seen = terminal.read(65536)
    assert b"checking claims" in seen
    assert len(json.loads(out)) >= 8, "fewer are done at once"
    silent = subprocess.run(command, capture_output=True, text=True, check=True)
    assert silent.stderr.startswith(f"{len(json.loads(out))} claims: ")
    assert silent.stdout == out


# --- a claim that is typed -----------------------------------------------------------------------

FASTV = ("claims", "check", "--model", "llava-1.5-7b", "--method", "fastv")


def test_a_typed_claim(tokencost):
    words = (*FASTV, "--flops-ratio", "55%", "--text-tokens", 36, "--convention", "survey")
    (row,) = tokencost(*words, *JSON).json()
    jsonschema.validate([row], schema("claims-check"))
    assert (row["id"], row["method"], row["printed"]) == ("flops-ratio", "FastV", "55 %")
    assert row["verdict"] == "reproduced"
    # (2·f(612) + 30·f(324)) / (32·f(612)), f(n) = 4nd² + 2n²d + 2ndm: the golden figure
    assert row["recomputed"] == pytest.approx(0.551609, abs=5e-7)
    wrong = (*FASTV, "--flops-ratio", "35%", "--text-tokens", 36, "--convention", "survey")
    assert tokencost(*wrong, *JSON).json()[0]["verdict"] == "inconsistent"


def test_a_typed_schedule(tokencost):
    words = ("--prune-layer", 2, "--keep", 0.5, "--flops-ratio", "0.55", "--text-tokens", 36)
    model = ("claims", "check", "--model", "llava-1.5-7b")
    (row,) = tokencost(*model, *words, "--convention", "survey", *JSON).json()
    assert (row["method"], row["verdict"]) == ("own schedule", "reproduced")
    line = ("--schedule", "keep 0.5 @ 2", "--flops-ratio", "0.55", "--text-tokens", 36)
    assert tokencost(*model, *line, "--convention", "survey", *JSON).json() == [row]


def test_a_dense_cost(tokencost):
    words = ("--model", "llava-1.5-7b", "--flops", "3.817T", "--convention", "gated")
    (row,) = tokencost("claims", "check", *words, *JSON).json()
    assert (row["method"], row["verdict"]) == ("dense model", "reproduced")
    assert row["recomputed"] == 3_817_152_184_320


def test_several_figures_of_one_row(tokencost):
    words = (*FASTV, "--flops-ratio", "55%", "--flops-reduction", "45%", "--kv-reduction", "47%")
    rows = tokencost(*words, "--text-tokens", 36, *JSON).json()
    assert [row["id"] for row in rows] == ["flops-ratio", "flops-reduction", "kv-reduction"]


def test_the_documented_claim(tokencost):
    """VisionZip's 8 × prefill: FLOPs of encoder and LLM allow it or not; the bound is told."""
    words = ("--model", "llava-next-vicuna-7b", "--method", "visionzip", "--budget", 160)
    claim = ("--speedup", 7.8, "--scope", "prefill", "--device", "a800")
    (row,) = tokencost("claims", "check", *words, *claim, *JSON).json()
    assert (row["quantity"], row["scope"], row["value"]) == ("speed-up", "prefill", 7.8)
    assert row["verdict"] in ("plausible", "needs scope", "impossible")
    assert row["bounds"]


#: (option, what is typed, value in base units, unit)
FIGURES = [
    ("--speedup", "7.8", 7.8, "×"),
    ("--speedup", "7.8x", 7.8, "×"),
    ("--speedup", "7.8×", 7.8, "×"),
    ("--latency", "57.8ms", 0.0578, "ms"),
    ("--latency", "1.5 s", 1.5, "s"),
    ("--latency-reduction", "37 %", 0.37, "%"),
    ("--flops", "1.78TMACs", 1_780_000_000_000, "TMAC"),
    ("--flops", "99.3 GFLOPs", 99_300_000_000, "GFLOP"),
    ("--flops", "1.78T", 1_780_000_000_000, "TFLOP"),
    ("--flops", "9.5e12", 9_500_000_000_000, "TFLOP"),
    ("--flops", "9.5e12 MACs", 9_500_000_000_000, "TMAC"),
    ("--flops", "3,817 TFLOPs", 3_817_000_000_000_000, "TFLOP"),
    ("--flops-factor", "2.2x", 2.2, "×"),
    ("--kv-bytes", "100.8MB", 100_800_000, "MB"),
    ("--memory", "14GiB", 14 * 2**30, "GiB"),
    ("--average-tokens", "206.5", 206.5, "tokens"),
    ("--token-reduction", "0.66", 0.66, "fraction"),
    ("--training-reduction", "40%", 0.4, "%"),
]


@pytest.mark.parametrize(("name", "text", "value", "unit"), FIGURES)
def test_figures_as_they_are_typed(tokencost, name, text, value, unit):
    (row,) = tokencost(*FASTV, name, text, *JSON).json()
    assert row["value"] == pytest.approx(value, rel=1e-15)
    assert row["unit"] == unit


def test_a_hedge(tokencost):
    (row,) = tokencost(*FASTV, "--speedup", "up to 1.3", *JSON).json()
    assert row["printed"] == "up to 1.3×"


# --- mistakes ------------------------------------------------------------------------------------

#: (words after `claims`, fragments that the sentence must hold)
MISTAKES = {
    "nothing named": (("check",), ("ID is missing", "--all", "--speedup")),
    "unknown id": (("check", "SV04"), ("ID SV04 is not known", "did you mean")),
    "unknown card": (("show", "zzz"), ("ID zzz is not known", "claims list")),
    "several cards": (("show", "SV04*"), ("SV04* matches", "give one id")),
    "no such pattern": (("check", "zz*"), ("zz* matches no claim",)),
    "unknown method": (
        ("check", "--method", "fastw"),
        ("--method fastw is not known", "did you mean"),
    ),
    "unknown model": (("list", "--model", "lava-1.5-7b"), ("--model lava-1.5-7b", "did you mean")),
    "unknown quantity": (("list", "--quantity", "flips"), ("--quantity flips", "flops")),
    "no such claims": (
        ("list", "--method", "fastv", "--quantity", "kv-read-ratio"),
        ("--quantity kv-read-ratio leaves no claim",),
    ),
    "unknown verification": (("list", "--verification", "hope"), ("--verification hope",)),
    "unknown verdict": (("check", "SV042", "--verdict", "right"), ("--verdict right",)),
    "ids and all": (("check", "SV042", "--all"), ("--all cannot go with ids",)),
    "ids and a filter": (("check", "SV042", "--method", "fastv"), ("--method cannot go with ids",)),
    "all and a filter": (("check", "--all", "--model", "x"), ("--model cannot go with --all",)),
    "ids and a figure": (("check", "SV042", "--speedup", 2), ("SV042 does not go with",)),
    "a quantity and a figure": (
        (*FASTV[1:], "--quantity", "flops", "--flops", "2T"),
        ("--quantity does not go with",),
    ),
    "file and ids": (("check", "--file", "x.toml", "SV042"), ("SV042 cannot go with --file",)),
    "file and figure": (
        ("check", "--file", "x.toml", "--speedup", 2),
        ("--speedup cannot go with --file",),
    ),
    "file and all": (("check", "--file", "x.toml", "--all"), ("--all cannot go with --file",)),
    "no figure": ((*FASTV[1:], "--scope", "ttft"), ("--scope", "no figure", "--speedup 7.8")),
    "no model": (("check", "--method", "fastv", "--speedup", 2), ("--model is missing",)),
    "model of nobody": (
        ("check", "--model", "llava", "--method", "fastv", "--speedup", 2),
        ("--model llava is not known",),
    ),
    "no schedule": (
        ("check", "--model", "llava-1.5-7b", "--speedup", 2),
        ("--speedup compares with the dense model", "--prune-layer"),
    ),
    "budget alone": (
        ("check", "--model", "llava-1.5-7b", "--budget", 64, "--flops", "1T"),
        ("--budget 64 needs --method",),
    ),
    "budget that does not fit": (
        (*FASTV[1:], "--budget", 700, "--flops", "1T"),
        ("--budget 700 is more than the 576",),
    ),
    "schedule that does not fit": (
        ("check", "--model", "llava-1.5-7b", "--schedule", "keep 0.5 @ 40", "--speedup", 2),
        ("--schedule", "40", "32"),
    ),
    "layer that is none": (
        (
            *("check", "--model", "llava-1.5-7b", "--speedup", 2),
            *("--prune-layer", 40, "--keep", 0.5),
        ),
        ("--prune-layer 40", "0 to 31"),
    ),
    "unknown scope": ((*FASTV[1:], "--speedup", 2, "--scope", "prefil"), ("--scope prefil",)),
    "unknown device": ((*FASTV[1:], "--speedup", 2, "--device", "a8000"), ("--device a8000",)),
    "unknown convention": (
        (*FASTV[1:], "--flops", "2T", "--convention", "surve"),
        ("--convention surve", "survey"),
    ),
    "unit": ((*FASTV[1:], "--flops", "3Q"), ("--flops 3Q is no amount", "9.5T")),
    "unit of another kind": ((*FASTV[1:], "--latency", "3GB"), ("--latency 3GB is no time",)),
    "share above one": ((*FASTV[1:], "--flops-ratio", 55), ("--flops-ratio 55 is above 1", "55%")),
    "percent above 100": (
        (*FASTV[1:], "--flops-ratio", "150%"),
        ("--flops-ratio 150% is above 100%",),
    ),
    "all of it": ((*FASTV[1:], "--kv-reduction", "100%"), ("--kv-reduction 100% leaves nothing",)),
    "no number": ((*FASTV[1:], "--speedup", "fast"), ("--speedup fast is no factor",)),
    "negative": ((*FASTV[1:], "--speedup", "-2"), ("--speedup -2 is no factor",)),
    "zero": ((*FASTV[1:], "--speedup", 0), ("--speedup 0 is out of range",)),
    "absurd": ((*FASTV[1:], "--flops", "1e99T"), ("--flops 1e99T is out of range",)),
    "batch": ((*FASTV[1:], "--speedup", 2, "--batch", "many"), ("--batch many", "whole")),
    "batch 0": ((*FASTV[1:], "--speedup", 2, "--batch", 0), ("--batch 0", "1")),
    "format": (("check", "SV042", "--format", "jsn"), ("--format jsn", "did you mean json?")),
    "output": (("check", "SV042", "--output", "no/where.json"), ("--output no/where.json",)),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_told_in_a_sentence(tokencost, case):
    words, fragments = MISTAKES[case]
    answer = tokencost("claims", *words)
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.count("\n") == 1 and answer.err.startswith("error: ")
    for fragment in fragments:
        assert fragment in answer.err, answer.err


def test_every_quantity_that_is_typed_exists():
    from vlm_tokencost.cli.claim_figures import _QUANTITY_OF, Figures

    for name in Figures.__dataclass_fields__:
        assert _QUANTITY_OF.get(name, name.replace("_", " ")) in QUANTITIES
