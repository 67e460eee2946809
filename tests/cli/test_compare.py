"""`compare`: figures by hand and beside `ratio`, order, refusals, equal cost, forms, mistakes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "compare.schema.json").read_text())
MODEL = ("--model", "llava-1.5-7b")
SIX = "fastv,pyramiddrop,visionzip,divprune,sparsevlm,tome"
#: LLaVA-1.5-7B: layers, hidden and FFN size, vocabulary, visual and text tokens.
T, D, M, VOCABULARY, V, N = 32, 4096, 11008, 32064, 576, 64
#: Bytes that a token leaves in the KV cache of a layer: 2 · 32 heads · 128 values of 2 bytes.
KV = 2 * 32 * 128 * 2


def rows(tokencost, *words):
    found = tokencost("compare", *words, "--format", "json").json()
    jsonschema.validate(found, SCHEMA)
    assert found[0]["method"] == "dense"
    return {row["method"]: row for row in found}


def layer_cost(n, ffn_matrices=2):
    """Return the published formula of one layer, 4nd² + 2n²d + 2ndm or 3ndm, in MACs."""
    return 4 * n * D * D + 2 * n * n * D + ffn_matrices * n * D * M


def test_figures_by_hand(tokencost):
    found = rows(tokencost, *MODEL, "--methods", "fastv,divprune", "--budget", 192)
    # ⌊(32 · 192 − 2 · 576) / 30⌋ = 166 tokens behind two full layers; 192 in all layers
    counts = {"dense": [640] * T, "fastv": [640] * 2 + [230] * 30, "divprune": [256] * T}
    for name, tokens in counts.items():
        row = found[name]
        assert row["average_visual_tokens"] == sum(tokens) / T - N
        for convention, matrices in (("survey", 2), ("gated", 3)):
            figures = row["conventions"][convention]
            assert figures["baseline"] == T * layer_cost(640, matrices)
            assert figures["scheduled"] == sum(layer_cost(n, matrices) for n in tokens)
            assert figures["ratio"] == figures["scheduled"] / figures["baseline"]
        assert row["kv_cache_bytes"] == {"baseline": T * 640 * KV, "scheduled": sum(tokens) * KV}
        step = row["decode_step"]
        assert step["kv_bytes_read"]["scheduled"] == sum(tokens) * KV
        # One token: 4d² + 3dm for the weights and 2d for each key, kept or its own; then the head
        keys = sum(n + 1 for n in tokens)
        macs = T * (4 * D * D + 3 * D * M) + 2 * D * keys + D * VOCABULARY
        assert step["flops"]["scheduled"] == 2 * macs
    assert [found[name]["entering_visual_tokens"] for name in counts] == [576, 576, 192]
    assert [found[name]["budget"] for name in counts] == [None, 192, 192]


def test_the_choice_of_tokens(tokencost):
    found = rows(tokencost, *MODEL, "--methods", "fastv,divprune", "--budget", 192)
    assert found["dense"]["selection"] is None
    # Eager attention of one layer keeps the map of 32 heads; the farthest come one by one
    maps = found["fastv"]["selection"]["released"]["attention_map_bytes"]
    assert maps == 32 * 640 * 640 * 2
    assert found["fastv"]["selection"]["ideal"]["attention_map_bytes"] == 0
    assert found["divprune"]["selection"]["ideal"]["serial_launches"] == 192
    table = tokencost("compare", *MODEL, "--methods", "fastv", "--budget", 192).out
    assert "26.2144 MB" in table


@pytest.mark.parametrize("budget", [(), ("--budget", 192)], ids=["default", "192"])
@pytest.mark.parametrize("new_tokens", [1, 20])
def test_rows_are_those_of_ratio(tokencost, budget, new_tokens):
    shared = (*MODEL, *budget, "--new-tokens", new_tokens)
    found = rows(tokencost, *shared, "--methods", SIX)
    assert list(found) == ["dense", *SIX.split(",")]
    for name in SIX.split(","):
        alone = tokencost("ratio", *shared, "--method", name, "--format", "json").json()
        row = found[name]
        for convention, figures in row["conventions"].items():
            sides = alone["conventions"][convention]
            for key in ("unit", "baseline", "scheduled", "ratio"):
                assert figures[key] == sides[key], (name, convention)
        parts = alone["conventions"]["exact"]["components"]
        exact = row["conventions"]["exact"]
        assert exact["components"] == parts
        for side in ("baseline", "scheduled"):
            llm = parts["decoder"][side] + parts["head"][side]
            assert exact["llm_alone"][side] == llm
            encoder = parts["vision"][side] + parts["connector"][side]
            assert exact["without_selection"][side] == llm + encoder
        assert row["workload"] == alone["workload"]
        assert row["selection"] == alone["schedule"]["selection_work"]
        assert row["assumed"] == alone["schedule"]["method"]["assumed"]
        cache = alone["schedule"]["kv_cache_bytes"]
        assert row["kv_cache_bytes"]["scheduled"] == cache["scheduled"]
        assert row["decode_step"]["kv_bytes_read"]["scheduled"] == cache["read_per_step"]


def test_released_selection(tokencost):
    words = (*MODEL, "--methods", "pyramiddrop")
    ideal = rows(tokencost, *words)["pyramiddrop"]["conventions"]["exact"]
    words = (*words, "--implementation", "selection=released")
    released = rows(tokencost, *words)["pyramiddrop"]["conventions"]["exact"]
    assert released["without_selection"] == ideal["without_selection"]
    # Before stages of 640, 352 and 208 tokens: all projected again, 3nd², and a row, nd
    macs = sum(3 * n * D * D + n * D for n in (640, 352, 208))
    assert released["components"]["selection"]["scheduled"] == 2 * macs


def test_what_is_assumed(tokencost):
    found = rows(tokencost, *MODEL, "--methods", "pyramiddrop,fastv", "--budget", 192)
    assert found["pyramiddrop"]["assumed_fields"] == ["budget"]
    # no field is, but a detail of the schedule is stated to be
    assert found["fastv"]["assumed"]
    assert found["fastv"]["assumed_fields"] == ["details"]
    found = rows(tokencost, *MODEL, "--methods", "pyramiddrop,sparsevlm")
    assert found["pyramiddrop"]["assumed_fields"] == []
    # 28 layers: the lists of SparseVLM are for 32
    deep = rows(tokencost, "--model", "qwen2.5-vl-7b", "--methods", "sparsevlm")
    assert "other depth" in deep["sparsevlm"]["assumed_fields"]
    assert "other depth" not in found["sparsevlm"]["assumed_fields"]


def test_all_methods(tokencost):
    listed = tokencost("methods", "list", "--format", "json").json()
    found = rows(tokencost, *MODEL)
    assert list(found) == ["dense", *(method["id"] for method in listed)]
    assert {name: found[name]["training"] for name in list(found)[1:]} == {
        method["id"]: method["trained"] for method in listed
    }
    assert rows(tokencost, *MODEL, "--methods", "all") == found
    table = tokencost("compare", *MODEL).out
    for name, row in found.items():
        assert f"  {name} " in table
        assert (row["reason"] is None) == (row["average_visual_tokens"] is not None)


def test_a_method_that_refuses_is_listed(tokencost):
    words = (*MODEL, "--budget", 100, "--methods", "sparsevlm,fastv")
    found = rows(tokencost, *words)
    refused = found["sparsevlm"]
    assert "--budget 100 has no published list (192, 128, 96, 64 of 576)" in refused["reason"]
    assert refused["average_visual_tokens"] is None
    assert refused["conventions"]["exact"]["scheduled"] is None
    assert refused["conventions"]["exact"]["baseline"] > 0
    assert found["fastv"]["reason"] is None
    table = " ".join(tokencost("compare", *words).out.split())
    assert "sparsevlm: no figures: --budget 100 has no published list" in table


def test_a_model_that_a_method_refuses(tokencost):
    words = ("--model", "qwen2.5-vl-7b", "--methods", "tome,divprune")
    found = rows(tokencost, *words)
    assert "merged tokens lie on no grid" in found["tome"]["reason"]
    assert found["divprune"]["reason"] is None


def test_a_model_without_formulas(tokencost):
    found = rows(tokencost, "--model", "llama3.2-vision-90b", "--methods", "divprune")
    figures = found["divprune"]["conventions"]
    assert figures["survey"]["scheduled"] is None
    assert "cross-attention" in figures["survey"]["reason"]
    assert figures["exact"]["ratio"] < 1


SORTS = {
    "average": lambda row: row["average_visual_tokens"],
    "exact": lambda row: row["conventions"]["exact"]["scheduled"],
    "survey": lambda row: row["conventions"]["survey"]["scheduled"],
    "gated": lambda row: row["conventions"]["gated"]["scheduled"],
    "kv": lambda row: row["kv_cache_bytes"]["scheduled"],
    "method": lambda row: row["method"],
}


@pytest.mark.parametrize("key", SORTS)
def test_order(tokencost, key):
    # ToMe and SparseVLM know no budget of 100 that fits: figures that are missing come last
    words = (*MODEL, "--methods", SIX, "--budget", 100, "--sort", key)
    others = list(rows(tokencost, *words).values())[1:]
    assert len(others) == 6
    figures = [SORTS[key](row) for row in others]
    known = [figure for figure in figures if figure is not None]
    assert known == sorted(known)
    assert figures == known + [None] * (6 - len(known))
    assert len(known) == (6 if key == "method" else 5)


def test_equal_cost_by_brute_force(tokencost):
    words = (*MODEL, "--methods", "fastv,divprune", "--budget", 128, "--convention", "survey")
    found = rows(tokencost, *words, "--equal-flops")
    # FastV: ⌊(32 · 128 − 1152) / 30⌋ = 98 tokens from layer 2 on
    goal = 2 * layer_cost(640) + 30 * layer_cost(98 + N)
    budget = max(b for b in range(1, V + 1) if T * layer_cost(b + N) <= goal)
    assert found["divprune"]["budget"] == budget
    target = found["divprune"]["target"]
    assert target["amount"] == goal
    assert target["distance"] == T * layer_cost(budget + N) - goal
    assert target["relative_distance"] == pytest.approx(T * layer_cost(budget + N) / goal - 1)
    assert found["fastv"]["budget"] == 128
    assert found["fastv"]["target"]["distance"] == 0


def test_equal_cost_is_what_solve_finds(tokencost):
    methods, small = "fastv,pyramiddrop,divprune", (*MODEL, "--visual-tokens", 150)
    goal = ("--target-ratio", "0.6")
    found = rows(tokencost, *small, "--methods", methods, "--equal-flops", *goal)
    for name in methods.split(","):
        words = ("solve", *small, "--method", name, "--budget", "?", *goal)
        within = tokencost(*words, "--format", "json").json()["solutions"][0]
        assert found[name]["budget"] == within["value"]
        assert found[name]["target"]["reached"] == within["amount"] <= 0.6


def test_equal_caches(tokencost):
    words = (*MODEL, "--methods", "divprune,sparsevlm", "--equal-flops")
    found = rows(tokencost, *words, "--target-kv-bytes", "96MiB")
    # 96 MiB are 192 tokens in all 32 layers, 64 of them text
    assert found["divprune"]["budget"] == 128
    assert found["divprune"]["target"]["distance"] == 0
    # The list called 128 averages 145.4, the one called 96 averages 114.1
    assert found["sparsevlm"]["budget"] == 96
    table = tokencost("compare", *words, "--target-kv-bytes", "96MiB").out
    assert "+0.00 %" in table


def test_a_target_that_a_method_cannot_meet(tokencost):
    words = (*MODEL, "--methods", "fastv,divprune", "--equal-flops", "--target-average-tokens", 20)
    found = rows(tokencost, *words)
    # Two full layers alone average 36 of 576; its least budget, 37, keeps ⌊32/30⌋ = 1 token
    assert (
        "no budget is within 20.00: the least average of the visual tokens over the layers is 36.94"
        in found["fastv"]["reason"]
    )
    assert found["divprune"]["budget"] == 20


def test_whatever_is_assumed_is_flagged(tokencost):
    # sparsevlm's lists are for 576 tokens: of 2,880 they are scaled, which no source says
    words = (*MODEL, "--visual-tokens", 2880, "--methods", "sparsevlm,fastv", "--budget", 960)
    found = rows(tokencost, *words)
    assert found["sparsevlm"]["assumed"]
    for row in list(found.values())[1:]:
        assert bool(row["assumed_fields"]) >= bool(row["assumed"])


def test_methods_without_figures(tokencost):
    some = tokencost("compare", *MODEL, "--methods", "fastv,sparsevlm", "--budget", 100)
    assert "1 of 2 methods with figures" in some.out
    none = tokencost("compare", *MODEL, "--methods", "sparsevlm", "--budget", 100)
    assert (none.status, none.out, none.err.count("\n")) == (2, "", 1)
    assert "figures for none of 1: sparsevlm: --budget 100 has no published list" in none.err


def test_every_form(tokencost):
    words = ("compare", *MODEL, "--methods", "fastv,sparsevlm", "--budget", 100)
    records = list(csv.DictReader(io.StringIO(tokencost(*words, "--format", "csv").out)))
    assert [row["method"] for row in records] == ["dense", "fastv", "sparsevlm"]
    assert records[1]["survey_ratio"]
    assert records[1]["exact_llm_alone_FLOP"]
    assert records[2]["survey_ratio"] == ""
    assert "no published list" in records[2]["reason"]
    markdown = tokencost(*words, "--format", "markdown").out
    assert "| fastv | 100 | 576 |" in markdown
    assert tokencost(*words, "--format", "latex").out.count("\\begin{tabular}") == 2


def test_one_convention(tokencost):
    words = ("compare", *MODEL, "--methods", "fastv", "--convention", "survey")
    table = tokencost(*words).out
    assert "survey" in table
    assert "gated" not in table
    assert "exact" not in table


#: (words after `compare --model llava-1.5-7b`, fragments of the sentence)
MISTAKES = {
    "unknown": (("--methods", "fastvv"), ("--methods fastvv", "did you mean fastv?")),
    "twice": (("--methods", "fastv,fastv"), ("--methods fastv is named twice",)),
    "none": (("--methods", "fastv,"), ("names no method",)),
    "budget a word": (("--budget", "x"), ("--budget x", "whole number of at least 1")),
    "an unknown order": (("--sort", "speed"), ("--sort speed is not a choice", "choose from")),
    "an unknown convention": (("--convention", "x"), ("--convention x is not a choice",)),
    "a target alone": (
        ("--target-ratio", 0.5),
        ("--target-ratio needs --equal-flops", "add --equal-flops"),
    ),
    "no reference": (("--equal-flops",), ("--equal-flops has no reference", "--methods")),
    "a budget and a target": (
        ("--equal-flops", "--target-ratio", 0.5, "--budget", 64),
        ("--budget 64 cannot go with --target-ratio",),
    ),
    "a reference that refuses": (
        ("--methods", "sparsevlm,fastv", "--budget", 100, "--equal-flops"),
        ("--methods sparsevlm cannot be the reference", "no published list"),
    ),
    "all conventions at once": (
        ("--methods", "fastv,tome", "--equal-flops", "--convention", "all"),
        ("--convention all is not a choice",),
    ),
    "a schedule": (("--keep", 0.5), ("--keep is not an option of `tokencost compare`",)),
    "a bad request": (("--images", "x"), ("--images x is not a whole number",)),
}


@pytest.mark.parametrize(("words", "fragments"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_explained(tokencost, words, fragments):
    result = tokencost("compare", *MODEL, *words)
    assert result.status == 2
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    for fragment in fragments:
        assert fragment in result.err


def test_equal_cost_without_a_formula(tokencost):
    words = ("--model", "llama3.2-vision-90b", "--methods", "divprune", "--equal-flops")
    result = tokencost("compare", *words, "--convention", "survey")
    assert result.status == 2
    assert "--convention survey has no figure for llama3.2-vision-90b" in result.err


def test_grids_that_divide(tokencost):
    # A tile of 32×32 patches has no third: r = 1/2 leaves 256, r = 1/4 leaves 64
    words = ("--model", "internvl2-8b", "--methods", "internvl-x-pvtc", "--image-size", "448x448")
    for budget, left in ((255, 64), (256, 256)):
        row = rows(tokencost, *words, "--budget", budget)["internvl-x-pvtc"]
        assert row["entering_visual_tokens"] == left
