"""Answers of `tokencost frontier`, and profiles for it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "frontier.schema.json").read_text())
MODEL = ("--model", "llava-1.5-7b")


def answer(tokencost, *words):
    """Return the JSON."""
    result = tokencost("frontier", *words, "--format", "json")
    assert result.status == 0, result.err
    found = result.json()
    jsonschema.validate(found, SCHEMA)
    return found


def profile(path: Path, weights: list[object]) -> Path:
    path.write_text("layer,weight\n" + "".join(f"{n},{w}\n" for n, w in enumerate(weights)))
    return path
