"""`tokencost latency`: every format, contract, mistakes."""

from __future__ import annotations

import csv
import io

import pytest
from timed_answers import FASTV, LLAVA, asked, schema


def test_the_question_reads_as_in_other_commands():
    cost = schema("cost")["properties"]
    for name in ("workload", "counting", "schedule", "unverified"):
        assert schema("latency")["properties"][name] == cost[name], "update latency.schema.json"
        if name != "schedule":
            assert schema("crossover")["properties"][name] == cost[name]


def test_times_by_stage_and_in_total(tokencost):
    answer = asked(tokencost, "latency", *FASTV, "--new-tokens", 100, "--load-ms", "12.5")
    stages, totals = answer["stages"], answer["totals"]
    for side in ("baseline", "scheduled"):
        for bound in ("lower", "central", "upper"):
            parts = [stage[side]["time"][bound] for stage in stages.values()]
            assert totals["end_to_end"][side][bound] == pytest.approx(sum(parts))
            until_first = sum(parts) - stages["decode"][side]["time"][bound]
            assert totals["time_to_first_token"][side][bound] == pytest.approx(until_first)
        assert stages["load"][side]["time"]["upper"] == 0.0125
    assert stages["decode"]["baseline"]["bound_by"] == "host"
    # 32 layers at 0.85 ms, 99 forwards
    assert stages["decode"]["baseline"]["time"]["central"] == pytest.approx(99 * 32 * 0.85e-3)
    assert totals["end_to_end"]["speed_up"]["central"] < answer["ceiling"]["speed_up"]["central"]
    assert answer["energy_upper_bound_joules"]["baseline"]["central"] == pytest.approx(
        400 * totals["end_to_end"]["baseline"]["central"]
    )


def test_flops_mislead(tokencost):
    words = ("--model", "llava-next-vicuna-7b", "--device", "a100-80gb", "--tokens", 160)
    answer = asked(tokencost, "latency", *words, "--new-tokens", 64)
    # Ten times fewer FLOPs in the LLM, but decode hardly changes.
    assert answer["totals"]["time_to_first_token"]["speed_up"]["central"] > 2
    assert answer["totals"]["end_to_end"]["speed_up"]["central"] < 1.25
    assert answer["flop_speed_up"] > 3
    assert "decode" in answer["ceiling"]["sentence"]


def test_without_a_schedule_both_sides_agree(tokencost):
    answer = asked(tokencost, "latency", *LLAVA)
    assert answer["totals"]["time_to_first_token"]["speed_up"]["central"] == 1
    assert answer["flop_ratio"] == 1
    assert "reaches" not in answer["ceiling"]["sentence"]
    assert "scheduled" not in tokencost("latency", *LLAVA).out.replace("schedule ", "")


def test_every_format_has_the_same_numbers(tokencost):
    answer = asked(tokencost, "latency", *FASTV)
    central = answer["totals"]["time_to_first_token"]["baseline"]["central"]
    rows = list(csv.DictReader(io.StringIO(tokencost("latency", *FASTV, "--format", "csv").out)))
    (row,) = [row for row in rows if row["name"] == "time to first token"]
    assert float(row["baseline_central"]) == central
    assert {row["unit"] for row in rows} == {"s"}
    for form in ("table", "markdown", "latex"):
        text = tokencost("latency", *FASTV, "--format", form).out
        assert f"{1e3 * central:.1f}" in text, form


def test_a_runtime_without_python_and_other_attention(tokencost):
    eager = asked(tokencost, "latency", *LLAVA, "--attention", "eager")
    graph = asked(tokencost, "latency", *LLAVA, "--runtime", "graph", "--attention", "flash")
    assert graph["stages"]["prefill"]["baseline"]["host"]["upper"] == 0
    slow, fast = (one["stages"]["prefill"]["baseline"]["device"] for one in (eager, graph))
    # 32 layers of 26 bytes for 32 · 640² scores at 0.8 of 2039 GB/s, at least
    assert slow["central"] - fast["central"] > 32 * 26 * 32 * 640**2 / (0.8 * 2039e9)


def test_kernels_sum_to_their_stages(tokencost):
    answer = asked(tokencost, "latency", *FASTV, "--new-tokens", 2, "--per-kernel")
    rows = answer["kernels"]
    for side in ("baseline", "scheduled"):
        for stage in ("vision", "connector", "selection", "prefill", "decode"):
            own = [row for row in rows if (row["side"], row["stage"]) == (side, stage)]
            for bound in ("lower", "central", "upper"):
                whole = answer["stages"][stage][side]["device"][bound]
                assert sum(row[bound] for row in own) == pytest.approx(whole)
    (down,) = [
        row
        for row in rows
        if row["side"] == "baseline" and row["stage"] == "prefill" and row["kernel"] == "down"
    ]
    assert (down["launches"], down["flops"]) == (32, 32 * 2 * 640 * 4096 * 11008)
    assert down["bound_by"] == "compute"
    table = tokencost("latency", *FASTV, "--per-kernel").out
    assert "gate + up" in table
    text = tokencost("latency", *FASTV, "--per-kernel", "--format", "csv").out
    listed = list(csv.DictReader(io.StringIO(text)))
    assert {row["kernel"] for row in listed} >= {"down", "scores and values", "norm"}


def test_a_device_of_ones_own(tokencost, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "Mine"\nvendor = "me"\narchitecture = "mine"\nmemory_gb = 80\n'
        "bandwidth_gb_s = 2039\n[peaks]\nbf16 = 312\nfp16 = 312\n"
    )
    words = ("--model", "llava-1.5-7b", "--device", path)
    answer = asked(tokencost, "latency", *words)
    usual = asked(tokencost, "latency", *LLAVA)
    assert answer["device"]["verification"] == "own"
    assert answer["totals"] == usual["totals"]
    refused = tokencost("latency", *words, "--output", path)
    assert (refused.status, refused.out) == (2, "")
    assert "is the device file" in refused.err


@pytest.mark.parametrize("command", ["latency", "crossover"])
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--model", "llava-1.5-7b"), "--device is missing; "),
        (("--model", "llava-1.5-7b", "--device", "a1000-80gb"), "--device a1000-80gb is not known"),
        ((*FASTV, "--runtime", "jit"), "--runtime jit is not a choice; choose from"),
        ((*FASTV, "--attention", "ring"), "--attention ring is not a choice"),
        ((*FASTV, "--bits", "5"), "--bits 5 is not a choice"),
        ((*FASTV, "--kv-bits", "x"), "--kv-bits x is not a choice"),
        ((*FASTV, "--load-ms", "-3"), "--load-ms -3 is not a number of milliseconds"),
        ((*FASTV, "--causal"), "--causal is of counting FLOPs"),
    ],
)
def test_mistakes(tokencost, command, words, sentence):
    answer = tokencost(command, *words)
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {sentence}")
    assert answer.err.count("\n") == 1
