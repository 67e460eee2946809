"""`tokencost cost`: phases, layers, worked terms, and tables that keep their figures whole."""

from __future__ import annotations

import math
import re
from fractions import Fraction

import pytest

MAIN_JOB = ("ratio", "--model", "llava-1.5-7b", "--prune-layer", 2, "--keep", 0.5)


def test_cost_prices_prefill_decode_and_generation(tokencost):
    words = ("--new-tokens", 3, "--format", "json")
    answer = tokencost("cost", "--model", "llava-1.5-7b", *words).json()
    exact = answer["conventions"]["exact"]
    assert exact["prefill"]["baseline"] == 8_910_375_321_600
    # Golden: a decode forward after 640 tokens (641 keys) without head
    assert exact["decode_forward"]["components"]["decoder"]["baseline"] == 13_288_079_360
    head = 2 * 4096 * 32064
    # The second forward reads one key more in each of 32 layers: 4·d FLOP
    two = 2 * (13_288_079_360 + head) + 32 * 4 * 4096
    assert exact["generation"]["baseline"] == 8_910_375_321_600 + two
    assert answer["parameters"]["total"] == 7_063_427_072
    step = tokencost(
        "cost", "--model", "llava-1.5-7b", "--decode-step", 2, "--format", "json"
    ).json()["conventions"]["exact"]["decode_forward"]
    assert step["baseline"] == 13_288_079_360 + head + 32 * 4 * 4096
    assert step["keys_per_layer"] == [642] * 32


def test_keys_of_all_decode_forwards_are_explained(tokencost):
    words = ("--model", "llava-1.5-7b", "--new-tokens", 100, "--explain", "--format", "json")
    steps = tokencost("cost", *words).json()["token_steps"]
    # Σ over i = 1…99 of (640 + i) = 99·640 + 100·99/2
    (keys,) = [text for label, text in steps.items() if label.startswith("keys of 99")]
    assert keys == "99 · 640 + (1 + 99) · 99 / 2 = 68310"


@pytest.mark.parametrize(
    "words",
    [
        ("--model", "llava-1.5-7b", "--prune-layer", 2, "--keep", "1/3"),
        ("--model", "llava-1.5-7b", "--tokens", 64, "--tokens-at", "before-connector"),
        ("--model", "llava-next-mistral-7b", "--image-size", "500x1000", "--new-tokens", 9),
        ("--model", "llava-onevision-7b", "--image-size", "2304x2304", "--batch", 3),
        ("--model", "qwen2.5-vl-7b", "--image-size", "1000x300", "--image-size", "448x644"),
        ("--model", "internvl3-8b", "--images", 2, "--prune-layer", 5, "--keep", 0.3),
    ],
    ids=lambda words: " ".join(map(str, words[1:])),
)
def test_every_token_step_can_be_checked_by_hand(tokencost, words):
    steps = tokencost("cost", *words, "--explain", "--format", "json").json()["token_steps"]
    checked = 0
    for text in steps.values():
        for step in text.split("; "):
            arithmetic, equals, rest = step.partition(" = ")
            if equals:
                for word in (" patches", " class tokens", " from the connector", " separators"):
                    arithmetic = arithmetic.replace(word, "")
                arithmetic = re.sub(r"\[\d+\]", "", arithmetic)  # what a share came to
                arithmetic = re.sub(r"(\d+)/(\d+) ·", r"Fraction(\1, \2) *", arithmetic)
                python = arithmetic.replace("·", "*").replace("²", "**2")
                stated = int(re.match(r"\d+", rest)[0])
                assert eval(python, {"floor": math.floor, "Fraction": Fraction}) == stated, step
                checked += 1
    assert checked >= 3


def test_csv_holds_one_table(tokencost):
    words = ("cost", "--model", "llava-1.5-7b", "--per-layer", "--explain", "--format", "csv")
    result = tokencost(*words)
    assert (result.status, result.out) == (2, "")
    assert "--per-layer and --explain" in result.err


def test_large_totals_lose_no_digit(tokencost):
    words = ("--batch", 10**9, "--new-tokens", 10**9, "--convention", "exact")
    exact = tokencost("ratio", "--model", "llava-1.5-7b", *words, "--format", "json").json()
    total = exact["conventions"]["exact"]["baseline"]
    # in units of 10¹⁸, rounded half up to four decimals
    shown = (total + 5 * 10**13) // 10**14
    table = tokencost("ratio", "--model", "llava-1.5-7b", *words).out
    assert f"{shown // 10**4:,}.{shown % 10**4:04d}" in table


def test_no_figure_is_folded(tokencost):
    assert "8,075,365,376" in tokencost("models", "list").out  # InternVL2-8B's parameters
    out = tokencost("cost", *MAIN_JOB[1:], "--per-layer", "--explain").out
    # all four projections of 32 layers under survey: 32 · 4 · 640 · 4096²
    assert "1,374,389,534,720" in out
    assert max(map(len, tokencost("models", "list").out.splitlines())) <= 80
    assert max(map(len, tokencost(*MAIN_JOB).out.splitlines())) <= 100


def test_cost_layers_and_terms_add_up(tokencost):
    words = ("--prune-layer", 2, "--keep", 0.5, "--per-layer", "--explain", "--format", "json")
    for model in ("llava-1.5-7b", "qwen2.5-vl-7b"):
        answer = tokencost("cost", "--model", model, *words).json()
        for name, priced in answer["conventions"].items():
            layers = [row for row in answer["layers"] if row["convention"] == name]
            for side in ("baseline", "scheduled"):
                total = priced["prefill"][side]
                assert sum(row[side] for row in layers) == total
                terms = [
                    row
                    for row in answer["terms"]
                    if (row["convention"], row["phase"], row["side"]) == (name, "prefill", side)
                ]
                assert sum(row["total"] for row in terms) == total
        exact = [row for row in answer["layers"] if row["convention"] == "exact"]
        assert sum(row["parameters"] for row in exact) == answer["parameters"]["total"]


def test_layers_are_listed_in_the_order_they_run(tokencost):
    words = ("--encoder-layers", "contributing", "--convention", "exact", "--format", "json")
    answer = tokencost("cost", "--model", "llava-1.5-7b", "--per-layer", *words).json()
    places = [(row["component"], row["layer"]) for row in answer["layers"]]
    vision = [("vision", None), *(("vision", layer) for layer in range(24))]
    decoder = [("decoder", None), *(("decoder", layer) for layer in range(32))]
    assert places == [*vision, ("connector", None), *decoder, ("head", None)]
    assert answer["layers"][24]["baseline"] == 0, "the layer that is left out"


def explained(tokencost, *words):
    steps = tokencost("cost", *words, "--explain", "--format", "json").json()
    return steps["token_steps"], {
        (row["term"], row["layers"]): row["substitution"]
        for row in steps["terms"]
        if (row["phase"], row["side"]) == ("prefill", "scheduled")
    }


def test_rows_of_absorbed_products_and_of_experts_are_explained(tokencost):
    # 896 / 14 / 2 = 32 · 32 visual tokens, 4 structural and 64 of text: n = 1092, then 580
    words = ("--model", "kimi-vl-a3b", "--prune-layer", 5, "--keep", 0.5, "--convention", "exact")
    steps, terms = explained(tokencost, *words, "--implementation", "latent=absorbed")
    assert steps["n of absorbed key, value"] == (
        "heads · n = 16 · 1092 = 17472 in layers 0–4; 16 · 580 = 9280 in layers 5–26"
    )
    assert steps["n of experts"] == (
        "experts per token · n = 6 · 1092 = 6552 in layers 1–4; 6 · 580 = 3480 in layers 5–26"
    )
    assert terms["absorbed key", "5–26"] == "2 · 9280 · 128 · 512"
    assert terms["experts' up", "1–4"] == "2 · 6552 · 2048 · 1408"
    assert "n of key-value expansion" not in steps

    steps, _ = explained(tokencost, *words, "--implementation", "experts=all")
    assert steps["n of experts"].startswith("all experts · n = 64 · 1092 = 69888 in layers 1–4")
    assert "n of absorbed key, value" not in steps
    steps, _ = explained(tokencost, *words, "--implementation", "latent=recomputed")
    assert steps["n of key-value expansion"].startswith("all keys that attention reads")


def test_the_encoder_of_the_llm_is_told_from_its_decoder(tokencost):
    words = ("cost", "--model", "instructblip-flan-t5-xl", "--convention", "exact")
    out = tokencost(*words, "--per-layer", "--explain").out
    lines = [line.split() for line in out.splitlines()]
    terms = {" ".join(line[:3]) for line in lines if line[:2] == ["LLM", "encoder"]}
    assert terms >= {"LLM encoder 0–23", "LLM encoder 0", "LLM encoder 23"}
    assert "LLM encoder 24" not in terms
    assert any(line[:2] == ["decoder", "24–47"] for line in lines)
    assert not any(line[:2] == ["decoder", "23"] for line in lines)
    assert "layers 0–23 of the LLM" in out


def test_every_explained_term_can_be_checked_by_hand(tokencost):
    words = ("--explain", "--format", "json", "--batch", 2, "--new-tokens", 5)
    answer = tokencost("cost", "--model", "qwen2.5-vl-3b", *words).json()
    assert len(answer["terms"]) > 40
    for row in answer["terms"]:
        arithmetic = row["substitution"].replace("·", "*").replace("²", "**2")
        assert eval(arithmetic) == row["result"], row
        assert row["result"] * row["times"] == row["total"]


def test_what_is_chosen_in_decode_forwards_has_a_row(tokencost):
    # 288 of 576 keys that are stored and not read: 32 layers, 32 heads of 128, 2 FLOP per MAC
    schedule = ("--schedule", "cache read 0.5 rescan 1")
    answer = tokencost("cost", "--model", "llava-1.5-7b", *schedule, "--format", "json").json()
    parts = answer["conventions"]["exact"]["decode_forward"]["components"]
    assert parts["selection"]["baseline"] == 0
    assert parts["selection"]["scheduled"] == 2 * 32 * 288 * 32 * 128


def test_each_side_of_the_cache_has_its_own_bits(tokencost):
    # 640 tokens × 32 layers × 2 × 4096 × 2 bytes, and a quarter of it at 4 bits.
    words = ("--schedule", "bits kv 4")
    out = tokencost("cost", "--model", "llava-1.5-7b", *words).out
    assert "335,544,320 bytes at 16 bit, 83,886,080 scheduled at 4 bit, after the prefill" in out
