"""`sweep`: figures by hand and beside `ratio`, `latency` and `memory`; order, axes, refusals."""

from __future__ import annotations

import csv
import io
import json
from itertools import combinations, product
from math import comb
from pathlib import Path

import jsonschema
import pytest
from vlm_tokencost.cli import sweep_rows

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "sweep.schema.json").read_text())
MODEL = ("--model", "llava-1.5-7b")
STAGES = ("--prune-layer", "1:31", "--keep", "0.05:1:0.05")
#: LLaVA-1.5-7B: layers, hidden and FFN size, visual and text tokens.
T, D, M, V, N = 32, 4096, 11008, 576, 64


def rows(tokencost, *words):
    """Return the rows as JSON gives them, checked, with those of CSV beside them."""
    found = tokencost("sweep", *words, "--format", "jsonl")
    assert found.status == 0, found.err
    parsed = [json.loads(line) for line in found.out.splitlines()]
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for row in parsed:
        validator.validate(row)
        del row["schema_version"], row["tokencost_version"]  # of JSON alone
    table = list(csv.DictReader(io.StringIO(tokencost("sweep", *words).out)))
    assert table == [
        {name: "" if value is None else str(value) for name, value in row.items()} for row in parsed
    ]
    return parsed


def survey(n):
    return 4 * n * D * D + 2 * n * n * D + 2 * n * D * M


def test_figures_by_hand(tokencost):
    found = rows(
        tokencost, *MODEL, "--prune-layer", "2,8", "--keep", "0.25,0.5", "--stages", "1..2"
    )
    # keep 0.25 leaves 144 tokens, 0.5 leaves 288; of two stages the second keeps less
    plans = [
        ((2, 0.25), None, [V] * 2 + [144] * 30),
        ((2, 0.5), None, [V] * 2 + [288] * 30),
        ((8, 0.25), None, [V] * 8 + [144] * 24),
        ((8, 0.5), None, [V] * 8 + [288] * 24),
        ((2, 0.5), (8, 0.25), [V] * 2 + [288] * 6 + [144] * 24),
    ]
    assert len(found) == len(plans)
    for row, (first, second, visual) in zip(found, plans, strict=True):
        assert (row["prune_layer_1"], row["keep_1"]) == first
        assert (row["prune_layer_2"], row["keep_2"]) == (second or (None, None))
        assert row["survey_scheduled_MAC"] == sum(survey(n + N) for n in visual)
        assert row["survey_baseline_MAC"] == T * survey(V + N)
        assert row["survey_ratio"] == row["survey_scheduled_MAC"] / row["survey_baseline_MAC"]
        assert row["average_visual_tokens"] == sum(visual) / T
        assert row["kv_cache_scheduled_bytes"] == sum(n + N for n in visual) * 16384
        assert row["kv_cache_baseline_bytes"] == T * (V + N) * 16384
        assert row["reason"] is None
    # conventions.md: K = 2, keep 0.5
    assert found[1]["exact_scheduled_FLOP"] == 5_272_907_120_640
    assert found[1]["exact_baseline_FLOP"] == 8_910_375_321_600
    assert found[1]["gated_scheduled_MAC"] == 2_433_283_522_560


def alone(tokencost, row, *words):
    """Return what `ratio` says of the schedule of a row."""
    stages = [
        word
        for place in range(1, 5)
        if row.get(f"prune_layer_{place}") is not None
        for word in ("--prune-layer", row[f"prune_layer_{place}"], "--keep", row[f"keep_{place}"])
    ]
    request = ("--model", row["model"], "--text-tokens", row["text_tokens"])
    request = (*request, "--batch", row["batch"], "--new-tokens", row["new_tokens"])
    return tokencost("ratio", *request, *stages, *words, "--format", "json").json()


def same_as_ratio(row, found):
    """Compare a row with what `ratio` says."""
    for name, unit in (("survey", "MAC"), ("gated", "MAC"), ("exact", "FLOP")):
        sides = found["conventions"][name]
        for side in ("baseline", "scheduled"):
            assert row[f"{name}_{side}_{unit}"] == sides[side]
        assert row[f"{name}_ratio"] == sides["ratio"]
    assert row["kv_cache_scheduled_bytes"] == found["schedule"]["kv_cache_bytes"]["scheduled"]
    assert row["average_visual_tokens"] == found["schedule"]["average_visual_tokens"]


@pytest.mark.parametrize("fewest", [1, 10**9], ids=["arrays", "one by one"])
def test_rows_are_those_of_ratio(tokencost, monkeypatch, fewest):
    monkeypatch.setattr(sweep_rows, "FEWEST", fewest)
    words = ("--model", "qwen2.5-vl-7b,gemma3-4b", "--text-tokens", "0,700", "--batch", "1,3")
    words = (*words, "--prune-layer", "3:27:8", "--keep", "0.07:0.9:0.4", "--stages", "2")
    words = (*words, "--new-tokens", 500, "--rounding", "ceil")
    found = rows(tokencost, *words)
    assert len(found) == 2 * 2 * 2 * comb(4, 2) * comb(3, 2)
    for row in found[::19]:
        same_as_ratio(row, alone(tokencost, row, "--rounding", "ceil"))


def test_arrays_and_single_schedules_agree_on_every_row(tokencost, monkeypatch):
    words = ("--model", "llava-1.5-7b,llama3.2-vision-11b", "--prune-layer", "2:30:4")
    words = (*words, "--keep", "0.1:1:0.3", "--stages", "1..3", "--visual-tokens", "9,2880")
    found = {}
    for fewest in (1, 10**9):
        monkeypatch.setattr(sweep_rows, "FEWEST", fewest)
        found[fewest] = tokencost("sweep", *words).out
    assert found[1] == found[10**9]
    each = sum(comb(8, count) * comb(4, count) for count in (1, 2, 3))
    assert found[1].count("\n") == 1 + 2 * 2 * each


def test_order_of_rows(tokencost):
    found = rows(
        tokencost,
        *("--model", "llava-1.5-7b,llava-1.5-13b", "--batch", "2,1"),
        *("--prune-layer", "4,2,8", "--keep", "0.5,0.2,0.9", "--stages", "2"),
    )
    shares = [(0.5, 0.2), (0.9, 0.2), (0.9, 0.5)]
    order = product(("llava-1.5-7b", "llava-1.5-13b"), (2, 1), combinations((2, 4, 8), 2), shares)
    assert [
        (
            row["model"],
            row["batch"],
            (row["prune_layer_1"], row["prune_layer_2"]),
            (row["keep_1"], row["keep_2"]),
        )
        for row in found
    ] == list(order)


def test_a_large_grid_is_counted_and_cut(tokencost):
    found = tokencost("sweep", *MODEL, *STAGES, "--stages", "1..3", "--limit", 3)
    count = sum(comb(31, n) * comb(20, n) for n in (1, 2, 3))
    assert found.err == (f"{count:,} rows: schedules of 1 to 3 stages; the first 3 are wanted\n")
    assert len(found.out.splitlines()) == 4
    assert tokencost("sweep", *MODEL, *STAGES, "--limit", 3, "--quiet").err == ""


def test_every_row_of_a_large_grid_is_there_once(tokencost):
    found = tokencost("sweep", *MODEL, *STAGES, "--stages", "1..2")
    table = list(csv.DictReader(io.StringIO(found.out)))
    keys = [f"prune_layer_{n}" for n in (1, 2)] + [f"keep_{n}" for n in (1, 2)]
    assert len(table) == 31 * 20 + comb(31, 2) * comb(20, 2)
    assert len({tuple(row[key] for key in keys) for row in table}) == len(table)


def test_methods_budgets_and_their_refusals(tokencost):
    words = (*MODEL, "--method", "fastv,visionzip", "--budget", "64,600", "--text-tokens", "0,64")
    found = rows(tokencost, *words)
    assert [(row["text_tokens"], row["method"], row["budget"]) for row in found] == list(
        product((0, 64), ("fastv", "visionzip"), (64, 600))
    )
    for row in found:
        if row["budget"] == 64:
            words = ("--method", row["method"], "--budget", 64)
            same_as_ratio(row, alone(tokencost, row, *words))
            assert row["assumed_fields"] is not None
        else:
            assert "600" in row["reason"]
            assert row["exact_scheduled_FLOP"] is row["exact_ratio"] is None
            assert row["exact_baseline_FLOP"] > 0
    told = tokencost("sweep", *MODEL, "--method", "fastv", "--budget", "64,600").err
    assert told.endswith("1 row has no figures: the column reason tells why\n")


def test_all_models_and_all_methods(tokencost):
    from vlm_tokencost.presets import list_methods, list_models

    found = tokencost("sweep", "--model", "all", "--format", "jsonl")
    priced = [json.loads(line) for line in found.out.splitlines()]
    assert [row["model"] for row in priced] == list_models()
    assert all(row["exact_baseline_FLOP"] > 0 for row in priced)
    found = tokencost("sweep", *MODEL, "--method", "all", "--format", "jsonl")
    priced = [json.loads(line) for line in found.out.splitlines()]
    assert [row["method"] for row in priced] == list_methods()
    assert all((row["reason"] is None) is (row["exact_ratio"] is not None) for row in priced)
    told = sum(row["reason"] is not None for row in priced)
    assert told == 0 or f"{told} row" in found.err


def test_tokens_schedules_and_the_dense_model(tokencost):
    (dense,) = rows(tokencost, *MODEL)
    assert dense["exact_ratio"] == 1 and dense["average_visual_tokens"] == V
    found = rows(tokencost, *MODEL, "--tokens", "64:192:64", "--tokens-at", "before-connector")
    assert [row["tokens"] for row in found] == [64, 128, 192]
    for row in found:
        words = ("--tokens", row["tokens"], "--tokens-at", "before-connector")
        same_as_ratio(row, alone(tokencost, row, *words))
    line = "compress 64 | keep 0.5 @ 16"
    found = rows(tokencost, *MODEL, "--schedule", line, "--schedule", "keep 1/3 @ 2")
    assert [row["schedule"] for row in found] == [line, "keep 1/3 @ 2"]
    for row in found:
        same_as_ratio(row, alone(tokencost, row, "--schedule", row["schedule"]))


def test_stages_behind_a_compression(tokencost, monkeypatch):
    for fewest in (1, 10**9):
        monkeypatch.setattr(sweep_rows, "FEWEST", fewest)
        words = ("--tokens", "100,200", "--prune-layer", "4,9", "--keep", "0.5,0.25")
        found = rows(tokencost, *MODEL, *words)
        assert [row["entering_visual_tokens"] for row in found] == [100] * 4 + [200] * 4
        for row in found:
            same_as_ratio(row, alone(tokencost, row, "--tokens", row["tokens"]))


@pytest.mark.parametrize("fewest", [1, 10**9], ids=["arrays", "one by one"])
def test_shares_that_leave_nothing(tokencost, monkeypatch, fewest):
    monkeypatch.setattr(sweep_rows, "FEWEST", fewest)
    words = ("--visual-tokens", "9,100", "--prune-layer", "2,9", "--keep", "0.05,0.1,0.5")
    found = rows(tokencost, *MODEL, *words, "--stages", "1..2")
    for row in found:
        # 0.05 and 0.1 of 9 tokens are none; so is no share of 100
        least = min(row["keep_1"], row["keep_2"] or 1)
        if row["visual_tokens"] == 9 and least < 0.12:
            share = f"{min(row['keep_1'], row['keep_2'] or 1):g}"
            if row["keep_1"] < 0.12:
                share = f"{row['keep_1']:g}"
            assert row["reason"].startswith(f"--keep {share} leaves none of the 9 visual tokens")
            assert row["survey_scheduled_MAC"] is row["average_visual_tokens"] is None
        else:
            assert row["reason"] is None
            same_as_ratio(row, alone(tokencost, row, "--visual-tokens", row["visual_tokens"]))


def test_workloads_that_a_model_refuses(tokencost):
    found = rows(
        tokencost, "--model", "qwen2-vl-7b", "--image-size", "4x4096,448x448", "--tokens", 9
    )
    assert found[0]["reason"].startswith("--image-size") and found[0]["exact_ratio"] is None
    assert found[1]["reason"] is None and found[1]["visual_tokens"] == 256
    alone = tokencost("sweep", "--model", "qwen2-vl-7b", "--image-size", "4x4096")
    assert (alone.status, alone.out) == (2, "")


@pytest.mark.parametrize("fewest", [1, 10**9], ids=["arrays", "one by one"])
def test_cells_that_are_refused_with_all_their_stages(tokencost, monkeypatch, fewest):
    monkeypatch.setattr(sweep_rows, "FEWEST", fewest)
    words = ("--tokens", "100,600", "--prune-layer", "4,9", "--keep", "0.5,0.25")
    found = rows(tokencost, *MODEL, *words, "--stages", "1..2")
    assert [row["reason"] is None for row in found] == [True] * 5 + [False] * 5
    assert found[9]["reason"].startswith("--tokens 600 is more than the 576 visual tokens")
    assert found[9]["prune_layer_2"] == 9 and found[9]["exact_ratio"] is None


def test_sizes_and_images(tokencost):
    words = ("--model", "qwen2-vl-7b", "--image-size", "224:448:224", "--images", "1,3")
    found = rows(tokencost, *words)
    # (224 / 28)² = 64 and (448 / 28)² = 256 tokens an image
    assert [(row["images"], row["image_size"], row["visual_tokens"]) for row in found] == [
        (1, "224x224", 64),
        (1, "448x448", 256),
        (3, "224x224", 192),
        (3, "448x448", 768),
    ]
    found = rows(tokencost, "--model", "llava-onevision-7b", "--frames", "8,16")
    assert [(row["images"], row["frames"]) for row in found] == [(0, 8), (0, 16)]


def test_a_config_instead_of_a_preset(tokencost):
    config = ROOT / "docs" / "examples" / "qwen3-vl-2b" / "config.json"
    found = rows(tokencost, "--config", config, "--batch", "1,2")
    assert found[1]["exact_scheduled_FLOP"] == 2 * found[0]["exact_scheduled_FLOP"]


def test_times_and_memory_are_those_of_their_commands(tokencost):
    options = ("--runtime", "graph", "--bits", 4)
    words = (*MODEL, "--method", "fastv", "--new-tokens", 3, *options)
    found = rows(tokencost, *words, "--device", "a100-80gb,h100")
    for row, device in zip(found, ("a100-80gb", "h100"), strict=True):
        timed = tokencost("latency", *words, "--device", device, "--format", "json").json()
        assert row["device"] == timed["device"]["id"]
        for name in ("time_to_first_token", "end_to_end"):
            for side in ("baseline", "scheduled"):
                for bound in ("lower", "central", "upper"):
                    seconds = row[f"{name}_{side}_{bound}_s"]
                    assert seconds == timed["totals"][name][side][bound]
            assert row[f"{name}_speed_up_central"] == pytest.approx(
                row[f"{name}_baseline_central_s"] / row[f"{name}_scheduled_central_s"]
            )
        memory = tokencost(
            "memory",
            *MODEL,
            "--method",
            "fastv",
            "--new-tokens",
            3,
            "--bits",
            4,
            "--format",
            "json",
        ).json()
        for side in ("baseline", "scheduled"):
            assert row[f"peak_memory_{side}_bytes"] == memory["memory"][side]["peak_bytes"]


def test_bits_are_axes(tokencost):
    words = (*MODEL, "--tokens", 64, "--device", "h100")
    found = rows(tokencost, *words, "--bits", "16,4", "--kv-bits", "4:8:4", "--load-ms", 5)
    assert [(row["bits"], row["kv_bits"]) for row in found] == [(16, 4), (16, 8), (4, 4), (4, 8)]
    for row in found:
        bits = ("--bits", row["bits"], "--kv-bits", row["kv_bits"], "--load-ms", 5)
        timed = tokencost("latency", *words, *bits, "--format", "json").json()["totals"]
        for side in ("baseline", "scheduled"):
            seconds = row[f"time_to_first_token_{side}_central_s"]
            assert seconds == timed["time_to_first_token"][side]["central"]
        # 32 layers of 2 · 32 heads · 128 values
        assert row["kv_cache_baseline_bytes"] == 640 * 32 * 8192 * row["kv_bits"] // 8
        assert row["kv_cache_scheduled_bytes"] == 128 * 32 * 8192 * row["kv_bits"] // 8


def test_stages_on_a_device_go_one_by_one(tokencost):
    words = ("--prune-layer", "1:31", "--keep", "0.5,1", "--device", "h100", "--limit", 40)
    found = tokencost("sweep", *MODEL, *words)
    assert len(found.out.splitlines()) == 41
    assert "one by one" in found.err
    causal = ("--model", "gemma3-4b", "--prune-layer", "1:31", "--keep", "0.5,1", "--causal")
    found = tokencost("sweep", *causal)
    assert "images attend inside" in found.err
    assert found.out.count("\n") == 63


def test_causal_and_other_counting(tokencost):
    words = ("--causal", "--logits", "all", "--encoder-layers", "contributing")
    found = rows(tokencost, *MODEL, "--prune-layer", "1:31", "--keep", "0.3,0.7", *words)
    for row in found[::13]:
        same_as_ratio(row, alone(tokencost, row, *words))


def test_models_without_published_figures(tokencost):
    words = ("--model", "llama3.2-vision-11b", "--prune-layer", "1:31", "--keep", "0.3,0.7")
    for row in rows(tokencost, *words):
        assert row["survey_baseline_MAC"] is row["gated_ratio"] is None
        assert 0 < row["exact_ratio"] < 1
