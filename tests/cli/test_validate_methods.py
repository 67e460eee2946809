"""`tokencost validate` on methods: what runs, what does not, and how that is told."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from shallow_models import shallow
from vlm_tokencost.cli import request

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "validate.schema.json").read_text())
MODEL = ("--model", "llava-1.5-7b")


@pytest.fixture
def few_layers(monkeypatch):
    """Let every model be shallow."""
    monkeypatch.setattr(request, "load_model", shallow)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--method", "codecsight"), "--method codecsight leads to stream, which is run by no"),
        (("--method", "adaspark"), "--method adaspark leads to layers, which score a share of the"),
        (("--schedule", "sparse pairs 0.5"), "--schedule sparse pairs 0.5 at column 1: layers sco"),
        (("--schedule", "stream stride 0.25"), "--schedule stream stride 0.25 at column 1: in st"),
        (
            ("--schedule", "input patches 0.5"),
            "--schedule input patches 0.5 at column 15: in input:",
        ),
    ],
)
def test_what_cannot_be_run_is_told_by_what_was_typed(tokencost, words, sentence):
    result = tokencost("validate", "--model", "llava-1.5-7b", *words)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"error: {sentence}"), result.err
    assert result.err.count("\n") == 1


@pytest.mark.usefixtures("few_layers")
def test_a_method_without_a_reducer_says_that_its_selection_did_not_run(tokencost):
    answer = tokencost("validate", *MODEL, "--method", "vispco", "--format", "json").json()
    jsonschema.validate(answer, SCHEMA)
    rows = {row["component"]: row for row in answer["rows"] if row["side"] == "scheduled"}
    selection = rows.pop("selection")
    assert (selection["counted"], selection["difference"]) == (None, None)
    assert selection["unseen"] == ["the reducer of VisPCO"]
    assert selection["analytic"] > 0
    assert {row["difference"] for row in rows.values()} == {0}
    (run,) = (run for run in answer["runs"] if run["side"] == "scheduled")
    assert run["not_compared"] == selection["analytic"]
    table = " ".join(tokencost("validate", *MODEL, "--method", "vispco").out.split())
    assert (
        "the reducer of VisPCO did not run, and evenly spaced tokens stand for its choice" in table
    )


@pytest.mark.usefixtures("few_layers")
def test_every_way_of_a_mixture_is_run(tokencost):
    words = ("--schedule", "mix 1/4: (compress 64) / 1/2: (keep 0.5 @ 2) / 1/4: skip")
    answer = tokencost("validate", *MODEL, *words, "--format", "json").json()
    jsonschema.validate(answer, SCHEMA)
    ways = [run["way"] for run in answer["runs"]]
    assert ways == [
        None,
        {"number": 1, "probability": "1/4"},
        {"number": 2, "probability": "1/2"},
    ]
    assert [max(run["tokens_per_layer"]) for run in answer["runs"]] == [640, 128, 640]
    assert {row["difference"] for row in answer["rows"]} == {0}
