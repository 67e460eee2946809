"""`tokencost validate --measure`: which suite runs, and what is refused before any work."""

from __future__ import annotations

import json

import pytest
from vlm_tokencost.validation import measure
from vlm_tokencost.validation.measure import Options


@pytest.fixture
def asked(monkeypatch):
    """Stand in for the suite; collect what it is asked."""
    calls = []

    def run_suite(options, path, progress):
        calls.append((options, path))
        progress(1, 2, "a case")
        document = {"rows": [], "not_measured": [{"reason": "no time was left"}]}
        path.write_text(json.dumps(document))
        return document

    monkeypatch.setattr(measure, "run_suite", run_suite)
    return calls


def test_the_suite_by_default(tokencost, asked, tmp_path):
    path = tmp_path / "measured.json"
    result = tokencost("validate", "--measure", "--device", "cpu", "--output", str(path))
    assert result.status == 0, result.err
    assert asked == [(Options(device="cpu", scale="reduced"), path)]
    assert result.out.startswith("| model | batch | method |")
    assert result.err.splitlines() == [
        "1/2 a case",
        "1 cases were not measured: no time was left",
        f"wrote {path}",
    ]


def test_a_part_of_the_suite(tokencost, asked, tmp_path):
    path = tmp_path / "measured.json"
    words = ["--model", "llava-1.5-7b", "--method", "divprune", "--batch", "4"]
    words += ["--device", "cpu", "--scale", "full", "--max-minutes", "2.5", "--output", str(path)]
    assert tokencost("validate", "--measure", *words).status == 0
    ((options, _),) = asked
    assert options == Options(
        models=("llava-1.5-7b",),
        methods=("divprune",),
        batches=(4,),
        device="cpu",
        scale="full",
        max_minutes=2.5,
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "--output is missing; name a file: results are written as they come"),
        (["--output", "-"], "--output is missing"),
        (["--output", "no/such/folder/m.json"], "is in a directory that does not exist"),
        (["--output", "m.json", "--format", "csv"], "--format csv cannot go with --measure"),
        (["--output", "m.json", "--counter", "torch"], "--counter torch cannot go with --measure"),
        (["--output", "m.json", "--budget", "64"], "--budget is fixed by --measure"),
        (["--output", "m.json", "--keep", "0.5"], "--keep is fixed by --measure"),
        (["--output", "m.json", "--image-size", "9x9"], "--image-size is fixed by --measure"),
        (["--output", "m.json", "--batch", "0"], "--batch 0"),
        (["--output", "m.json", "--max-minutes", "0"], "--max-minutes 0 is not a time in minutes"),
        (["--output", "m.json", "--max-minutes", "nan"], "--max-minutes nan is not a time"),
        (["--output", "m.json", "--device", "meta"], "--device meta has shapes and no time"),
        (["--output", "m.json", "--device", "tpu"], "--device tpu is not a choice"),
        (["--output", "m.json", "--scale", "tiny"], "--scale tiny is not a choice"),
        (
            ["--output", "m.json", "--device", "cpu", "--model", "llava"],
            "--model llava is not known",
        ),
        (
            ["--output", "m.json", "--device", "cpu", "--model", "qwen2-vl-7b", "--method", "tome"],
            "--method tome cannot run: ",
        ),
        (
            ["--output", "m.json", "--device", "cpu", "--method", "fastw"],
            "--method fastw is not known; did you mean fastv",
        ),
    ],
)
def test_mistakes(tokencost, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    result = tokencost("validate", "--measure", *words)
    assert (result.status, result.out) == (2, "")
    assert sentence in result.err and result.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_max_minutes_needs_measure(tokencost):
    result = tokencost("validate", "--model", "llava-1.5-7b", "--max-minutes", "3")
    assert (result.status, result.out) == (2, "")
    assert "--max-minutes 3 needs --measure; add --measure" in result.err
