"""`frontier`: rows that other commands confirm, budgets, profiles, forms, mistakes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from searched import MODEL, answer, profile
from vlm_tokencost.cli.frontier_run import chosen

ROOT = Path(__file__).parents[2]
GRID = (*MODEL, "--prune-layer", "0:31:4", "--keep", "0.1:1:0.15", "--stages", "1..2")
#: LLaVA-1.5-7B: layers, hidden and FFN size, visual and text tokens.
T, D, M, V, N = 32, 4096, 11008, 576, 64


def layer_cost(tokens):
    """Return 4nd² + 2n²d + 2ndm of a layer, in MACs."""
    n = tokens + N
    return 4 * n * D * D + 2 * n * n * D + 2 * n * D * M


def test_one_stage_by_hand(tokencost):
    # Shares 1/2 and 1/4 at layers 8 and 24: averages of (8·576 + 24k)/32 and (24·576 + 8k)/32
    words = ("--prune-layer", "8,24", "--keep", "0.5,0.25", "--convention", "survey")
    found = answer(tokencost, *MODEL, *words)
    averages = [252.0, 360.0, 468.0, 504.0]
    texts = ["keep 0.25 @ 8", "keep 0.5 @ 8", "keep 0.25 @ 24", "keep 0.5 @ 24"]
    stages = [(8, 144), (8, 288), (24, 144), (24, 288)]
    assert [one["schedule"] for one in found["points"]] == texts
    assert [one["average_visual_tokens"] for one in found["points"]] == averages
    assert [one["retention_proxy"] for one in found["points"]] == [a / 576 for a in averages]
    costs = [K * layer_cost(V) + (T - K) * layer_cost(kept) for K, kept in stages]
    assert [one["cost"] for one in found["points"]] == costs
    assert [one["share_of_dense"] for one in found["points"]] == [
        pytest.approx(cost / (T * layer_cost(V)), rel=1e-15) for cost in costs
    ]
    # 16,384 B for each token and layer
    kv = [16_384 * (K * 640 + (T - K) * (kept + N)) for K, kept in stages]
    assert [one["kv_cache_bytes"] for one in found["points"]] == kv
    assert found["cost"]["dense"] == T * layer_cost(V)
    assert found["cost"]["floor"] == T * layer_cost(0)
    assert found["cost"]["least"] == costs[0]
    assert not any(one["best"] for one in found["points"])
    assert found["grid"]["schedules"] == 4


@pytest.mark.parametrize(
    ("budget", "limit"),
    [
        (("--max-flops", "5T"), 5 * 10**12),
        (("--max-ratio", "45%"), 0.45 * 8_910_375_321_600),
        (("--max-kv-bytes", "96MiB"), 96 * 2**20),
        (("--max-flops", "2T", "--convention", "gated"), 2 * 10**12),
        (("--max-ratio", "1/2", "--convention", "survey"), 3_328_599_654_400 / 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_best_within_a_budget_is_what_the_whole_frontier_has(tokencost, budget, limit):
    found = answer(tokencost, *GRID, *budget)
    best = found["points"][-1]
    assert [one["best"] for one in found["points"]] == [False] * (len(found["points"]) - 1) + [True]
    assert best["cost"] <= limit == found["cost"]["budget"]
    wide = budget[0].replace("--max-ratio", "--max-flops"), "1P", *budget[2:]
    whole = answer(tokencost, *GRID, *wide)
    assert whole["points"][-1]["schedule"] == "keep 1 @ 0"
    within = [one for one in whole["points"] if one["cost"] <= limit]
    assert [one["schedule"] for one in within] == [one["schedule"] for one in found["points"]]
    assert len(whole["points"]) > len(within) > 3


def test_rows_are_those_of_ratio(tokencost):
    shared = (*MODEL, "--new-tokens", 20, "--causal", "--text-tokens", 30)
    words = ("--prune-layer", "3,9,20", "--keep", "1/3,0.29,0.07", "--rounding", "ceil")
    found = answer(tokencost, *shared, *words, "--stages", "1..3", "--max-ratio", 0.5)
    assert len(found["points"]) > 3
    for one in found["points"]:
        written = ("--schedule", one["schedule"], "--rounding", "ceil", "--format", "json")
        other = tokencost("ratio", *shared, *written).json()
        assert other["conventions"]["exact"]["scheduled"] == one["cost"] == one["exact_flops"]
        assert other["conventions"]["exact"]["ratio"] == pytest.approx(one["share_of_dense"])
        assert other["schedule"]["average_visual_tokens"] == one["average_visual_tokens"]
        assert other["schedule"]["kv_cache_bytes"]["scheduled"] == one["kv_cache_bytes"]
        layers = other["schedule"]["visual_tokens_per_layer"]
        assert sum(layers) / (32 * 576) == pytest.approx(one["retention_proxy"], rel=1e-15)


@pytest.mark.parametrize("runtime", ["eager", "graph"])
def test_times_are_those_of_latency(tokencost, runtime):
    device = ("--device", "a100-80gb", "--runtime", runtime, "--kv-bits", 8)
    words = ("--prune-layer", "2,16", "--keep", "1,0.8,0.7", "--stages", "1..2", "--load-ms", 5)
    found = answer(tokencost, *MODEL, *words, *device, "--max-ttft", "50ms", "--new-tokens", 5)
    assert found["cost"]["unit"] == "s"
    assert len(found["points"]) > 3
    for one in found["points"]:
        given = ("--schedule", one["schedule"], "--new-tokens", 5, "--load-ms", 5)
        other = tokencost("latency", *MODEL, *given, *device, "--format", "json").json()
        expected = other["totals"]["time_to_first_token"]["scheduled"]
        assert one["ttft_seconds"] == pytest.approx(expected, rel=1e-12)
        assert one["cost"] == one["ttft_seconds"]["central"] <= 0.05
    # 8-bit keys and values: 8,192 B for each token and layer
    tokens = 32 * found["points"][-1]["average_visual_tokens"] + 32 * 64
    assert found["points"][-1]["kv_cache_bytes"] == 8_192 * tokens


def test_a_device_adds_times_to_other_costs(tokencost):
    words = (*MODEL, "--prune-layer", 2, "--keep", "0.5,0.25", "--max-ratio", 0.7)
    plain, timed = (
        answer(tokencost, *words, *more)
        for more in ((), ("--device", "h100", "--attention", "flash"))
    )
    assert plain["device"] is None
    assert timed["device"]["attention"] == "flash"
    assert [one["ttft_seconds"] for one in plain["points"]] == [None] * 2
    for before, after in zip(plain["points"], timed["points"], strict=True):
        times = after.pop("ttft_seconds")
        assert times["lower"] <= times["central"] <= times["upper"]
        assert {**after, "ttft_seconds": None} == before
    assert "TTFT" in tokencost("frontier", *words, "--device", "h100").out


def test_the_host_is_waited_for(tokencost):
    # 30 layers · 0.85 ms of launches: longer than any schedule's kernels
    words = ("--model", "smolvlm-256m", "--prune-layer", "0:29", "--keep", "0.1:1:0.1")
    words = (*words, "--device", "a100-80gb", "--max-ttft", "1s")
    (only,) = answer(tokencost, *words)["points"]
    assert only["schedule"] == "keep 1 @ 0"
    assert "waits for eager Python's launches" in tokencost("frontier", *words).out
    assert len(answer(tokencost, *words, "--runtime", "graph")["points"]) > 10
    result = tokencost("frontier", *words[:-1], "26ms")
    assert result.status == 2
    assert "--runtime graph" in result.err


def test_a_profile_decides_where_tokens_stay(tokencost, tmp_path):
    # All weight on layers 0 to 7: what is kept from layer 8 on is worth nothing. R is 1 for all
    # schedules that begin there, and the cheapest of them is left.
    early = profile(tmp_path / "early.csv", [0.5] * 8 + ["0.0"] * 24)
    words = (*MODEL, "--prune-layer", "4,8,16", "--keep", "0.5,0.25", "--stages", "1..2")
    found = answer(tokencost, *words, "--importance", early)
    rows = [(one["schedule"], one["retention_proxy"]) for one in found["points"]]
    assert rows == [
        ("keep 0.25 @ 4", 0.625),  # (4 + 4/4) / 8
        ("keep 0.5 @ 4 | keep 0.25 @ 8", 0.75),  # (4 + 4/2) / 8
        ("keep 0.25 @ 8", 1.0),
    ]
    assert found["retention"]["weights"] == [1] * 8 + [0] * 24
    assert found["retention"]["is_proxy"]
    late = profile(tmp_path / "late.csv", [0] * 24 + ["1e-3", ".002"] * 4)
    found = answer(tokencost, *words, "--importance", late)
    assert found["retention"]["weights"] == [0] * 24 + [1, 2] * 4
    assert [one["schedule"] for one in found["points"]] == ["keep 0.25 @ 4", "keep 0.5 @ 4"]


def test_points_are_even_over_the_costs(tokencost):
    whole = answer(tokencost, *GRID)["points"]
    few = answer(tokencost, *GRID, "--points", 5)["points"]
    first, last = whole[0]["cost"], whole[-1]["cost"]
    marks = [first + (last - first) * place / 4 for place in range(5)]
    expected = [max(one["cost"] for one in whole if one["cost"] <= mark) for mark in marks]
    assert [one["cost"] for one in few] == expected
    assert len(answer(tokencost, *GRID, "--points", 10**6)["points"]) == len(whole)
    rows = tokencost("frontier", *GRID).out.splitlines()
    assert sum(" @ " in row for row in rows) == 20
    assert chosen((), 5) == []


def test_many_rows_are_those_that_are_priced_one_by_one(tokencost, monkeypatch):
    words = (*MODEL, "--prune-layer", "1:27", "--keep", "0.05:1:0.05", "--stages", "1..2")
    many = answer(tokencost, *words)["points"]
    assert len(many) > 1000
    assert many[-1]["schedule"] == "keep 1 @ 1"  # the dense run, which no array prices
    monkeypatch.setattr("vlm_tokencost.cli.frontier_run._FOLLOWED", 10**9)
    assert answer(tokencost, *words)["points"] == many


def test_ties_are_counted(tokencost):
    # The cache is the retention itself: 576 − 144 = 432 fewer in 16 layers, or 288 fewer in 24
    words = (*MODEL, "--prune-layer", "8,16", "--keep", "0.5,0.25", "--max-kv-bytes", "1GB")
    found = answer(tokencost, *words)
    assert [one["equal_schedules"] for one in found["points"]] == [0, 1, 0]
    assert found["points"][1]["schedule"] == "keep 0.5 @ 8"
    out = tokencost("frontier", *words).out
    assert "schedules that equal one of these rows in cost and retention: 1;" in out


def test_every_form(tokencost, tmp_path):
    words = ("frontier", *GRID, "--max-ratio", "60%")
    table = tokencost(*words).out
    for part in ("proxy", "not accuracy", "best", "[TFLOP]", "60.00 % of the dense run's"):
        assert part in table
    rows = list(csv.DictReader(io.StringIO(tokencost(*words, "--format", "csv").out)))
    found = answer(tokencost, *words[1:])
    assert len(rows) == found["non_dominated"] == len(found["points"])
    assert [int(row["cost"]) for row in rows] == [one["cost"] for one in found["points"]]
    assert rows[-1]["best"] == "True"
    assert "retention_proxy" in rows[0]
    markdown = tokencost(*words, "--format", "markdown").out
    sentence = markdown.splitlines()[-1]
    for part in ("llava-1.5-7b", "576 visual", "a proxy, not accuracy", "60.00 %", " @ ", "TFLOP"):
        assert part in sentence
    latex = tokencost(*words, "--format", "latex").out
    assert "\\begin{tabular}" in latex
    assert all(line.isascii() for line in latex.splitlines() if not line.startswith("%"))
    whole = tokencost("frontier", *GRID, "--format", "markdown").out.splitlines()[-1]
    assert "are non-dominated" in whole
    path = tmp_path / "answer.json"
    assert tokencost(*words, "--output", path).status == 0
    assert json.loads(path.read_text()) == found


@pytest.mark.parametrize(
    "model",
    ["gemma3-4b", "qwen3-vl-30b-a3b", "kimi-vl-a3b", "llama3.2-vision-11b", "blip2-flan-t5-xl"],
)
def test_other_models(tokencost, model):
    words = ("--model", model, "--prune-layer", "1:11:5", "--keep", "0.2:1:0.2", "--stages", "1..3")
    for more in ((), ("--max-kv-bytes", "1TB"), ("--max-ttft", "9s", "--device", "h100")):
        found = answer(tokencost, *words, *more)
        assert found["points"][-1]["retention_proxy"] == 1
    if model == "llama3.2-vision-11b":
        weights = found["retention"]["weights"]
        assert [layer for layer, weight in enumerate(weights) if weight] == [*range(3, 40, 5)]
