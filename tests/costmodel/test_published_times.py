"""The script that compares intervals with published measurements, on rows with their source."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from vlm_tokencost.cli.latency_words import speed_up_notes
from vlm_tokencost.costmodel.timing import Interval

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "latency_records.py"
USUAL = {
    "method": "vanilla",
    "model": "Llama-2-7B",
    "setting": "TinyChat TTFT",
    "gpu": "RTX 4090",
    "dtype": "fp16",
    "batch": 1,
    "prompt_tokens": 2048,
    "prompt_tokens_note": None,
    "output_tokens": 1,
    "quantity": "ttft",
    "value": 211,
    "unit": "ms",
    "stage": "LLM only",
    "grade": "A",
    "source": "https://github.com/mit-han-lab/llm-awq/blob/main/tinychat/README.md",
}
#: AIM's README says that LLM-Viewer computed its times.
AIM = {
    **USUAL,
    "method": "AIM",
    "model": "LLaVA-OneVision-7B",
    "setting": "32 frames",
    "gpu": "A100 (LLM-Viewer model)",
    "quantity": "prefill_time",
    "prompt_tokens": None,
    "grade": "X",
    "source": "AIM",
}


def run(tmp_path, records):
    path = tmp_path / "records.json"
    path.write_text(json.dumps({"records": records}))
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(path)], capture_output=True, text=True, check=False
    )


def test_a_measurement_inside(tmp_path):
    done = run(tmp_path, [USUAL])
    assert done.returncode == 0, done.stderr
    assert "1 of 1 inside (100.0%)" in done.stdout
    # 211 ms measured; the device alone takes 2048 tokens · 2 · 6.48e9 / 165.2e12 = 160.6 ms
    line = next(line for line in done.stdout.splitlines() if line.startswith("| 0 |"))
    measured, lower, central, upper = (float(cell) for cell in line.split("|")[8:12])
    assert measured == 211.0
    assert 160.6 < lower < measured < upper < 4 * lower
    assert lower < central < upper


def test_a_measurement_outside_fails_with_its_reason(tmp_path):
    done = run(tmp_path, [{**USUAL, "value": 100}])
    assert done.returncode == 1
    assert "0 of 1 inside" in done.stdout
    assert "times as fast as peaks allow (likely accumulates in fp16" in done.stdout


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"grade": "C"}, "grade C: scope or hardware missing"),
        ({"gpu": None}, "the source does not tell the device"),
        ({"gpu": "A100 (from memory)"}, "the source does not tell the device"),
        ({"prompt_tokens": None}, "prompt tokens or batch are not told"),
        ({"batch": None}, "prompt tokens or batch are not told"),
        ({"quantity": "end_to_end_time", "output_tokens": None}, "the output length is not told"),
        ({"stage": "includes vision encode probably"}, "which stages it spans is not told"),
        ({"unit": "GB"}, "no time: memory"),
        ({"method": "PDrop"}, "the tokens of PDrop in each layer are not told"),
        ({"gpu": "RTX 9999"}, "device RTX 9999 is not known"),
        ({"model": "Other-9B"}, "no preset of Other-9B"),
    ],
)
def test_what_is_not_told_is_dropped_with_its_reason(tmp_path, changes, reason):
    done = run(tmp_path, [USUAL, {**USUAL, **changes}])
    assert "1 of 1 inside" in done.stdout, done.stderr
    assert "1 dropped:" in done.stdout
    assert f"- 1: {reason}" in done.stdout


def test_computed_times_are_found_by_rule_and_by_source(tmp_path):
    # 439.58 ms is plausible by itself; 41.22 ms in the same table is 91 % of the peak.
    records = [
        USUAL,
        {**AIM, "value": 439.58, "note": "99.63 TFLOP -> 227 TFLOP/s"},
        {**AIM, "value": 41.22, "note": "11.64 TFLOP -> 282 TFLOP/s"},
    ]
    done = run(tmp_path, records)
    found = done.stdout.split("computed, by rule:")[1]
    assert "- 1 (X, AIM, 439.58 ms): another time of the same source is impossible" in found
    assert "- 2 (X, AIM, 41.22 ms): 91% of the dense peak" in found
    assert "- 0" not in found
    alone = run(tmp_path, records[:2]).stdout.split("computed, by rule:")[1]
    assert not alone.strip()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "holds no records"),
        ("{", "holds no records"),
        ('{"records": []}', "no record that can be compared (it is empty)"),
        (json.dumps({"records": [{**USUAL, "grade": "C"}]}), "scope or hardware missing"),
    ],
)
def test_a_file_without_records(tmp_path, text, problem):
    path = tmp_path / "none.json"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


def pairs_of(tmp_path, records):
    """Return the printed line of each method, and the sums by kind."""
    out = run(tmp_path, records).stdout
    table = out.split("| of like bounds |")[1].split("dropped:")[0].splitlines()
    assert table[0].strip() == "inside these |"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table if "→" in line]
    return rows, [line for line in table if line.startswith("- speed-ups of")]


#: A prefill in transformers whose tokens are reduced before the LLM.
PRUNED = {"method": "VisionZip", "prompt_tokens": 220, "setting": "sdpa", "value": 27.8}
DENSE = {**USUAL, "model": "LLaVA-1.5-7B", "setting": "sdpa", "gpu": "A100-80GB", "value": 218}


def test_a_published_speed_up_stands_beside_its_interval(tmp_path):
    dense = {**DENSE, "prompt_tokens": 2940}
    rows, (line,) = pairs_of(tmp_path, [dense, {**dense, **PRUNED}])
    (row,) = rows
    index, model, device, what, tokens, _, measured, bounds, central, inside, *alike = row
    assert (index, model, device) == ("1", "LLaVA-1.5-7B, VisionZip", "a100-80-sxm")
    assert (what, tokens) == ("prefill", "2940 → 220")
    assert float(measured) == 7.84  # 218 / 27.8
    least, most = (float(one) for one in bounds.split(" – "))
    assert least < float(central) < most
    lower, upper = (float(one) for one in alike[0].split(" – "))
    assert least < lower < upper < most
    assert (inside, alike[1]) == ("yes", "yes")
    assert "1 of 1 inside (100.0%)" in line
    assert "1 of 1 inside like bounds (100.0%)" in line
    over = f"{7.84 / float(central):.2f}"
    assert line.endswith(f"measured over central {over} to {over}")


def test_speed_ups_outside_say_on_which_side(tmp_path):
    dense = {**DENSE, "prompt_tokens": 2940}
    records = [dense, {**dense, **PRUNED, "value": 80}, {**dense, **PRUNED, "value": 0.1}]
    rows, (line,) = pairs_of(tmp_path, records)
    # 2.7 is less than like bounds give, but between unlike ones; 2180 is beyond any.
    assert [row[-3] for row in rows] == ["yes", "no: more"]
    assert [row[-1] for row in rows] == ["no: less", "no: more"]
    assert "1 of 2 inside (50.0%)" in line
    assert "0 of 2 inside like bounds (0.0%)" in line


#: (source, model, device, format, quantity, baseline ms, {method and setting: (tokens, ms)}); the
#: tables of papers as notes on them quote them.
METHODS = [
    (
        "FastV README, latency of the first token",
        ("LLaVA-1.5-13B", "A100-80GB", "fp16", "first_token_latency", 203),
        {f"FastV K=2 R={r}%": (650, ms) for r, ms in ((25, 181), (50, 155), (75, 124))},
    ),
    (
        "FastV README, 4 bits",
        ("LLaVA-1.5-13B", "A100-80GB", "int4-weights", "first_token_latency", 308),
        {f"FastV K=2 R={r}%": (650, ms) for r, ms in ((25, 277), (50, 275), (75, 245))},
    ),
    (
        "arXiv 2412.04467, table 4",
        ("LLaVA-NeXT-7B", "A800", "fp16", "prefill_time", 218),
        {"VisionZip 160 visual tokens": (220, 27.8)},
    ),
    *(
        (
            f"CoIn, CVPR 2026, {quantity}",
            ("LLaVA-NeXT-7B", "A100-80GB", "fp16", quantity, before),
            {f"{name} 320 visual tokens": (380, ms) for name in ("VisionZip", "DivPrune", "CoIn")},
        )
        for quantity, before, ms in (("prefill_time", 233, 36), ("decode_time_per_token", 27, 21))
    ),
]


def test_the_published_pairs_are_as_the_commands_say(tmp_path):
    records = []
    for source, (model, gpu, dtype, quantity, before), reduced in METHODS:
        first = quantity == "first_token_latency"
        usual = {**USUAL, "model": model, "gpu": gpu, "dtype": dtype, "quantity": quantity}
        usual |= {"source": source, "grade": "B", "output_tokens": 1 if first else None}
        usual["stage"] = "image encode + LLM prefill, eager" if first else "LLM"
        note = None if first else "2880 nominal (about 2340 for a 640x480 COCO image)"
        prompt = {"prompt_tokens": 650 if first else 2940, "prompt_tokens_note": note}
        records.append({**usual, **prompt, "setting": "", "value": before})
        for what, (tokens, ms) in reduced.items():
            method, setting = what.split(" ", 1)
            own = {"method": method, "setting": setting, "value": ms}
            records.append({**usual, "prompt_tokens": tokens, "prompt_tokens_note": None, **own})
    rows, (line,) = pairs_of(tmp_path, records)
    assert len(rows) == 13
    assert {row[-3] for row in rows} == {"yes"}
    assert "13 of 13 inside (100.0%)" in line
    assert "5 of 13 inside like bounds (38.5%)" in line
    assert "measured over central 0.54 to 1.29" in line
    some = Interval(1.0, 2.0, 3.0)
    (said,) = speed_up_notes("end to end", some, some.scaled(0.5))
    assert "the 13 with a method were 0.54 to 1.29 times" in said
    assert "held only 5 of those 13" in said


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "another"},
        {"gpu": "A6000"},
        {"model": "LLaVA-1.5-13B"},
        {"dtype": "int4-weights"},
        {"batch": 2},
        {"output_tokens": 7},
    ],
)
def test_runs_of_other_conditions_are_no_pair(tmp_path, changes):
    dense = {**DENSE, "prompt_tokens": 2940}
    rows, sums = pairs_of(tmp_path, [dense, {**dense, **PRUNED, **changes}])
    assert (rows, sums) == ([], [])


def test_shorter_prompts_stand_for_reductions_down_to_a_sixteenth(tmp_path):
    records = [{**USUAL, "prompt_tokens": n, "value": n / 10} for n in (4096, 2048, 256, 255)]
    rows, (line,) = pairs_of(tmp_path, records)
    assert rows == []
    assert line.startswith("- speed-ups of a shorter prompt: ")
    assert " of 2 inside" in line
