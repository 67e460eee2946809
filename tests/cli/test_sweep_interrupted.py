"""Sweeps that are interrupted, and go on where they stopped."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from swept import FEW, FORMS, GRID, ROWS, table
from vlm_tokencost.cli import sweep_arrays, sweep_parquet
from vlm_tokencost.cli.sweep_block import Block
from vlm_tokencost.cli.sweep_grid import Column
from vlm_tokencost.cli.sweep_text import lines
from vlm_tokencost.costmodel import __version__


def running(*words, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "vlm_tokencost.cli", "sweep", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def interrupt(process, path, number):
    """Interrupt a run when it has begun to write."""
    for _ in range(1200):
        files = [one for one in path.parent.iterdir() if ".sweep.json" not in one.name]
        if any(one.stat().st_size > 3000 for one in files):
            break
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(number)
    return process.communicate(timeout=120)


#: More rows than a test waits for, one by one and over arrays.
LONG = ("--model", "llava-1.5-7b", "--text-tokens", "0:99999")
LONG_ARRAYS = (*GRID[:-1], "2..4")


@pytest.mark.parametrize(
    ("words", "form", "number"),
    [
        pytest.param(LONG, "csv", signal.SIGINT, id="one by one, csv"),
        pytest.param(LONG, "jsonl", signal.SIGTERM, id="one by one, jsonl"),
        pytest.param(LONG, "parquet", signal.SIGINT, id="one by one, parquet"),
        pytest.param(LONG_ARRAYS, "csv", signal.SIGTERM, id="arrays, csv"),
        pytest.param(LONG_ARRAYS, "jsonl", signal.SIGINT, id="arrays, jsonl"),
        pytest.param(LONG_ARRAYS, "parquet", signal.SIGTERM, id="arrays, parquet"),
    ],
)
def test_interrupts_leave_a_valid_file(tokencost, tmp_path, form, words, number):
    path = tmp_path / f"grid.{form}"
    if form == "parquet" and words is LONG:
        process = running(*words, "--output", path)
        time.sleep(4)  # less than a row group: nothing is written yet
        process.send_signal(number)
        _, told = process.communicate(timeout=120)
    else:
        process = running(*words, "--output", path)
        _, told = interrupt(process, path, number)
    assert process.returncode == 128 + number, told
    match = re.search(r"interrupted after ([0-9,]+) of [0-9,]+ rows, all complete; (.*)\n", told)
    assert match[2] == "the same command with --resume goes on"
    done = int(match[1].replace(",", ""))
    if form == "parquet":
        import pyarrow.parquet as pq

        assert pq.read_metadata(path).num_rows == done
        assert [one.name for one in tmp_path.iterdir()] == ["grid.parquet"]
    else:
        text = path.read_text()
        assert text.count("\n") == done + (form == "csv") and text.endswith("\n")
    goal = done + 3
    found = tokencost("sweep", *words, "--limit", goal, "--resume", "--output", path)
    assert found.status == 0, found.err
    if done < 200_000 and form != "parquet":
        straight = tmp_path / f"straight.{form}"
        tokencost("sweep", *words, "--limit", goal, "--output", straight)
        assert straight.read_bytes() == path.read_bytes()


def test_a_killed_run_is_gone_on_with(tokencost, tmp_path):
    path = tmp_path / "grid.csv"
    process = running(*LONG, "--output", path)
    interrupt(process, path, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    there = path.read_text().count("\n") - 1
    goal = there + 2
    found = tokencost("sweep", *LONG, "--limit", goal, "--resume", "--output", path)
    assert f"{there:,} are there" in found.err
    assert len(table(path)) == goal


def test_a_killed_run_leaves_no_half_parquet(tmp_path):
    path = tmp_path / "grid.parquet"
    process = running(*LONG_ARRAYS, "--output", path)
    interrupt(process, path, signal.SIGKILL)
    assert not path.exists()


def test_a_reader_that_leaves(tmp_path):
    process = running(*LONG_ARRAYS)
    for _ in range(3):
        process.stdout.readline()
    process.stdout.close()
    told = process.stderr.read()
    assert process.wait(timeout=120) == 0
    assert "Traceback" not in told and "Broken" not in told
    process.stderr.close()


def test_progress_is_for_terminals(tmp_path):
    """Only where standard error is one: share, rate and time left."""
    for quiet in (False, True):
        ours, theirs = pty.openpty()
        words = [*GRID, "--output", tmp_path / f"grid-{quiet}.csv", *(["--quiet"] * quiet)]
        process = subprocess.Popen(
            [sys.executable, "-m", "vlm_tokencost.cli", "sweep", *map(str, words)],
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        )
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], 120)[0]:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not chunk:
                break
            shown += chunk
        os.close(ours)
        assert process.wait(timeout=120) == 0
        text = shown.decode()
        assert ("rows/s" in text) is not quiet
        assert ("left" in text) is not quiet
        if quiet:
            assert text == ""


def test_texts_that_need_quotes():
    columns = (Column("reason", "text"), Column("n", "count"), Column("other", "text"))
    block = Block(2, {"reason": 'a "b", 5 %', "n": [1, 2], "other": ["x,y", None]})
    assert lines(columns, "csv", block) == ('"a ""b"", 5 %",1,"x,y"\n"a ""b"", 5 %",2,\n')
    parsed = [json.loads(line) for line in lines(columns, "jsonl", block).splitlines()]
    versions = {"schema_version": "1", "tokencost_version": __version__}
    assert parsed == [
        {**versions, "reason": 'a "b", 5 %', "n": 1, "other": "x,y"},
        {**versions, "reason": 'a "b", 5 %', "n": 2, "other": None},
    ]
    same = Block(3, {"reason": "100 %", "n": 1, "other": None})
    assert lines(columns, "csv", same) == "100 %,1,\n" * 3


def test_blocks_join_in_every_form(tokencost, tmp_path, monkeypatch):
    for form in FORMS:
        tokencost("sweep", *GRID, "--output", tmp_path / f"large.{form}")
    monkeypatch.setattr(sweep_arrays, "BLOCK", 1000)
    monkeypatch.setattr(sweep_parquet, "GROUP", 3000)
    for form in FORMS:
        tokencost("sweep", *GRID, "--output", tmp_path / f"small.{form}")
        assert table(tmp_path / f"small.{form}") == table(tmp_path / f"large.{form}")
    assert len(table(tmp_path / "small.csv")) == ROWS


@pytest.mark.parametrize("words", [FEW, GRID], ids=["one by one", "arrays"])
def test_nothing_heavy_is_imported(words):
    code = (
        "import sys\n"
        "from vlm_tokencost.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, "sweep", *words, "--limit", "40"],
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {"torch", "transformers", "pandas", "pyarrow", "matplotlib", "scipy", "rich"}
    if words is FEW:
        heavy |= {"numpy"}
    assert not heavy & set(run.stderr.split())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own figure")
def test_memory_stays_flat(tmp_path):
    """Five times the rows need the same memory."""
    code = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from vlm_tokencost.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    words = [*GRID[:-1], "3", "--quiet"]
    for form, few in (("parquet", 300_000), ("csv", 70_000)):
        peaks = []
        for rows in (few, 5 * few):
            path = tmp_path / f"{rows}.{form}"
            cut = ("--limit", rows, "--output", path)
            run = subprocess.run(
                [sys.executable, "-c", code, "sweep", *words, *map(str, cut)],
                capture_output=True,
                text=True,
                check=True,
            )
            peaks.append(int(run.stdout) // 1024)
            path.unlink()
        assert peaks[1] < 300
        assert peaks[1] < peaks[0] + 40, peaks
