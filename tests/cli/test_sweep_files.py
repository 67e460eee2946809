"""Files of `sweep`: formats, records, going on, interrupts, mistakes, progress, imports."""

from __future__ import annotations

import json
import re
import sys

import pytest
from swept import FEW, FORMS, GRID, ROWS, table


def texts(rows):
    """Return rows with values that compare across forms: 2.0 in Parquet is 2 elsewhere."""
    return [
        {
            name: str(int(value)) if str(value).endswith(".0") else str(value)
            for name, value in ((n, float(v) if _is_number(v) else v) for n, v in row.items())
        }
        for row in rows
    ]


def _is_number(value):
    return value is not None and re.fullmatch(r"[0-9.]+(e[+-]?[0-9]+)?", str(value))


@pytest.mark.parametrize("words", [GRID[:-2], FEW], ids=["arrays", "one by one"])
def test_all_forms_hold_the_same_rows(tokencost, tmp_path, words):
    tables = []
    for form in FORMS:
        path = tmp_path / f"grid.{form}"
        found = tokencost("sweep", *words, "--output", path)
        assert (found.status, found.out) == (0, "")
        tables.append(texts(table(path)))
    assert tables[0] == tables[1] == tables[2]
    assert tokencost("sweep", *words).out == (tmp_path / "grid.csv").read_text()


def test_types_in_parquet(tokencost, tmp_path):
    import pyarrow.parquet as pq

    path = tmp_path / "grid.parquet"
    tokencost("sweep", *GRID, "--limit", 10, "--output", path)
    types = {field.name: str(field.type) for field in pq.read_schema(path)}
    assert types["model"] == types["reason"] == "string"
    assert types["prune_layer_1"] == types["batch"] == "int64"
    assert types["exact_scheduled_FLOP"] == types["keep_1"] == "double"
    record = json.loads(pq.read_metadata(path).metadata[b"tokencost"])
    assert record["rows"] == ROWS
    assert [column["name"] for column in record["columns"]] == list(types)
    assert [path.name for path in tmp_path.iterdir()] == ["grid.parquet"]


def test_totals_beyond_the_exact_integers(tokencost, tmp_path):
    words = (*GRID[:-2], "--batch", 10**6)
    stream = {}
    for form in FORMS:
        path = tmp_path / f"grid.{form}"
        told = tokencost("sweep", *words, "--output", path).err
        assert "totals from 2^53 on are rounded, within 1e-14 of the exact ones\n" in told
        stream[form] = [float(row["exact_scheduled_FLOP"]) for row in table(path)]
    assert stream["csv"] == stream["jsonl"] == stream["parquet"]
    assert min(stream["csv"]) > 2**53
    # no digits that are not known: 1.2e18, not twenty digits
    assert "e+" in table(tmp_path / "grid.csv")[0]["exact_scheduled_FLOP"]
    (row,) = json.loads(f"[{tokencost('sweep', *words, '--format', 'jsonl', '--limit', 1).out}]")
    alone = ("--prune-layer", 1, "--keep", 0.1, "--batch", 10**6, "--format", "json")
    exact = tokencost("ratio", "--model", "llava-1.5-7b", *alone).json()["conventions"]["exact"]
    off = abs(int(row["exact_scheduled_FLOP"]) - exact["scheduled"]) / exact["scheduled"]
    assert off <= 1e-14


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("words", [GRID, FEW], ids=["arrays", "one by one"])
def test_going_on_gives_the_same_file(tokencost, tmp_path, form, words):
    whole, part = tmp_path / f"whole.{form}", tmp_path / f"part.{form}"
    tokencost("sweep", *words, "--output", whole)
    tokencost("sweep", *words, "--limit", 7, "--output", part)
    assert len(table(part)) == 7
    for limit in (7, 29, 41):
        found = tokencost("sweep", *words, "--limit", limit, "--resume", "--output", part)
        assert found.status == 0, found.err
        assert len(table(part)) == limit
    assert "29 are there" in found.err
    found = tokencost("sweep", *words, "--resume", "--output", part)
    assert found.status == 0, found.err
    assert table(part) == table(whole)
    if form != "parquet":
        assert part.read_bytes() == whole.read_bytes()
    found = tokencost("sweep", *words, "--resume", "--output", part)
    assert (found.status, "nothing is left to do" in found.err) == (0, True)


def test_going_on_without_a_file_begins(tokencost, tmp_path):
    for form in FORMS:
        path = tmp_path / f"grid.{form}"
        assert tokencost("sweep", *FEW, "--resume", "--output", path).status == 0
        assert len(table(path)) == 60


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_torn_last_line_is_written_anew(tokencost, tmp_path, form):
    path = tmp_path / f"grid.{form}"
    tokencost("sweep", *FEW, "--output", path)
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) - 30, len(whole) // 2, 700, 30, 0):
        path.write_bytes(whole[:length])
        found = tokencost("sweep", *FEW, "--resume", "--output", path)
        assert found.status == 0, found.err
        assert path.read_bytes() == whole


@pytest.mark.parametrize("form", FORMS)
def test_another_grid_is_not_gone_on_with(tokencost, tmp_path, form):
    path = tmp_path / f"grid.{form}"
    tokencost("sweep", *FEW, "--limit", 9, "--output", path)
    before = path.read_bytes()
    others = [
        (*FEW, "--text-tokens", 65),
        (*FEW[:3], "1:21", *FEW[4:]),
        (*FEW, "--logits", "all"),
        (*FEW, "--device", "h100"),
        ("--model", "llava-1.5-13b", *FEW[2:]),
    ]
    for words in others:
        found = tokencost("sweep", *words, "--resume", "--output", path)
        assert (found.status, found.out) == (2, "")
        assert "was made by another grid, other options or another version" in found.err
        assert path.read_bytes() == before


def test_an_edited_file_is_not_gone_on_with(tokencost, tmp_path):
    path = tmp_path / "grid.csv"
    tokencost("sweep", *FEW, "--limit", 9, "--output", path)
    text = path.read_text()
    # The row before last goes: eight rows, of which the last is none of the eighth
    rows = text.splitlines(keepends=True)
    path.write_text("".join(rows[:-2] + rows[-1:]))
    found = tokencost("sweep", *FEW, "--resume", "--output", path)
    assert found.status == 2
    assert "has a last row that this sweep would not have written" in found.err


def test_files_that_no_sweep_made(tokencost, tmp_path):
    for form in FORMS:
        path = tmp_path / f"grid.{form}"
        path.write_text("a,b\n1,2\n")
        found = tokencost("sweep", *FEW, "--resume", "--output", path)
        assert found.status == 2 and path.read_text() == "a,b\n1,2\n"
        wanted = "is not a whole Parquet file" if form == "parquet" else "has no record of a sweep"
        assert wanted in found.err
        assert tokencost("sweep", *FEW, "--output", path).status == 0  # any file is replaced
        assert len(table(path)) == 60


def test_a_parquet_file_of_others(tokencost, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "grid.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    found = tokencost("sweep", *FEW, "--resume", "--output", path)
    assert found.status == 2 and "has no record of a sweep" in found.err


@pytest.mark.parametrize("form", FORMS)
def test_an_unfinished_sweep_is_not_overwritten_unasked(tokencost, tmp_path, form):
    path = tmp_path / f"grid.{form}"
    tokencost("sweep", *FEW, "--limit", 9, "--output", path)
    found = tokencost("sweep", *FEW, "--output", path)
    assert found.status == 2
    assert "holds 9 of the 60 rows of this sweep; add --resume to go on, or remove it" in found.err
    assert len(table(path)) == 9
    assert tokencost("sweep", *FEW, "--limit", 9, "--output", path).status == 0
    assert tokencost("sweep", *FEW, "--limit", 3, "--output", path).status == 0
    other = tokencost("sweep", *FEW, "--text-tokens", 9, "--output", path)  # another one is
    assert other.status == 0


def test_records_tell_what_a_file_is(tokencost, tmp_path):
    path = tmp_path / "grid.csv"
    tokencost("sweep", *GRID, "--limit", 2, "--causal", "--output", path)
    record = json.loads((tmp_path / "grid.csv.sweep.json").read_text())
    assert record["rows"] == ROWS and record["command"] == "sweep"
    assert record["grid"]["options"]["causal"] is True
    assert record["grid"]["axes"] == {"model": ["llava-1.5-7b"]}
    assert record["grid"]["stages"][1]["keep"][:2] == ["1/10", "1/5"]


def test_inputs_are_not_written_over(tokencost, tmp_path):
    plan = tmp_path / "plan.csv"
    plan.write_text('[[stages]]\nfirst_layer = 2\nratio = "0.5"\n')
    words = ("--model", "llava-1.5-7b", "--schedule", plan)
    found = tokencost("sweep", *words, "--output", plan)
    assert found.status == 2 and "is the schedule file" in found.err


def test_a_changed_schedule_file_is_another_sweep(tokencost, tmp_path):
    plan, path = tmp_path / "plan.toml", tmp_path / "grid.csv"
    plan.write_text('[[stages]]\nfirst_layer = 2\nratio = "0.5"\n')
    words = ("--model", "llava-1.5-7b", "--batch", "1:9", "--schedule", plan, "--output", path)
    tokencost("sweep", *words, "--limit", 3)
    plan.write_text('[[stages]]\nfirst_layer = 2\nratio = "0.25"\n')
    assert "another grid" in tokencost("sweep", *words, "--resume").err


def test_pyarrow_that_is_not_there(tokencost, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    path = tmp_path / "grid.parquet"
    found = tokencost("sweep", *FEW, "--output", path)
    assert (found.status, found.out) == (2, "")
    wanted = (
        "pyarrow is not installed; install the extra with: pip install 'vlm-tokencost[parquet]'"
    )
    assert found.err == f"error: {wanted}\n"
    assert not path.exists()
