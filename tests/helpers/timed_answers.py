"""Answers of `tokencost latency` and `crossover`, checked against their schemas."""

import json
from pathlib import Path

import jsonschema

DOCS = Path(__file__).parents[2] / "docs"
LLAVA = ("--model", "llava-1.5-7b", "--device", "a100-80gb")
FASTV = (*LLAVA, "--method", "fastv")


def schema(name):
    """Return a command's JSON Schema."""
    return json.loads((DOCS / "schemas" / f"{name}.schema.json").read_text())


def asked(tokencost, name, *words):
    """Return a command's answer as JSON."""
    answer = tokencost(name, *words, "--format", "json")
    assert answer.status == 0, answer.err
    jsonschema.validate(answer.json(), schema(name))
    return answer.json()


def told(tokencost, name, *words):
    """Return what a command prints, on one line."""
    return " ".join(tokencost(name, *words).out.split())
