"""--method and --budget: figures, provenance, mistakes; the commands that list methods."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from vlm_tokencost.presets import list_methods

ROOT = Path(__file__).parents[2]
MODEL = ("--model", "llava-1.5-7b")
METHODS = ("divprune", "fastv", "pyramiddrop", "sparsevlm", "tome", "visionzip")


def schema(name: str) -> dict[str, object]:
    return json.loads((ROOT / "docs" / "schemas" / f"{name}.schema.json").read_text())


def test_a_method_is_its_schedule(tokencost):
    words = ("ratio", *MODEL, "--format", "json")
    method = tokencost(*words, "--method", "fastv").json()
    bare = tokencost(*words, "--prune-layer", 2, "--keep", 0.5).json()
    assert method["schedule"]["tokens_per_layer"] == bare["schedule"]["tokens_per_layer"]
    assert method["conventions"]["survey"] == bare["conventions"]["survey"]
    # The last of 640 tokens looks at all of them in layer 1: 2·640·32·128 FLOP
    selection = {"baseline": 0, "scheduled": 2 * 640 * 32 * 128}
    assert method["conventions"]["exact"]["components"]["selection"] == selection
    exact = [answer["conventions"]["exact"]["scheduled"] for answer in (method, bare)]
    assert exact[0] - exact[1] == selection["scheduled"]


def test_a_budget(tokencost):
    # ⌊(32·192 − 2·576) / 30⌋ = ⌊166.4⌋ of 576, and 64 text tokens
    words = ("ratio", *MODEL, "--method", "fastv", "--budget", 192, "--format", "json")
    assert tokencost(*words).json()["schedule"]["tokens_per_layer"] == [640] * 2 + [230] * 30


@pytest.mark.parametrize("budget", [(), ("--budget", 192), ("--budget", 64)])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_in_every_command(tokencost, method, budget):
    words = (*MODEL, "--method", method, *budget, "--format", "json")
    for command in ("ratio", "cost"):
        answer = tokencost(command, *words).json()
        jsonschema.validate(answer, schema(command))
        assert answer["schedule"]["selection"] == method
        assert answer["conventions"]["survey"]["unit"] == "MAC"


def test_an_answer_names_the_method(tokencost):
    words = ("ratio", *MODEL, "--method", "fastv", "--budget", 64)
    shown = tokencost(*words, "--format", "json").json()["schedule"]["method"]
    assert shown["id"] == "fastv"
    assert shown["title"] == "FastV"
    assert shown["paper"] == "2403.06764"
    assert shown["budget"] == 64
    assert len(shown["assumed"]) == 1
    table = " ".join(tokencost(*words).out.split())
    assert "method fastv: FastV (arXiv 2403.06764), budget 64" in table
    assert f"assumed: {' '.join(shown['assumed'][0].split())}" in table
    bare = ("ratio", *MODEL, "--tokens", 9)
    assert tokencost(*bare, "--format", "json").json()["schedule"]["method"] is None
    assert "method" not in tokencost(*bare).out


def test_a_figure_of_a_method(tokencost, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "layers.svg"
    words = ("plot", "layers", *MODEL, "--method", "pyramiddrop", "--output", path)
    assert tokencost(*words).status == 0
    assert path.stat().st_size > 0


#: (words after `ratio`, fragments that the sentence must hold)
MISTAKES = {
    "unknown": ((*MODEL, "--method", "fastvv"), ("--method fastvv", "did you mean fastv?")),
    "unlike any": ((*MODEL, "--method", "x"), ("--method x", "tokencost methods list")),
    "empty": ((*MODEL, "--method", ""), ("--method ''", "tokencost methods list")),
    "budget alone": ((*MODEL, "--budget", 64), ("--budget 64 needs --method", "--method ID")),
    "budget and file": (
        (*MODEL, "--budget", 64, "--schedule", "x.toml"),
        ("--budget 64 needs --method",),
    ),
    "budget a word": (
        (*MODEL, "--method", "fastv", "--budget", "x"),
        ("--budget x", "whole number of at least 1"),
    ),
    "budget 0": ((*MODEL, "--method", "tome", "--budget", 0), ("--budget 0", "at least 1")),
    "budget too small": (
        (*MODEL, "--method", "fastv", "--budget", 36),
        ("--budget 36", "576", "give 37 or more"),
    ),
    "budget too large": (
        (*MODEL, "--method", "divprune", "--budget", 577),
        ("--budget 577", "at most 576"),
    ),
    "budget not published": (
        (*MODEL, "--method", "sparsevlm", "--budget", 100),
        ("--budget 100", "192, 128, 96, 64"),
    ),
    "budget of crops": (
        ("--model", "llava-next-vicuna-7b", "--method", "visionzip", "--budget", 64),
        ("--budget 64", "5 crops", "60 or 65"),
    ),
    "no place for it": (
        ("--model", "internvl3-8b", "--method", "tome", "--budget", 64),
        ("--method tome --budget 64 leads to encoder.merged_per_layer", "another method"),
    ),
    "no text": (
        (*MODEL, "--method", "sparsevlm", "--text-tokens", 0),
        ("--method sparsevlm", "text"),
    ),
    "bad model first": (("--model", "x", "--method", "fastv"), ("--model x",)),
}
#: The way out where frames are pooled, or the encoder has no place for merging either.
IMAGES = "another method, or images with a LLaVA model"
EXCLUDED = {
    "prune-layer": ("--prune-layer", 2),
    "keep": ("--keep", 0.5),
    "tokens": ("--tokens", 9),
    "tokens-at": ("--tokens-at", "before-connector"),
    "schedule": ("--schedule", "x.toml"),
    "rounding": ("--rounding", "ceil"),
}


@pytest.mark.parametrize(("words", "fragments"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_explained(tokencost, words, fragments):
    assert_one_sentence(tokencost("ratio", *words), fragments)


@pytest.mark.parametrize("words", EXCLUDED.values(), ids=EXCLUDED)
def test_a_method_excludes_other_schedules(tokencost, words):
    result = tokencost("ratio", *MODEL, "--method", "fastv", *words)
    assert_one_sentence(result, (f"{words[0]} cannot go with --method",))


def test_no_complaint_names_an_option_that_was_not_typed(tokencost):
    # round(0.5 · 1) = round(0.098 · 4) = 0: shares of so few leave none
    for words, way_out in (
        (("--model", "qwen2.5-vl-7b", "--method", "tome"), "another method, or a LLaVA model"),
        # frames that are pooled 2×2: a LLaVA model alone would be no way out
        (("--model", "llava-next-video-7b", "--method", "tome"), IMAGES),
        (("--model", "llava-next-video-7b", "--method", "tome", "--frames", 8), IMAGES),
        (("--model", "qwen2.5-vl-7b", "--method", "tome", "--frames", 8), IMAGES),
        # 256 - 15 · 16 = 16 patches of a frame are left, of which 16 are too many
        (("--model", "video-llava-7b", "--method", "tome"), "another method or model"),
        ((*MODEL, "--visual-tokens", 1, "--method", "fastv"), "another method or model"),
        ((*MODEL, "--visual-tokens", 4, "--method", "divprune"), "another method or model"),
    ):
        result = tokencost("ratio", *words)
        assert_one_sentence(result, ("--method", f"choose {way_out}"))
        assert "--budget" not in result.err
        for option in ("--keep", "--prune-layer", "--tokens", "withdraw"):
            assert option not in result.err


def test_the_way_out_of_merging_in_a_video_leads_out(tokencost):
    words = ("--model", "llava-next-video-7b", "--method", "tome", "--images", 1)
    assert tokencost("ratio", *words).status == 0


STAGE_AT_0 = "[[stages]]\nfirst_layer = 0\nratio = 0.5\n"
#: (file, fragments)
FILES = {
    "unknown rule": (f'selection = "fast"\n{STAGE_AT_0}', ("line 1", "selection fast")),
    "rule that does not fit": (
        f'name = "x"\nselection = "fastv"\n{STAGE_AT_0}',
        ("line 2", "selection fastv", "layer 0"),
    ),
    "merging too much": (
        "[compress]\ntokens = 9\n\n[encoder]\nmerged_per_layer = 300\n",
        ("line 5", "merged_per_layer 300"),
    ),
}


@pytest.mark.parametrize(("text", "fragments"), FILES.values(), ids=FILES)
def test_complaints_about_files_name_the_line(tokencost, tmp_path, text, fragments):
    path = tmp_path / "plan.toml"
    path.write_text(text)
    result = tokencost("ratio", *MODEL, "--schedule", path)
    assert_one_sentence(result, ("--schedule", "plan.toml", *fragments))


def test_methods_list(tokencost):
    listed = tokencost("methods", "list", "--format", "json").json()
    jsonschema.validate(listed, schema("methods-list"))
    assert set(METHODS) < {row["id"] for row in listed}
    assert len(listed) >= 80
    reduces = {row["id"]: row["reduces"] for row in listed}
    assert reduces["tome"] == "in the encoder"
    assert reduces["visionzip"] == reduces["divprune"] == "before the LLM"
    assert reduces["fastv"] == reduces["pyramiddrop"] == reduces["sparsevlm"] == "in the LLM"
    found = tokencost("methods", "list", "*DROP", "--format", "json").json()
    assert [row["id"] for row in found] == ["hidrop", "mustdrop", "pyramiddrop"]
    rows = csv.DictReader(io.StringIO(tokencost("methods", "list", "--format", "csv").out))
    assert {row["id"]: row["published_budgets"] for row in rows}["pyramiddrop"] == (
        "192, 128, 64 of 576"
    )


@pytest.mark.parametrize("method", list_methods())
def test_every_card_fits_the_schema(tokencost, method):
    shown = tokencost("methods", "show", method, "--format", "json").json()
    jsonschema.validate(shown, schema("methods-show"))
    assert tokencost("methods", "show", method).status == 0


@pytest.mark.parametrize("method", METHODS)
def test_methods_show(tokencost, method):
    shown = tokencost("methods", "show", method, "--format", "json").json()
    jsonschema.validate(shown, schema("methods-show"))
    assert shown["settings"]["rows"][0]["budget"] is None
    text = " ".join(tokencost("methods", "show", method).out.split())
    for line in (shown["paper"], *shown["source"], *shown["disagreements"]):
        assert " ".join(line.split())[:40] in text
    for form in ("csv", "markdown", "latex"):
        assert tokencost("methods", "show", method, "--format", form).out


def test_methods_explain_mistakes(tokencost):
    assert_one_sentence(tokencost("methods", "show", "fastvv"), ("fastvv", "did you mean fastv?"))
    assert_one_sentence(tokencost("methods", "list", "zzz"), ("zzz", "methods list"))
    assert_one_sentence(tokencost("methods"), ("tokencost methods --help",))


def assert_one_sentence(result, fragments):
    assert result.status == 2, result
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1, "one line"
    for fragment in fragments:
        assert str(fragment) in result.err, result.err


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (("ratio", *MODEL, "--prune-layer", "2", "--keep", "0.5"), False),
        (("cost", *MODEL), False),
        (("models", "list"), False),
        (("ratio", *MODEL, "--method", "fastv"), True),
    ],
)
def test_methods_are_read_when_one_is_named(words, read):
    code = (
        "import sys\n"
        "from vlm_tokencost.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "print('vlm_tokencost.presets.method' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *words, "--format", "json"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stderr.split() == [str(read)]


def test_many_published_budgets_are_counted_in_the_table(tokencost):
    rows = tokencost("methods", "list", "sparsevlm", "--format", "json").json()
    (row,) = [row for row in rows if row["id"] == "sparsevlm"]
    settings = sum(len(budgets) for budgets in row["published_budgets"].values())
    assert settings > 1
    out = tokencost("methods", "list", "sparsevlm").out
    (line,) = [line for line in out.splitlines() if line.startswith("  sparsevlm ")]
    assert line.rstrip().endswith((f"{settings} settings", f"{settings} of 576"))
