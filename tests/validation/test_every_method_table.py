"""The committed runs of all methods: complete, without a difference, and shown as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.presets import list_methods
from vlm_tokencost.validation.compare import check
from vlm_tokencost.validation.every_method import BEGIN, END, PAGE, RESULTS, question, table


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return read


def test_it_is_complete(document: dict[str, Any]) -> None:
    assert [entry["method"] for entry in document["entries"]] == list_methods()
    idle = {entry["method"] for entry in document["entries"] if "does_not_run" in entry}
    # Block-sparse attention has no dense kernel; a stream's steps read what no prefill made.
    assert idle == {"adaspark", "codecsight"}


def test_nothing_differs(document: dict[str, Any]) -> None:
    rows = [row for entry in document["entries"] for run in entry["runs"] for row in run["rows"]]
    assert len(rows) > 800
    for row in rows:
        if row["counted"] is None:
            assert (row["component"], row["operator"]) == ("selection", "selection")
            (missing,) = row["unseen"]
            assert missing.startswith(
                ("the reducer of ", "what temporal merging and dynamic cache")
            )
        else:
            assert row["counted"] - row["analytic"] == row["difference"] == 0


def test_the_closed_form_is_still_the_one_that_was_counted(document: dict[str, Any]) -> None:
    for entry in document["entries"]:
        if "does_not_run" in entry:
            with pytest.raises(InvalidInput):
                check(question(entry["method"]))
            continue
        if len(entry["runs"]) > 1 or entry["runs"][0]["way"]:
            continue  # the whole is an expectation over its ways
        report = question(entry["method"])
        (run,) = entry["runs"]
        for phase in ("prefill", "decode"):
            analytic = sum(row["analytic"] for row in run["rows"] if row["phase"] == phase)
            assert report.bill("exact", phase=phase).total == analytic, entry["method"]


def test_the_page_shows_it(document: dict[str, Any]) -> None:
    assert BEGIN + table(document) + END in PAGE.read_text(encoding="utf-8")
