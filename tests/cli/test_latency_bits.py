"""Bits of options beside those that a schedule states, and of a mixture's ways."""

from __future__ import annotations

import csv
import io

import pytest
from refusals import assert_one_sentence
from timed_answers import LLAVA, asked, told

FOUR = ("--schedule", "bits weights 4 kv 8")
ALL = "bits weights 4 activations 8 kv 8"


@pytest.mark.parametrize("command", ["latency", "crossover", "plot latency"])
@pytest.mark.parametrize(
    ("option", "own"), [("--bits", 4), ("--activation-bits", 8), ("--kv-bits", 8)]
)
def test_bits_are_not_given_twice(tokencost, tmp_path, command, option, own):
    words = (*command.split(), *LLAVA, "--schedule", ALL, option, "16")
    if command == "plot latency":
        words = (*words, "--output", tmp_path / "times.svg")
    assert_one_sentence(
        tokencost(*words), f"{option} 16 stands beside the schedule's own {own} bits; leave one"
    )
    assert not (tmp_path / "times.svg").exists()


def test_a_method_with_bits_has_them(tokencost):
    words = ("--model", "llava-1.5-7b", "--device", "a100-80gb", "--method", "quota")
    assert_one_sentence(tokencost("latency", *words, "--kv-bits", "8"), "the schedule's own 4 bits")


def test_options_hold_where_the_schedule_says_nothing(tokencost):
    running = asked(tokencost, "latency", *LLAVA, *FOUR, "--activation-bits", 8)["running"]
    assert running["baseline"]["activation_bits"] == running["scheduled"]["activation_bits"] == 8
    assert (running["scheduled"]["weight_bits"], running["scheduled"]["kv_bits"]) == (4, 8)
    assert running["baseline"]["weight_bits"] == 16


def test_a_sweep_gives_the_reason(tokencost):
    answer = tokencost("sweep", *LLAVA, "--kv-bits", "16,8", "--schedule", "bits kv 4")
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert [row["reason"] for row in rows] == [
        f"--kv-bits {bits} stands beside the schedule's own 4 bits; leave one of them out"
        for bits in (16, 8)
    ]
    assert {row["time_to_first_token_scheduled_central_s"] for row in rows} == {""}


def test_ways_with_bits_of_their_own_are_shown(tokencost):
    words = (*LLAVA, "--runtime", "graph", "--new-tokens", 3)
    mixed = (*words, "--schedule", "mix 1/2: (bits weights 4) / 1/2: dense")
    answer = asked(tokencost, "latency", *mixed)
    assert [one["weight_bits"] for one in answer["running"]["ways"]] == [4, 16]
    four = asked(tokencost, "latency", *words, "--schedule", "bits weights 4")
    decode = [one["stages"]["decode"]["scheduled"]["time"]["central"] for one in (answer, four)]
    dense = answer["stages"]["decode"]["baseline"]["time"]["central"]
    assert decode[0] == pytest.approx((decode[1] + dense) / 2)
    text = told(tokencost, "latency", *mixed)
    assert "scheduled, by way, W4A16, 16-bit cache or W16A16, 16-bit cache" in text
    assert "4-bit weights are turned into bf16" in text
    assert four["running"]["ways"] == []
