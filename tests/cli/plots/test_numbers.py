"""The numbers behind the figures, by hand: LLaVA-1.5-7B on one image and 64 text tokens.

32 layers of width 4096 with 32 heads of 128, FFN 11008; 24 encoder layers on 577 tokens.
"""

from __future__ import annotations

import json

import pytest

MODEL = ("--model", "llava-1.5-7b")
PRUNED = (*MODEL, "--prune-layer", 2, "--keep", 0.5)
DENSE, KEPT = 576 + 64, 288 + 64
#: FLOP of the whole prefill, of its encoder and of its connector (conventions.md, measured).
EXACT, VISION, CONNECTOR, HEAD = 8_910_375_321_600, 381_918_216_192, 24_159_191_040, 262_668_288


@pytest.fixture
def numbers(tokencost, tmp_path):
    def run(*words: object) -> list[dict]:
        figure, data = tmp_path / "a.svg", tmp_path / "a.json"
        result = tokencost("plot", *words, "--output", figure, "--data", data)
        assert result.status == 0, result.err
        return json.loads(data.read_text())["rows"]

    return run


def of(rows: list[dict], **wanted: object) -> list[dict]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def only(rows: list[dict], **wanted: object) -> dict:
    (row,) = of(rows, **wanted)
    return row


def test_costs_of_layers(numbers):
    rows = numbers("layers", *PRUNED)
    scores = of(rows, component="decoder", part="attention scores")
    assert [row["baseline"] for row in scores] == [2 * 2 * DENSE**2 * 4096] * 32
    after = [DENSE] * 2 + [KEPT] * 30
    assert [row["scheduled"] for row in scores] == [2 * 2 * n**2 * 4096 for n in after]
    networks = of(rows, component="decoder", part="feed-forward")
    assert [row["scheduled"] for row in networks] == [2 * 3 * n * 4096 * 11008 for n in after]
    encoder = of(rows, component="vision", part="attention projections")
    assert [row["baseline"] for row in encoder] == [2 * 4 * 577 * 1024**2] * 24


def test_tokens_of_layers(numbers):
    rows = numbers("tokens", *PRUNED)
    for side, tokens in (
        ("baseline", [DENSE] * 32),
        ("scheduled", [DENSE] * 2 + [KEPT] * 30),
    ):
        for quantity in ("processed", "KV stored"):
            found = of(rows, side=side, quantity=quantity, panel="decoder")
            assert [row["tokens"] for row in found] == tokens
    assert {row["text_and_structural_tokens"] for row in rows} == {64}
    assert {row["panel"] for row in rows} == {"decoder"}, "the encoder is as it was"


def test_tokens_of_cross_attention(numbers):
    words = ("--model", "llama3.2-vision-11b", "--prune-layer", 10, "--keep", 0.5)
    rows = numbers("tokens", *words)
    keys = of(rows, panel="cross-attention", side="scheduled", quantity="processed")
    # 4 tiles of 1601 tokens in layers 3 and 8; half of them from layer 10 on
    assert {row["layer"]: row["tokens"] for row in keys} == {
        layer: 6404 if layer < 10 else 3202 for layer in (3, 8, 13, 18, 23, 28, 33, 38)
    }
    stored = of(rows, panel="decoder", side="scheduled", quantity="KV stored")
    assert len(stored) == 40 - 8, "layers of cross-attention have no cache of the sequence"
    assert {row["tokens"] for row in stored} == {65}


def test_tokens_of_a_merging_encoder(numbers, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text("[encoder]\nmerged_per_layer = 16\n")
    rows = numbers("tokens", *MODEL, "--schedule", plan)
    encoder = of(rows, panel="encoder", side="scheduled", quantity="processed")
    assert [row["tokens"] for row in encoder] == [577 - 16 * layer for layer in range(24)]
    ffn = of(rows, panel="encoder", side="scheduled", quantity="in the FFN")
    assert [row["tokens"] for row in ffn] == [577 - 16 * layer for layer in range(1, 25)]


@pytest.mark.parametrize(
    ("convention", "amount", "dense"),
    [
        ("survey", 1_899_432_509_440, 3_328_599_654_400),
        ("gated", 2_433_283_522_560, 4_252_017_623_040),
        ("exact", 5_272_907_120_640, EXACT),
    ],
)
def test_costs_of_a_grid(numbers, convention, amount, dense):
    grid = ("--prune-layer", "0:4:2", "--keep", "0.25:1:0.25")
    rows = numbers("ratio", *MODEL, *grid, "--convention", convention)
    assert len(rows) == 3 * 4
    row = only(rows, prune_layer=2, keep="0.5")
    assert (row["scheduled"], row["baseline"]) == (amount, dense)
    assert row["ratio"] == amount / dense
    assert row["visual_tokens_kept"] == 288
    whole = of(rows, keep="1")
    assert [one["ratio"] for one in whole] == [1.0] * 3
    assert only(rows, prune_layer=0, keep="0.75")["visual_tokens_kept"] == 432


def test_ratios_of_a_grid_are_exact(numbers):
    rows = numbers("ratio", *MODEL, "--visual-tokens", 2880, "--prune-layer", "1:2")
    keeps = list(dict.fromkeys(row["keep"] for row in rows))
    assert keeps == [str(n / 20).removesuffix(".0") for n in range(1, 21)]
    # floor(0.7 · 2880) in binary floats is 2015
    assert only(rows, keep="0.7", prune_layer=1)["visual_tokens_kept"] == 2016


def test_a_grid_by_default_leaves_a_token(numbers):
    # ⌊0.05 · 9⌋ and ⌊0.1 · 9⌋ are 0: the first ratio is 0.15
    rows = numbers("ratio", *MODEL, "--visual-tokens", 9, "--prune-layer", "1:2")
    assert rows[0]["keep"] == "0.15"
    assert rows[0]["visual_tokens_kept"] == 1


def test_memory_of_phases(numbers):
    rows = numbers("memory", *PRUNED)
    loaded = only(rows, phase="load", side="baseline")
    # 13.157 GiB of weights (hardware.md 4.4), cuBLAS's workspace of 10 MiB
    assert loaded["weights"] == 14_126_854_144
    assert (loaded["fixed"], loaded["kv_cache"], loaded["other"]) == (10 * 2**20, 0, 0)
    each = 2 * 32 * 128 * 2  # keys and values of a token in one layer, 16 bits
    for side, tokens in (("baseline", [DENSE] * 32), ("scheduled", [DENSE] * 2 + [KEPT] * 30)):
        cache = of(rows, panel="KV cache", side=side)
        assert [row["total"] for row in cache] == [each * n for n in tokens]
        prefill = of(rows, phase="prefill", side=side)
        assert [row["layer"] for row in prefill] == list(range(32))
        assert prefill[31]["kv_cache"] == each * sum(tokens)
        shown = of(rows, panel="phases", side=side)
        for row in shown:
            assert row["total"] == sum(
                row[term] for term in ("weights", "fixed", "kv_cache", "other")
            )
        (peak,) = of(shown, peak=True)
        assert peak["total"] == max(row["total"] for row in shown)
    assert not of(rows, phase="decode"), "no forward runs"
    assert of(numbers("memory", *PRUNED, "--new-tokens", 2), phase="decode")


def test_memory_beside_a_device_counts_its_context(numbers):
    rows = numbers("memory", *PRUNED, "--device", "a100-80gb")
    assert only(rows, phase="load", side="baseline")["fixed"] == 10 * 2**20 + 2**29


def test_operators_of_a_device(numbers):
    rows = numbers("roofline", *PRUNED, "--device", "a100-80gb")
    row = only(rows, side="baseline", stage="prefill", kernel="gate + up")
    flops = 2 * DENSE * 4096 * 22016
    moved = 2 * 4096 * 22016 + 2 * DENSE * (4096 + 22016)
    assert row["launches"] == 32
    assert (row["flops"], row["bytes"]) == (32 * flops, 32 * moved)
    assert row["flop_per_byte"] == pytest.approx(flops / moved, rel=1e-12)
    # Efficiencies that were fitted: ((F/(0.75·312T))^1.5 + (B/(0.9·2039G))^1.5)^(2/3) + 6 µs
    compute, memory = flops / (0.75 * 312e12), moved / (0.9 * 2039e9)
    seconds = (compute**1.5 + memory**1.5) ** (2 / 3) + 6e-6
    assert row["central"] == pytest.approx(32 * seconds, rel=1e-9)
    assert row["flop_per_second"] == pytest.approx(flops / seconds, rel=1e-9)
    for one in rows:
        assert one["flop_per_second"] < min(312e12, 2039e9 * one["flop_per_byte"]), "both roofs"


def test_times_of_stages(numbers):
    words = (*PRUNED, "--device", "a100-80gb", "--new-tokens", 8, "--load-ms", 40)
    rows = numbers("latency", *words)
    from vlm_tokencost.costmodel import Schedule, Workload, evaluate
    from vlm_tokencost.costmodel.clock import Running
    from vlm_tokencost.costmodel.latency import latency
    from vlm_tokencost.presets import load_model
    from vlm_tokencost.presets.device import load_device

    report = evaluate(
        load_model("llava-1.5-7b"), Workload(new_tokens=8), Schedule.keep(0.5, layer=2)
    )
    found = latency(report, load_device("a100-80gb", "--device"), Running(load_ms=40))
    sides = {"baseline": found.dense, "scheduled": found.scheduled, "text only": found.text_only}
    for run, side in sides.items():
        for name in ("vision", "prefill", "decode"):
            row = only(rows, run=run, name=name)
            assert [row["lower"], row["central"], row["upper"]] == list(side.stages[name].time)
        assert only(rows, run=run, name="load")["central"] == 0.04
        stages = of(rows, run=run, kind="stage")
        whole = only(rows, run=run, name="last token")
        first = only(rows, run=run, name="first token")
        for bound in ("lower", "central", "upper"):
            assert sum(row[bound] for row in stages) == pytest.approx(whole[bound], rel=1e-12)
            decode = only(rows, run=run, name="decode")[bound]
            assert whole[bound] - decode == pytest.approx(first[bound], rel=1e-9)
        # eager Python launches 32 layers in each of 7 forwards, 0.85 ms each
        assert only(rows, run=run, name="decode")["central"] >= 7 * 32 * 0.85e-3


def test_shares_of_a_sequence(numbers):
    rows = numbers("length", *MODEL, "--up-to", 3)
    one = {row["part"]: row for row in of(rows, count=1)}
    assert {part: row["amount"] for part, row in one.items()} == {
        "encoder": VISION,
        "connector": CONNECTOR,
        "head": HEAD,
        "LLM attention scores": 32 * 4 * DENSE**2 * 4096,
        "LLM attention projections": 32 * 2 * 4 * DENSE * 4096**2,
        "LLM feed-forward": 32 * 2 * 3 * DENSE * 4096 * 11008,
    }
    assert one["encoder"]["share"] == VISION / EXACT
    three = {row["part"]: row for row in of(rows, count=3)}
    assert three["encoder"]["amount"] == 3 * VISION
    assert three["LLM attention scores"]["amount"] == 32 * 4 * (3 * 576 + 64) ** 2 * 4096
    assert three["encoder"]["sequence_tokens"] == 3 * 576 + 64
    for count in (1, 2, 3):
        shares = [row["share"] for row in of(rows, count=count)]
        assert sum(shares) == pytest.approx(1, rel=1e-12)


def test_shares_over_text(numbers):
    rows = numbers(
        "length", *MODEL, "--over", "text-tokens", "--up-to", 100, "--convention", "gated"
    )
    last = of(rows, count=100)
    n = 576 + 100
    assert {row["part"]: row["amount"] for row in last} == {
        "LLM attention projections": 32 * 4 * n * 4096**2,
        "LLM attention scores": 32 * 2 * n**2 * 4096,
        "LLM feed-forward": 32 * 3 * n * 4096 * 11008,
    }
    assert {row["unit"] for row in rows} == {"MAC"}
    assert {row["visual_tokens"] for row in rows} == {576}


def test_counts_that_a_schedule_does_not_fit_are_left_out(numbers):
    words = ("--over", "visual-tokens", "--up-to", 10, "--tokens", 8)
    rows = numbers("length", *MODEL, *words)
    assert {row["count"] for row in rows} == {8, 9, 10}


def test_costs_of_methods(numbers):
    methods = ("--methods", "visionzip,fastv", "--budget", 192, "--text-tokens", 0)
    rows = numbers("compare", *MODEL, *methods, "--convention", "gated")
    assert [row["method"] for row in rows] == ["dense", "visionzip", "fastv"]

    def layers(n: int) -> int:
        return 4 * n * 4096**2 + 2 * n**2 * 4096 + 3 * n * 4096 * 11008

    # 576 visual tokens and no text: 3.817 T MAC; 192 in all 32 layers: 1.253 T
    assert rows[0]["scheduled"] == 3_817_152_184_320 == 32 * layers(576)
    assert rows[1]["scheduled"] == 32 * layers(192)
    assert rows[1]["average_visual_tokens"] == 192
    assert rows[1]["ratio"] == 32 * layers(192) / 3_817_152_184_320


def test_components_of_methods(numbers):
    rows = numbers("compare", *MODEL, "--methods", "visionzip", "--budget", 192)
    dense = rows[0]
    assert (dense["vision"], dense["connector"], dense["head"]) == (VISION, CONNECTOR, HEAD)
    assert dense["scheduled"] == EXACT
    assert dense["selection"] == 0


def test_methods_without_figures_keep_their_reason(numbers):
    rows = numbers("compare", *MODEL, "--methods", "fastv,tome", "--visual-tokens", 100)
    (tome,) = of(rows, method="tome")
    assert tome["scheduled"] is None
    assert "cannot be given when the encoder merges tokens" in tome["reason"]


def test_methods_in_order_of_cost(numbers):
    methods = ("--methods", "fastv,visionzip,sparsevlm,pyramiddrop", "--budget", 192)
    rows = numbers("compare", *MODEL, *methods, "--sort", "exact")
    costs = [row["scheduled"] for row in rows[1:]]
    assert rows[0]["method"] == "dense"
    assert costs == sorted(costs)
    assert len(set(costs)) > 1
