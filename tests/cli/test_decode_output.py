"""What `cost` and `ratio` say of the KV cache and of decode forwards, by hand.

LLaVA-1.5-7B: a token has 2·32·128·2 = 16,384 bytes in each of 32 layers; 576 + 64 tokens.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import jsonschema
import pytest

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
TOKEN = 16_384
FASTV = ("--model", "llava-1.5-7b", "--prune-layer", 2, "--keep", 0.5)
#: Stored: all; read: ⌊0.05 · 576⌋ = 28 visual tokens, but all in layers 0 and 10.
FOCAL = "[cache]\nread = 0.05\nfocal_layers = [0, 10]\nrescan = 0.5\ngenerated = 0.5\n"


def asked(tokencost, command, *words):
    answer = tokencost(command, *words, "--format", "json").json()
    jsonschema.validate(answer, json.loads((SCHEMAS / f"{command}.schema.json").read_text()))
    return answer


@pytest.fixture
def focal(tmp_path):
    path = tmp_path / "focal.toml"
    path.write_text(FOCAL)
    return ("--model", "llava-1.5-7b", "--schedule", path)


@pytest.mark.parametrize("command", ["cost", "ratio"])
def test_first_last_mean_and_all_forwards(tokencost, command):
    decode = asked(tokencost, command, *FASTV, "--new-tokens", 5)["decode"]
    assert (decode["forwards"], decode["unit"]) == (4, "FLOP")
    assert decode["kv_bits"] == {"baseline": 16, "scheduled": 16}
    # A forward i reads 640 + i keys in 2 layers and 352 + i in 30; 640 + i in all 32 if dense
    first, last = (TOKEN * (2 * (640 + i) + 30 * (352 + i)) for i in (1, 4))
    whole = sum(TOKEN * (2 * (640 + i) + 30 * (352 + i)) for i in (1, 2, 3, 4))
    dense = sum(TOKEN * 32 * (640 + i) for i in (1, 2, 3, 4))
    read = {name: decode[name]["kv_read_bytes"] for name in ("first", "last", "mean", "generation")}
    assert [read["first"]["scheduled"], read["last"]["scheduled"]] == [first, last]
    assert read["generation"] == {"baseline": dense, "scheduled": whole, "ratio": whole / dense}
    assert read["mean"] == {"baseline": dense / 4, "scheduled": whole / 4, "ratio": whole / dense}
    # Golden: 13,288,079,360 FLOP after 640 tokens, a head of 2·4096·32064, 4·4096 a key and layer
    flops = 13_288_079_360 + 2 * 4096 * 32_064
    assert decode["first"]["flops"]["baseline"] == flops
    assert decode["last"]["flops"]["baseline"] == flops + 3 * 32 * 4 * 4096
    assert decode["generation"]["flops"]["baseline"] == 4 * flops + (1 + 2 + 3) * 32 * 4 * 4096


def test_without_new_tokens_there_is_no_decode(tokencost):
    cost = asked(tokencost, "cost", *FASTV)
    assert cost["decode"] is None
    step = cost["conventions"]["exact"]["decode_forward"]["kv_read_bytes"]
    assert step == {"baseline": TOKEN * 32 * 641, "scheduled": TOKEN * (2 * 641 + 30 * 353)}
    assert "decode" not in asked(tokencost, "ratio", *FASTV)


def test_ragged_lengths_by_groups_of_layers(tokencost, focal):
    groups = asked(tokencost, "cost", *focal)["kv_cache"]
    few, many = groups
    assert (few["layers"], few["window"]) == ([0, 10], None)
    assert many["layers"] == [layer for layer in range(32) if layer not in (0, 10)]
    assert few["scheduled"]["read_tokens"] == few["scheduled"]["stored_tokens"] == 640
    assert many["scheduled"] == {
        "stored_tokens": 640,
        "visual_stored_tokens": 576,
        "read_tokens": 92,
        "cross_tokens": 0,
        "stored_bytes": 30 * 640 * TOKEN,
        "read_bytes": 30 * 92 * TOKEN,
    }
    assert sum(group["baseline"]["stored_bytes"] for group in groups) == 32 * 640 * TOKEN
    table = tokencost("cost", *focal, "--new-tokens", 9).out
    assert "0, 10" in table and "1–9, 11–31" in table
    assert "choose the visual tokens anew" in table
    assert max(map(len, table.splitlines())) <= 110


def test_rescans_and_evicted_tokens_of_a_generation(tokencost, focal):
    decode = asked(tokencost, "ratio", *focal, "--new-tokens", 9)["decode"]
    # Forwards 1 to 8 keep ⌊(i − 1)/2⌋ generated tokens and their own: 1 1 2 2 3 3 4 4 = 20;
    # 4 of 8 score the 548 unread keys, of 8,192 bytes, in 30 layers
    read = TOKEN * (2 * (8 * 640 + 20) + 30 * (8 * 92 + 20)) + 30 * 4 * 548 * TOKEN // 2
    assert decode["generation"]["kv_read_bytes"]["scheduled"] == read


def test_windows_are_named(tokencost):
    words = ("--model", "gemma3-4b", "--new-tokens", 2000)
    groups = asked(tokencost, "cost", *words)["kv_cache"]
    assert {group["window"]: len(group["layers"]) for group in groups} == {1024: 29, None: 5}
    assert "(window 1,024)" in tokencost("ratio", *words).out


def test_csv_has_the_bytes(tokencost):
    def rows(command, *words):
        out = tokencost(command, *FASTV, *words, "--format", "csv").out
        return [row for row in csv.DictReader(io.StringIO(out)) if row["unit"] == "byte"]

    stored, step, generated = rows("cost", "--new-tokens", 3, "--decode-step", 7)
    assert (stored["phase"], stored["component"]) == ("prefill", "KV stored")
    assert int(stored["scheduled"]) == TOKEN * (2 * 640 + 30 * 352)
    assert (step["phase"], int(step["baseline"])) == ("decode forward 7", TOKEN * 32 * 647)
    assert (generated["phase"], generated["component"]) == ("generation", "KV read")
    assert int(generated["baseline"]) == TOKEN * 32 * (641 + 642)
    assert [row["phase"] for row in rows("ratio", "--new-tokens", 3)] == ["prefill", "generation"]
    assert rows("cost", "--convention", "survey") == []


def test_layers_have_their_lengths(tokencost, focal):
    words = ("--per-layer", "--convention", "exact")
    layers = asked(tokencost, "cost", *focal, *words)["layers"]
    lengths = {
        row["layer"]: [row[f"{name}_tokens"] for name in ("baseline_kv", "scheduled_kv_read")]
        for row in layers
        if row["component"] == "decoder" and row["layer"] is not None
    }
    assert [lengths[layer] for layer in (0, 1, 10)] == [[640, 640], [640, 92], [640, 640]]
    assert all(
        row["scheduled_kv_tokens"] is None for row in layers if row["component"] != "decoder"
    )


def test_keys_of_all_forwards_are_explained(tokencost, focal, tmp_path):
    def steps(schedule):
        words = ("--schedule", schedule, "--new-tokens", 9, "--explain", "--format", "json")
        answer = tokencost("cost", "--model", "llava-1.5-7b", *words).json()
        priced = {
            row["layers"]: row["total"]
            for row in answer["terms"]
            if row["side"] == "scheduled"
            and row["phase"].startswith("decode forwards")
            and row["term"] == "scores and values"
        }
        return [text for name, text in answer["token_steps"].items() if "keys of" in name], priced

    # 1 + 1 + 2 + 2 + 3 + 3 + 4 + 4 = 20 generated tokens; 2·32·(128 + 128) FLOP a key and layer
    texts, priced = steps(focal[-1])
    own = "Σ (⌊0.5 · (i − 1)⌋ + 1)"
    assert texts == [f"8 · 640 + {own} = 5140", f"8 · 92 + {own} = 756"]
    assert priced == {"0, 10": 2 * 5140 * 16_384, "1–9, 11–31": 30 * 756 * 16_384}
    # 576, 432, 288, 144, 0, … visual tokens
    path = tmp_path / "shrinking.toml"
    path.write_text("[cache]\nshrink = 0.25\n")
    texts, priced = steps(path)
    total = 1440 + 8 * 64 + 36
    text = "8 · 64 + Σ max(0, 576 − ⌊144 · (i − 1)⌋) + (1 + 8) · 8 / 2, i = 1 to 8,"
    assert texts == [f"{text} = {total}"]
    assert priced == {"0–31": 32 * total * 16_384}
