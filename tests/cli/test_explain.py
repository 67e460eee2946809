"""`explain`: answers, forms, mistakes."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "explain.schema.json").read_text())
MODEL = ("--model", "llava-1.5-7b")


def answer(tokencost, *words):
    """Return the explanations as the JSON has them."""
    result = tokencost("explain", *words, "--format", "json")
    assert (result.status, result.err) == (0, "")
    found = result.json()
    jsonschema.validate(found, SCHEMA)
    return found["explanations"]


def test_fastvs_figure_in_a_sentence(tokencost):
    result = tokencost("explain", "99.3e9", *MODEL)
    first = next(line for line in result.out.splitlines() if line.startswith("  1  "))
    assert "one layer, survey convention, 612 tokens = 576 + 36" in first
    # 4 · 612 · 4096² + 2 · 612² · 4096 + 2 · 612 · 4096 · 11008 = 99,327,541,248
    assert "99.3275 GMAC" in first
    assert "FastV" in result.out, "the source of 36"


def test_the_contract_of_the_json(tokencost):
    best = answer(tokencost, "99.3e9", *MODEL)[0]
    assert best["convention"] == "survey"
    assert best["scope"] == "one layer"
    assert best["tokens"] == 612
    assert best["value"] == 99_327_541_248
    assert best["relative_difference"] == pytest.approx(99_327_541_248 / 99.3e9 - 1)


@pytest.mark.parametrize("words", [("3817e12",), ("3817e12", *MODEL), ("3,817", "TFLOPs")])
def test_the_surveys_slip(tokencost, words):
    best = answer(tokencost, *words)[0]
    assert best["model"] == "llava-1.5-7b"
    assert (best["convention"], best["unit"], best["tokens"]) == ("gated", "MAC", 576)
    assert best["value"] == 3_817_152_184_320
    assert best["printed_value"] == 3_817_000_000_000
    assert best["printed_too_large_by"] == 1000
    assert "1000 times too large" in best["explanation"]


def test_no_explanation_is_said_plainly(tokencost):
    assert answer(tokencost, "3.46T", *MODEL) == []
    result = tokencost("explain", "3.46T", *MODEL)
    assert result.status == 0
    assert "Nothing explains 3.46T" in result.out


def test_a_share_of_a_schedule(tokencost):
    # FastV: 0.551609 of the dense cost at 576 + 36 tokens
    words = (*MODEL, "--prune-layer", 2, "--keep", "0.5")
    best = answer(tokencost, "55.16%", *words)[0]
    assert (best["quantity"], best["tokens"], best["side"]) == ("ratio", 612, "scheduled")
    assert best["value"] == pytest.approx(0.551609, abs=1e-6)
    reduction = answer(tokencost, "44.84%", *words)[0]
    assert reduction["quantity"] == "reduction"


def test_a_method_at_a_budget(tokencost):
    # PyramidDrop on LLaVA-NeXT: 9.4646e12 over 2880 visual tokens and no text
    words = ("--model", "llava-next-vicuna-7b", "--method", "pyramiddrop")
    best = answer(tokencost, "9.46", *words)[0]
    assert (best["convention"], best["tokens"]) == ("gated", 2880)
    assert best["assumed_prefix"] == "T"


def test_a_method_that_needs_text_is_priced_without_any(tokencost):
    # SparseVLM rates by text tokens. gated, 32 layers: 3, 4, 9 and 16 of them at 576, 309, 204 and
    # 113 visual tokens with 119 others are 2.1403e12; with 118 they are 2.1339e12 and print 2.13
    words = (*MODEL, "--method", "sparsevlm", "--budget", 192)
    runs = ((3, 576), (4, 309), (9, 204), (16, 113))

    def gated(text):
        lengths = [(layers, visual + text) for layers, visual in runs]
        return sum(
            k * (4 * n * 4096**2 + 2 * n * n * 4096 + 3 * n * 4096 * 11008) for k, n in lengths
        )

    best = answer(tokencost, "2.14T", *words, "--text-tokens", 119)[0]
    assert (best["convention"], best["scope"], best["side"]) == ("gated", "LLM layers", "scheduled")
    assert (best["value"], best["match"], best["strength"]) == (gated(119), "rounded", "strong")
    near = answer(tokencost, "2.14T", *words, "--text-tokens", 118)
    assert [one["match"] for one in near if one["value"] == gated(118)] == ["close"]
    assert isinstance(answer(tokencost, "1.25T", *words), list)


def test_counts_to_try(tokencost):
    words = ("--model", "llava-next-vicuna-7b", "--tokens", 160, "--tokens", 170)
    best = answer(tokencost, "1.04T", *words)[0]
    assert (best["visual_tokens"], best["visual_tokens_source"]) == (160, "as given")
    assert {one["visual_tokens"] for one in answer(tokencost, "1.04T", *words)} <= {160, 170}


def test_what_is_given_is_not_tried(tokencost):
    for one in answer(tokencost, "8.91T", *MODEL, "--text-tokens", 64):
        assert one["text_tokens"] == 64
    # an image of 896×896 has 64 × 64 patches: encoder and merger cost 5,645,449,297,920 FLOP
    words = ("--model", "qwen2.5-vl-7b", "--image-size", "896x896")
    best = answer(tokencost, "5645449297920", *words)[0]
    assert (best["scope"], best["value"]) == ("encoder and connector", 5_645_449_297_920)
    # 8 · 3,817,152,184,320 = 30.537e12
    (best, *_) = answer(tokencost, "30.5T", *MODEL, "--batch", 8)
    assert (best["batch"], best["value"]) == (8, 8 * 3_817_152_184_320)


def test_keys_of_cross_attention_are_no_tokens_of_the_sequence(tokencost):
    best = answer(tokencost, "2023500021760", "--model", "llama3.2-vision-11b")[0]
    assert (best["tokens"], best["visual_tokens"]) == (64, 6404)
    assert "64 tokens = 1 + 63 over 6404 cross-attention keys" in best["explanation"]


def test_unverified_fields_are_told(tokencost):
    words = ("explain", "7.3T", "--model", "idefics3-8b", "--tokens", 1000)
    found = tokencost(*words, "--format", "json").json()
    assert found["models"][0]["unverified"]
    assert found["models"][0]["status"] == "approximate"
    assert "approximate" in tokencost(*words).out


def test_csv_markdown_and_latex(tokencost):
    rows = list(csv.DictReader(io.StringIO(tokencost("explain", "20.8", "--format", "csv").out)))
    assert rows[0]["model"] == "llava-next-vicuna-7b"
    assert (rows[0]["tokens"], rows[0]["value"]) == ("2880", "20825222676480")
    assert "gated" in rows[0]["also"]
    markdown = tokencost("explain", "99.3e9", *MODEL, "--format", "markdown").out
    assert "| 1 | one layer, survey convention, 612 tokens = 576 + 36 |" in markdown
    assert markdown.splitlines()[-1].startswith("99.3e9 is explained by one layer")
    latex = tokencost("explain", "99.3e9", *MODEL, "--format", "latex").out
    assert "\\begin{tabular}" in latex


def test_a_strong_explanation_leaves_weak_ones_to_the_data(tokencost):
    words = ("20.8T", "--model", "llava-next-vicuna-7b")
    found = answer(tokencost, *words)
    assert [one["strength"] for one in found] == ["strong", "weak"]
    table = tokencost("explain", *words).out
    assert "  1  " in table
    assert "  2  " not in table
    assert "1 more, less natural: in JSON and CSV" in table


def test_a_weak_explanation_is_not_said_to_explain(tokencost):
    (best, *_) = answer(tokencost, "4.62T", *MODEL)
    assert (best["strength"], best["fitted"], best["text_tokens"]) == ("weak", "text", 118)
    markdown = tokencost("explain", "4.62T", *MODEL, "--format", "markdown").out
    assert markdown.splitlines()[-1].startswith("4.62T fits LLM layers, gated convention, 694")


def test_a_file_is_written(tokencost, tmp_path):
    path = tmp_path / "answer.json"
    assert tokencost("explain", "3.82T", *MODEL, "--output", path).out == ""
    jsonschema.validate(json.loads(path.read_text()), SCHEMA)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("abc",), "VALUE abc is not a number; write a figure"),
        (("0",), "VALUE 0 is zero; give the figure that is printed, above zero"),
        (("--", "-3e9"), "VALUE -3e9 is negative; give the figure that is printed"),
        (("-3e9",), "-3 is not an option of `tokencost explain`"),
        (("3.82GB",), "VALUE 3.82GB has an unknown unit: GB; write FLOPs, MACs, % or x"),
        (("55%",), "VALUE 55% is a share of the dense cost, which needs a schedule; add"),
        (("2.1x",), "VALUE 2.1x is a factor, which needs a schedule; add --prune-layer"),
        (("3T", "--model", "lava"), "model lava is not known; did you mean llava-1.5-7b?"),
        (("3T", "--prune-layer", "2", "--keep", "0.5"), "--prune-layer is about a model, of"),
        (("3T", "--method", "fastv"), "--method is about a model, of which none is named; add"),
        (("3T", "--image-size", "336x336"), "--image-size is about a model, of which none"),
        (("3T", *MODEL, "--keep", "0.5"), "--prune-layer does not pair up"),
        (("3T", *MODEL, "--prune-layer", "40", "--keep", ".5"), "--prune-layer 40 is not a layer"),
        (("3T", *MODEL, "--tokens", "x"), "--tokens x is not a whole number"),
        (("3T", *MODEL, "--tokens", "0"), "--tokens 0 is below 1"),
        (("3T", *MODEL, "--text-tokens", "-1"), "--text-tokens -1 is below 0"),
        (("3T", *MODEL, "--tokens", "9", "--visual-tokens", "9"), "--visual-tokens cannot go with"),
        (("3T", *MODEL, "--budget", "64"), "--budget 64 needs --method; add --method ID"),
        (("3T", *MODEL, "--method", "fast"), "method fast is not known; did you mean fastv?"),
        (("3T", *MODEL, "--schedule", "no.toml"), "--schedule no.toml cannot be read"),
        (("3T", *MODEL, "--schedule", "keep x @ 2"), "--schedule"),
        (("3T", "--causal"), "--causal is not an option of `tokencost explain`"),
        ((), "missing argument VALUE"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_mistakes(tokencost, words, sentence):
    result = tokencost("explain", *words)
    assert (result.status, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert sentence in result.err


def test_an_input_is_not_overwritten(tokencost, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text('[[stages]]\nfirst_layer = 2\nratio = "0.5"\n')
    result = tokencost("explain", "3T", *MODEL, "--schedule", plan, "--output", plan)
    assert result.status == 2
    assert plan.read_text().startswith("[[stages]]")


def test_it_starts_light():
    code = (
        "import sys\nfrom vlm_tokencost.cli.main import main\n"
        "try:\n    main(['explain', '3.82T', '--format', 'json'])\n"
        "except SystemExit: pass\n"
        "print(sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stderr.strip("[]\n").replace("'", "").split(", "))
    assert "vlm_tokencost" in loaded
    assert not loaded & {"torch", "transformers", "fvcore", "matplotlib", "numpy", "rich", "scipy"}
