"""`tokencost frontier`: what cannot be searched is told in one sentence, before anything is."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from searched import MODEL, answer, profile

STAGE = ("--prune-layer", "1:31", "--keep", "0.05:1:0.05")
#: (words after `frontier --model llava-1.5-7b`, fragments of the sentence)
MISTAKES = {
    "no layer": (("--keep", 0.5), ("--prune-layer is missing", "1:31")),
    "no share": (("--prune-layer", 3), ("--keep is missing",)),
    "a layer too far": (
        ("--prune-layer", "1:32", "--keep", 0.5),
        ("--prune-layer 32 is not a layer of this model", "0 to 31"),
    ),
    "no token": (
        ("--prune-layer", 2, "--keep", "0.001:1:0.1"),
        ("--keep 0.001 leaves none of the 576",),
    ),
    "an empty range": (("--prune-layer", "9:3", "--keep", 0.5), ("is an empty range",)),
    "more stages than levels": (
        ("--prune-layer", "1:9", "--keep", "0.5,1", "--stages", 2),
        ("--stages 2 makes no schedule", "(9)", "(1)"),
    ),
    "too many stages": ((*STAGE, "--stages", "1..5"), ("--stages 1..5 is above 4 stages",)),
    "too large a grid": (
        (*STAGE[:2], "--keep", "0.002:1:0.002", "--stages", 4),
        ("--prune-layer and --keep make", "give fewer of them"),
    ),
    "two budgets": (
        (*STAGE, "--max-ratio", 0.5, "--max-flops", "2T"),
        ("--max-ratio and --max-flops are two budgets",),
    ),
    "a ratio below the floor": (
        (*STAGE, "--max-ratio", "5%"),
        ("--max-ratio 5% is out of reach", "takes 20.55 %", "less than 13.89 %"),
    ),
    "a cost below the floor": (
        (*STAGE, "--max-flops", "1T"),
        ("--max-flops 1T is out of reach", "1.8308 TFLOP", "1.2374 TFLOP"),
    ),
    # 16,384 B · (640 + 31 · (28 + 64)) and 16,384 B · 32 · 64
    "a cache below the floor": (
        (*STAGE, "--max-kv-bytes", "10MB"),
        ("--max-kv-bytes 10MB is out of reach", "57.2130 MB", "33.5544 MB"),
    ),
    "a malformed ratio": ((*STAGE, "--max-ratio", "x"), ("--max-ratio x is not a ratio",)),
    "malformed bytes": ((*STAGE, "--max-kv-bytes", "5iB"), ("--max-kv-bytes 5iB is not",)),
    "a cache's convention": (
        (*STAGE, "--max-kv-bytes", "1GB", "--convention", "survey"),
        ("--convention survey does not change what --max-kv-bytes counts",),
    ),
    "a time without a device": (
        (*STAGE, "--max-ttft", "50ms"),
        ("--max-ttft 50ms needs a device", "--device ID"),
    ),
    "a time without a unit": (
        (*STAGE, "--max-ttft", 50, "--device", "h100"),
        ("--max-ttft 50 is not a time", "50ms"),
    ),
    "no time": (
        (*STAGE, "--max-ttft", "0ms", "--device", "h100"),
        ("--max-ttft 0ms is not above 0",),
    ),
    "a time's convention": (
        (*STAGE, "--max-ttft", "50ms", "--device", "h100", "--convention", "exact"),
        ("--convention exact does not change what --max-ttft counts",),
    ),
    "a time below the floor": (
        (*STAGE, "--max-ttft", "1ms", "--device", "a100-80gb", "--runtime", "graph"),
        ("--max-ttft 1ms is out of reach", "the cheapest schedule of the grid takes", " ms"),
    ),
    "an unknown device": (
        (*STAGE, "--max-ttft", "1ms", "--device", "h1000"),
        ("--device h1000 is not known",),
    ),
    "a runtime of no device": (
        (*STAGE, "--runtime", "graph"),
        ("--runtime graph changes nothing without --device",),
    ),
    "causal times": ((*STAGE, "--causal", "--device", "h100"), ("--causal is of counting FLOPs",)),
    "a released selection": (
        (*STAGE, "--implementation", "selection=released"),
        ("selection=released changes nothing",),
    ),
    "one point": ((*STAGE, "--points", 1), ("--points 1 is below 2",)),
    "an unknown rounding": ((*STAGE, "--rounding", "up"), ("--rounding up is not a choice",)),
    "a method": ((*STAGE, "--method", "fastv"), ("--method is not an option",)),
}


@pytest.mark.parametrize(("words", "fragments"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_end_in_one_sentence(tokencost, words, fragments):
    result = tokencost("frontier", *MODEL, *words)
    assert result.status == 2
    assert not result.out
    assert result.err.count("\n") == 1
    assert all(fragment in result.err for fragment in fragments), result.err


@pytest.mark.parametrize(
    ("option", "low"),
    [
        (("--max-ratio",), "1%"),
        (("--max-flops",), "1G"),
        (("--convention", "survey", "--max-flops"), "1G"),
        (("--max-kv-bytes",), "1MB"),
        (("--device", "a100-80gb", "--runtime", "graph", "--max-ttft"), "1ms"),
        (("--device", "a100-80gb", "--max-ttft"), "1ms"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_what_a_refusal_asks_for_suffices(tokencost, option, low):
    error = tokencost("frontier", *MODEL, *STAGE, *option, low).err
    amount, unit = re.search(
        r"; give at least ([0-9.]+) (%|[TGMk]?(?:FLOP|MAC|B)|ms)", error
    ).groups()
    typed = amount + unit.replace("FLOP", "").replace("MAC", "")
    found = answer(tokencost, *MODEL, *STAGE, *option, typed)
    assert found["points"][0]["cost"] == pytest.approx(found["cost"]["least"])
    less = f"{0.999 * float(amount):.6f}{unit.replace('FLOP', '').replace('MAC', '')}"
    assert tokencost("frontier", *MODEL, *STAGE, *option, less).status == 2


def test_a_convention_without_meaning_is_refused(tokencost):
    words = ("--model", "llama3.2-vision-11b", *STAGE, "--convention", "survey")
    result = tokencost("frontier", *words)
    assert result.status == 2
    assert "has no figure for llama3.2-vision-11b" in result.err


FULL = "".join(f"{layer},1\n" for layer in range(32))
#: (text of the file, fragment of the sentence)
FILES = {
    "empty": ("", "is empty"),
    "no header": ("0,1\n" + FULL[4:], "at line 1: 0,1 is not the header; write layer,weight"),
    "a word": ("layer,weight\n0,1\n\n1,much\n", "at line 4: weight much is not a number"),
    "below 0": ("layer,weight\n0,-1\n", "at line 2: weight -1 is not a number of at least 0"),
    "no number": ("layer,weight\n0,nan\n", "at line 2: weight nan is not"),
    "nothing": ("layer,weight\n0,\n", "at line 2: weight '' is not"),
    "no layer": ("layer,weight\nfirst,1\n", "at line 2: layer first is not a whole number"),
    "too far": ("layer,weight\n32,1\n", "at line 2: layer 32 is not one of this model's 32"),
    "twice": ("layer,weight\n0,1\n0,1\n", "at line 3: layer 0 is given twice"),
    "three cells": ("layer,weight\n0,1,2\n", "at line 2: has 3 cells under 2 columns"),
    "a layer missing": ("layer,weight\n" + FULL[4:], "gives no weight of layer 0; give each of"),
    "all 0": ("layer,weight\n" + FULL.replace(",1\n", ",0\n"), "has no weight above 0"),
    "not CSV": ('layer,weight\n0,"1\n', "is not CSV"),
}


@pytest.mark.parametrize(("text", "fragment"), FILES.values(), ids=FILES)
def test_wrong_profiles_name_their_line(tokencost, tmp_path, text, fragment):
    path = tmp_path / "w.csv"
    path.write_text(text)
    result = tokencost("frontier", *MODEL, *STAGE, "--importance", path)
    assert result.status == 2
    assert not result.out
    assert result.err.startswith("error: --importance ")
    assert fragment in result.err, result.err


def test_files_that_are_no_profiles(tokencost, tmp_path):
    for path, fragment in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file")):
        result = tokencost("frontier", *MODEL, *STAGE, "--importance", path)
        assert result.status == 2
        assert fragment in result.err
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    result = tokencost("frontier", *MODEL, *STAGE, "--importance", tmp_path / "binary")
    assert "is not UTF-8 text" in result.err
    (tmp_path / "large").write_bytes(b"0" * (1 << 21))
    result = tokencost("frontier", *MODEL, *STAGE, "--importance", tmp_path / "large")
    assert "is larger than 1 MiB" in result.err


def test_weights_where_there_are_no_visual_tokens(tokencost, tmp_path):
    flat = profile(tmp_path / "flat.csv", [1] * 40)
    words = ("--model", "llama3.2-vision-11b", "--prune-layer", 3, "--keep", 0.5)
    result = tokencost("frontier", *words, "--importance", flat)
    assert result.status == 2
    assert "at line 2: layer 0 has a weight, and the model has no visual tokens there" in result.err


def test_the_profile_is_not_written_over(tokencost, tmp_path):
    path = profile(tmp_path / "w.csv", [1] * 32)
    before = path.read_text()
    result = tokencost("frontier", *MODEL, *STAGE, "--importance", path, "--output", path)
    assert result.status == 2
    assert "is read for --importance" in result.err
    assert path.read_text() == before


def test_mistakes_are_told_before_numpy_is_imported():
    code = (
        "import sys\nfrom vlm_tokencost.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print('numpy' in sys.modules)"
    )
    for words, imported in (((*STAGE, "--points", "1"), "False"), (STAGE, "True")):
        run = subprocess.run(
            [sys.executable, "-c", code, "frontier", *MODEL, *words],
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.splitlines()[-1] == imported
