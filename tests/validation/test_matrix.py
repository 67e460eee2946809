"""The committed matrix: complete, without a difference, and shown as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from vlm_tokencost.validation.matrix import (
    BEGIN,
    END,
    MODELS,
    SETTINGS,
    Case,
    cases,
    question,
    table,
)

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((DOCS / "validation.json").read_text(encoding="utf-8"))
    return read


def test_it_is_complete(document: dict[str, Any]) -> None:
    entries = document["entries"]
    assert [Case(entry["model"], entry["method"]) for entry in entries] == cases()
    assert len(entries) == 91  # 13 models × (dense and 6 methods)
    for entry in entries:
        counters = [run["counter"] for run in entry["runs"]]
        assert counters == ([] if "does_not_apply" in entry else ["torch", "fvcore", "profiler"])
    refused = {(e["model"], e["method"]) for e in entries if "does_not_apply" in e}
    assert refused == {
        # Connectors that join or average neighbours; 16 merged tokens per block of 256 patches.
        *((model, "tome") for model in MODELS if "llava" not in model),
        # Visual tokens are keys of cross-attention alone, and all tiles share one attention.
        *(
            ("llama3.2-vision-11b", method)
            for method in ("fastv", "pyramiddrop", "sparsevlm", "visionzip")
        ),
    }


def test_nothing_differs(document: dict[str, Any]) -> None:
    rows = [(run, row) for e in document["entries"] for run in e["runs"] for row in run["rows"]]
    # Prefill: encoder 3, connector 1, decoder 2, head 1; decode forwards: decoder 2, head 1.
    # 13 · 6 − 10 − 4 = 64 methods apply, each with one more row, its selection.
    assert len(rows) == 3 * (13 * 10 + 64 * 11)
    for run, row in rows:
        if row["counted"] is None:
            # Kernels on two frames, and those with padding "valid": torch.profiler knows neither.
            assert (run["counter"], row["operator"]) == ("profiler", "convolution")
            assert row["unseen"] in (["aten.conv3d"], ["aten.conv2d"])
        else:
            assert row["counted"] - row["analytic"] == row["difference"] == 0
    assert {row["phase"] for _, row in rows} == {"prefill", "decode"}


def test_the_closed_form_is_still_the_one_that_was_counted(document: dict[str, Any]) -> None:
    for entry in document["entries"]:
        for setting, run in zip(SETTINGS, entry["runs"], strict=False):
            if setting.scale == "full":
                report = question(Case(entry["model"], entry["method"]), setting)
                for phase in ("prefill", "decode"):
                    counted = sum(r["counted"] for r in run["rows"] if r["phase"] == phase)
                    assert report.bill("exact", phase=phase).total == counted
                assert list(report.scheduled.query) == run["tokens_per_layer"]


def test_the_page_shows_it(document: dict[str, Any]) -> None:
    page = (DOCS / "validation.md").read_text(encoding="utf-8")
    assert BEGIN + table(document) + END in page


def test_golden_figure_among_them(document: dict[str, Any]) -> None:
    # docs/conventions.md: LLaVA-1.5-7B at 640 tokens, whole prefill; nothing of the code at work
    (dense,) = [
        e for e in document["entries"] if (e["model"], e["method"]) == ("llava-1.5-7b", None)
    ]
    rows = [row for row in dense["runs"][0]["rows"] if row["phase"] == "prefill"]
    assert sum(row["counted"] for row in rows) == 8_910_375_321_600
