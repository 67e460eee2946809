"""Grids that tests sweep, and their files of any form."""

from __future__ import annotations

import csv
import json

FORMS = ("csv", "jsonl", "parquet")
#: 31 · 10 + C(31, 2) · C(10, 2) rows, over arrays.
GRID = ("--model", "llava-1.5-7b", "--prune-layer", "1:31", "--keep", "0.1:1:0.1")
GRID = (*GRID, "--stages", "1..2")
ROWS = 310 + 465 * 45
#: 60 rows, one by one.
FEW = ("--model", "llava-1.5-7b", "--batch", "1:20", "--tokens", "64,128,600")


def table(path):
    """Return the rows of a file of any form."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return [
                {name: None if value == "" else value for name, value in row.items()}
                for row in csv.DictReader(file)
            ]
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        versions = ("schema_version", "tokencost_version")  # of JSON alone
        return [{key: row[key] for key in row if key not in versions} for row in rows]
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()
