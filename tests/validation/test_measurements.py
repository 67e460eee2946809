"""The committed measurements: their rows, their fields, and the page that shows them.

`python tests/validation/test_measurements.py` writes their tables into the page.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from vlm_tokencost.validation.measure import Options, markdown, plan_suite
from vlm_tokencost.validation.measure.table import caption

ROOT = Path(__file__).parents[2]
MEASUREMENTS = ROOT / "validation" / "measurements"
PAGE = ROOT / "docs" / "measurements.md"


def committed():
    return sorted(MEASUREMENTS.glob("*.json"))


@pytest.mark.parametrize("path", committed(), ids=lambda path: path.stem)
def test_committed_rows_are_complete_and_priced_as_today(path):
    from measuring import check_row  # this file also runs by itself, without the helpers

    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["schema_version"] == 1
    suite = document["suite"]
    for row in document["rows"]:
        check_row(row)
    models = tuple(dict.fromkeys(row["model"] for row in document["rows"]))
    batches = tuple(sorted({row["batch"] for row in document["rows"]}))
    options = Options(models=models, batches=batches, device="cpu", scale=suite["scale"])
    priced = {case.label: case.report for case in plan_suite(options)}
    for row in document["rows"]:
        what = "baseline" if row["method"] is None else f"{row['method']} {row['budget']}"
        label = f"{row['model']}, {what}, batch {row['batch']}, {row['attention']}"
        report = priced[label]
        assert row["flops"]["prefill"] == dict(report.bill("exact").by_component()), label
        assert row["tokens_per_layer"] == list(report.scheduled.query), label


def test_every_field_is_explained():
    text = (MEASUREMENTS / "README.md").read_text(encoding="utf-8")
    (first, *_) = committed()
    document = json.loads(first.read_text(encoding="utf-8"))
    row = document["rows"][0]
    parts = (document, document["suite"], document["hardware"], row, row["wall_seconds"])
    for name in {name for part in parts for name in part}:
        assert f"`{name}`" in text, name


def test_the_page_shows_the_committed_files():
    page = PAGE.read_text(encoding="utf-8")
    assert committed()
    assert page == with_tables(page)
    for path in committed():
        assert f"<!-- {path.name} -->" in page


def with_tables(page):
    for path in committed():
        document = json.loads(path.read_text(encoding="utf-8"))
        begin, end = f"<!-- {path.name} -->\n", "<!-- end -->"
        head, _, rest = page.partition(begin)
        shown = f"{caption(document)}\n{markdown(document)}"
        page = f"{head}{begin}{shown}{end}{rest.partition(end)[2]}"
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
