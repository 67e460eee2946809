"""`solve`: answers by hand and by brute force, forms, mistakes."""

from __future__ import annotations

import csv
import io
import json
from fractions import Fraction
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "solve.schema.json").read_text())
MODEL = ("--model", "llava-1.5-7b")
#: LLaVA-1.5-7B: layers, hidden and FFN size, visual and text tokens.
T, D, M, V, N = 32, 4096, 11008, 576, 64


def answer(tokencost, *words):
    """Return (typed, value) of the solutions, and all of the JSON."""
    found = tokencost("solve", *words, "--format", "json").json()
    jsonschema.validate(found, SCHEMA)
    return [(one["typed"], one["value"]) for one in found["solutions"]], found


def test_an_average_by_hand(tokencost):
    # (2 · 576 + 30k) / 32 <= 192 holds up to k = 166.4; 0.289 · 576 = 166.46, 0.29 · 576 = 167.04
    words = (*MODEL, "--prune-layer", 2, "--keep", "?", "--target-average-tokens", 192)
    values, found = answer(tokencost, *words)
    assert values == [("0.289", 166), ("0.29", 167)]
    within, above = found["solutions"]
    assert within["tokens_per_layer"] == [640] * 2 + [230] * 30
    assert within["distance"] == (2 * 576 + 30 * 166) / 32 - 192
    assert above["distance"] == (2 * 576 + 30 * 167) / 32 - 192
    assert within["relative_distance"] == pytest.approx(-0.375 / 192)


@pytest.mark.parametrize(
    ("target", "tokens", "distance"),
    [
        # 4 · 32 · 128 B for each token and layer: 100,000,000 / 524,288 = 190.7 = 126.7 + 64
        ("100MB", 126, 190 * 524_288 - 100_000_000),
        ("100M", 126, 190 * 524_288 - 100_000_000),
        # 96 · 1,048,576 = 192 · 524,288
        ("96MiB", 128, 0),
        ("100663296", 128, 0),
    ],
)
def test_a_cache_by_hand(tokencost, target, tokens, distance):
    values, found = answer(tokencost, *MODEL, "--tokens", "free", "--target-kv-bytes", target)
    assert values == [(str(tokens), tokens), (str(tokens + 1), tokens + 1)]
    assert found["solutions"][0]["distance"] == distance
    assert found["target"]["unit"] == "B"
    assert found["target"]["convention"] is None


def test_a_layer_by_hand(tokencost):
    # (576K + 288 · (32 − K)) / 32 = 288 + 9K <= 300 holds up to K = 1
    words = (*MODEL, "--prune-layer", "?", "--keep", 0.5, "--target-average-tokens", 300)
    values, found = answer(tokencost, *words)
    assert values == [("1", 1), ("2", 2)]
    assert [one["amount"] for one in found["solutions"]] == [297, 306]
    assert found["free"]["exhaustive"]
    assert found["free"]["values_priced"] == 32


def test_budgets_with_gaps(tokencost):
    # Published lists alone, with ⌊r/10⌋ + 1 clusters of r = ⌊0.3 · dropped⌋ + 1 recycled tokens:
    # 128: 312, 117, 39 in 4, 9 and 16 layers behind 3 full ones; 192: 309, 204, 113
    averages = [
        (3 * 576 + 4 * 312 + 9 * 117 + 16 * 39) / 32,
        (3 * 576 + 4 * 309 + 9 * 204 + 16 * 113) / 32,
    ]
    words = (*MODEL, "--method", "sparsevlm", "--budget", "?", "--target-average-tokens", 192)
    values, found = answer(tokencost, *words)
    assert values == [("128", 128), ("192", 192)]
    assert [one["amount"] for one in found["solutions"]] == averages == [145.40625, 206.5]
    assert (found["free"]["first"], found["free"]["last"]) == (64, 192)


def test_a_budget_by_hand(tokencost):
    # Kept ⌊(32B − 1152) / 30⌋ <= 166 holds up to B = 192; at 193 it is ⌊167.47⌋
    words = (*MODEL, "--method", "fastv", "--budget", "?", "--target-average-tokens", 192)
    values, found = answer(tokencost, *words)
    assert values == [("192", 192), ("193", 193)]
    assert found["solutions"][1]["amount"] == (2 * 576 + 30 * 167) / 32


def layer_cost(n, ffn_matrices):
    """Return the published formula of one layer, 4nd² + 2n²d + 2ndm or 3ndm, in MACs."""
    return 4 * n * D * D + 2 * n * n * D + ffn_matrices * n * D * M


def last_within(costs, target):
    """Return the last place whose cost does not exceed the target."""
    return max(place for place, cost in costs.items() if cost <= target)


@pytest.mark.parametrize(("convention", "matrices"), [("survey", 2), ("gated", 3)])
@pytest.mark.parametrize("layer", [0, 2, 16])
@pytest.mark.parametrize("target", ["0.45", "0.6", "0.85"])
def test_kept_tokens_by_brute_force(tokencost, convention, matrices, layer, target):
    costs = {
        kept: layer * layer_cost(V + N, matrices) + (T - layer) * layer_cost(kept + N, matrices)
        for kept in range(1, V + 1)
    }
    limit = Fraction(target) * T * layer_cost(V + N, matrices)
    words = (*MODEL, "--prune-layer", layer, "--keep", "?", "--convention", convention)
    if min(costs.values()) > limit:
        assert tokencost("solve", *words, "--target-ratio", target).status == 2
        return
    expected = last_within(costs, limit)
    values, found = answer(tokencost, *words, "--target-ratio", target)
    assert [value for _, value in values] == [expected, expected + 1]
    assert [one["scheduled"] for one in found["solutions"]] == [
        costs[expected],
        costs[expected + 1],
    ]


@pytest.mark.parametrize(("typed", "amount"), [("1.25T", 1_250 * 10**9), ("2500G", 2_500 * 10**9)])
def test_layers_by_brute_force(tokencost, typed, amount):
    # ⌊0.25 · 576⌋ + 64 = 208 tokens from the layer on
    costs = {K: K * layer_cost(640, 2) + (T - K) * layer_cost(208, 2) for K in range(T)}
    words = (*MODEL, "--prune-layer", "free", "--keep", 0.25, "--convention", "survey")
    values, found = answer(tokencost, *words, "--target-flops", typed)
    expected = last_within(costs, amount)
    assert [value for _, value in values] == [expected, expected + 1]
    assert found["solutions"][0]["amount"] == costs[expected]
    assert found["target"] == {
        "quantity": "flops",
        "convention": "survey",
        "unit": "MAC",
        "amount": amount,
    }


def test_stages_around_the_free_one(tokencost):
    # ⌊0.5 · 576⌋ = 288 before and ⌊0.125 · 576⌋ = 72 behind bound the free stage; the average is
    # (8 · 576 + 8 · 288 + 8k + 8 · 72) / 32 = 234 + k/4 <= 270 holds up to k = 144
    words = ("--prune-layer", 8, "--keep", 0.5, "--prune-layer", 16, "--keep", "?")
    words = (*MODEL, *words, "--prune-layer", 24, "--keep", 0.125)
    values, found = answer(tokencost, *words, "--target-average-tokens", 270)
    assert values == [("0.25", 144), ("0.252", 145)]
    assert (found["free"]["first"], found["free"]["last"]) == (72, 288)


@pytest.mark.parametrize("new_tokens", [1, 100])
def test_exact_answers_are_those_of_ratio(tokencost, new_tokens):
    shared = (*MODEL, "--prune-layer", 2, "--new-tokens", new_tokens)
    _, found = answer(tokencost, *shared, "--keep", "?", "--target-ratio", 0.45)
    within, above = found["solutions"]
    assert above["value"] == within["value"] + 1
    assert within["ratio"] <= 0.45 < above["ratio"]
    for one in (within, above):
        words = ("ratio", *shared, "--keep", one["typed"], "--format", "json")
        assert tokencost(*words).json()["conventions"]["exact"]["scheduled"] == one["scheduled"]


def test_rounding_decides_the_ratio(tokencost):
    words = (*MODEL, "--prune-layer", 2, "--keep", "?", "--target-average-tokens", 192)
    # 0.287 · 576 = 165.3, rounded up 166; 0.288 · 576 = 165.888 rounds to 166, 0.287 to 165
    assert answer(tokencost, *words, "--rounding", "ceil")[0][0] == ("0.287", 166)
    assert answer(tokencost, *words, "--rounding", "round")[0][0] == ("0.288", 166)


def test_a_target_at_the_end(tokencost):
    values, _ = answer(tokencost, *MODEL, "--tokens", "?", "--target-average-tokens", 576)
    assert values == [("576", 576)]
    words = ("solve", *MODEL, "--tokens", "?", "--target-average-tokens", 576)
    assert "above: no value is larger" in tokencost(*words).out


def test_every_form(tokencost, tmp_path):
    words = ("solve", *MODEL, "--prune-layer", 2, "--keep", "free", "--target-average-tokens", 192)
    table = tokencost(*words).out
    assert "0.289" in table
    assert "166" in table
    rows = list(csv.DictReader(io.StringIO(tokencost(*words, "--format", "csv").out)))
    assert [(row["side"], row["typed"]) for row in rows] == [("within", "0.289"), ("above", "0.29")]
    markdown = tokencost(*words, "--format", "markdown").out
    assert "| within | 0.289 | 166 | 191.62 |" in markdown
    assert markdown.rstrip().endswith("; the next is 0.29 (167 visual tokens) with 192.56.")
    assert "\\begin{tabular}" in tokencost(*words, "--format", "latex").out
    path = tmp_path / "answer.json"
    assert tokencost(*words, "--output", path).status == 0
    jsonschema.validate(json.loads(path.read_text()), SCHEMA)


FREE = ("--prune-layer", 2, "--keep", "?")
#: (words after `solve --model llava-1.5-7b`, fragments of the sentence)
MISTAKES = {
    "no target": (FREE, ("--target-ratio is missing", "--target-kv-bytes")),
    "two targets": (
        (*FREE, "--target-ratio", 0.5, "--target-flops", "1T"),
        ("--target-flops", "--target-ratio are two targets"),
    ),
    "nothing free": (
        ("--prune-layer", 2, "--keep", 0.5, "--target-ratio", 0.5),
        ("have no free value", "--keep free"),
    ),
    "two free": (
        ("--prune-layer", "?", "--keep", "?", "--target-ratio", 0.5),
        ("--prune-layer ? and --keep are both free",),
    ),
    "two of one": (
        (*FREE, "--prune-layer", 4, "--keep", "free", "--target-ratio", 0.5),
        ("are both free",),
    ),
    "too cheap": (
        (*FREE, "--target-ratio", 0.01),
        ("--target-ratio 0.01 is out of reach", "1 to 576 tokens"),
    ),
    "too dear": (
        ("--tokens", "?", "--target-kv-bytes", "1GB"),
        ("--target-kv-bytes 1.0000 GB is out of reach", "335.5443 MB"),
    ),
    "a percentage": ((*FREE, "--target-ratio", "45%%"), ("--target-ratio 45%% is not a ratio",)),
    "a fall": ((*FREE, "--target-ratio", "-0.5"), ("--target-ratio -0.5 is not a ratio",)),
    "nothing": ((*FREE, "--target-ratio", 0), ("--target-ratio 0 is not above 0",)),
    "an unknown suffix": (
        (*FREE, "--target-flops", "1.25X"),
        ("--target-flops 1.25X is not an amount", "1.25T"),
    ),
    "a unit": (
        (*FREE, "--target-kv-bytes", "5iB"),
        ("--target-kv-bytes 5iB is not a number of bytes",),
    ),
    "words": (
        (*FREE, "--target-average-tokens", "many"),
        ("--target-average-tokens many is not an amount",),
    ),
    "a convention of none": (
        (*FREE, "--target-average-tokens", 192, "--convention", "survey"),
        ("--convention survey does not change what --target-average-tokens counts",),
    ),
    "all conventions": (
        (*FREE, "--target-ratio", 0.5, "--convention", "all"),
        ("--convention all is not a choice",),
    ),
    "causal tokens": (
        (*FREE, "--target-average-tokens", 192, "--causal"),
        ("--causal does not change what the target counts",),
    ),
    "causal survey": (
        (*FREE, "--target-ratio", 0.5, "--causal", "--convention", "survey"),
        ("--causal changes exact figures alone",),
    ),
    "no method": (("--budget", "?", "--target-ratio", 0.5), ("--budget ? needs --method",)),
    "a method and a stage": (
        (*FREE, "--method", "fastv", "--target-ratio", 0.5),
        ("cannot go with --method",),
    ),
    "an unpaired layer": (
        ("--keep", "?", "--target-ratio", 0.5),
        ("--prune-layer does not pair up",),
    ),
    "a layer too far": (
        ("--prune-layer", 40, "--keep", "?", "--target-ratio", 0.5),
        ("--prune-layer 40 is not a layer of this model",),
    ),
    "an unknown rounding": (
        (*FREE, "--rounding", "up", "--target-ratio", 0.5),
        ("--rounding up is not a choice",),
    ),
    "an unknown method": (
        ("--method", "fastvv", "--budget", "?", "--target-ratio", 0.5),
        ("did you mean fastv?",),
    ),
    "a rule that there is none of": (
        (*FREE, "--target-ratio", 0.5, "--implementation", "selection=released"),
        ("selection=released changes nothing",),
    ),
}


@pytest.mark.parametrize(("words", "fragments"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_explained(tokencost, words, fragments):
    result = tokencost("solve", *MODEL, *words)
    assert result.status == 2
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    for fragment in fragments:
        assert fragment in result.err


def test_a_formula_without_meaning(tokencost):
    words = ("--model", "llama3.2-vision-90b", "--tokens", "?", "--target-ratio", 0.5)
    result = tokencost("solve", *words, "--convention", "survey")
    assert result.status == 2
    assert "--convention survey has no figure for llama3.2-vision-90b" in result.err


@pytest.mark.parametrize("typed", ["1/3", "33.333333333%"])
def test_a_ratio_as_a_fraction_or_percentage(tokencost, typed):
    words = ("solve", *MODEL, "--prune-layer", 2, "--keep", "?", "--format", "json")
    target = tokencost(*words, "--target-ratio", typed).json()["target"]
    assert target["amount"] == pytest.approx(1 / 3, rel=1e-9)


@pytest.mark.parametrize(
    ("method", "target", "values"),
    [
        # four published lists; grids of 24, 12, 8 and 6 of 24 tokens a side: 576, 144, 64, 36
        ("sparsevlm", 100, (64, 192, 4)),
        ("tokenpacker", 143, (36, 576, 4)),
    ],
)
def test_budgets_that_there_are(tokencost, method, target, values):
    words = ("solve", *MODEL, "--method", method, "--budget", "free")
    words += ("--target-average-tokens", target)
    free = tokencost(*words, "--format", "json").json()["free"]
    assert (free["first"], free["last"], free["values_priced"]) == values
    assert "all 4 values that there are priced" in tokencost(*words).out


def test_a_grid_is_the_answer(tokencost):
    words = ("solve", *MODEL, "--method", "tokenpacker", "--budget", "free", "--format", "json")
    found = tokencost(*words, "--target-average-tokens", 143).json()["solutions"]
    assert [one["value"] for one in found] == [64, 144]
    assert [one["entering_visual_tokens"] for one in found] == [64, 144]
