"""Running a suite: resuming, interruption, limits, refusals, its file."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import pytest
from measuring import FEW, FakeBench, check_row
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.measure import Options, plan_suite, run_suite
from vlm_tokencost.validation.measure import document as files
from vlm_tokencost.validation.memory import weight_bytes, working_bytes


def run(options, path, bench, **rest):
    return run_suite(options, path, bench=bench, clock=bench.clock, **rest)


def test_a_real_run_on_the_cpu(tmp_path):
    path = tmp_path / "measured.json"
    told = []
    document = run_suite(FEW, path, lambda *now: told.append(now))
    assert json.loads(path.read_text()) == document
    assert [row["method"] for row in document["rows"]] == [None, "fastv"]
    assert document["not_measured"] == []
    assert told[-2:] == [(1, 2, "llava-1.5-7b, fastv 21, batch 1, sdpa"), (2, 2, "done")]
    for row in document["rows"]:
        check_row(row)
    # Nothing is left to do the second time.
    bench = FakeBench()
    assert run(FEW, path, bench)["rows"] == document["rows"]
    assert bench.prepared == bench.measured == []


def test_resuming_measures_what_is_missing(tmp_path):
    path = tmp_path / "measured.json"
    label = "llava-1.5-7b, fastv 21, batch 1, sdpa"
    broken = FakeBench(failing={label: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        run(FEW, path, broken)
    assert broken.released == 1
    kept = json.loads(path.read_text())
    assert [row["method"] for row in kept["rows"]] == [None]
    (missing,) = kept["not_measured"]
    assert missing["method"] == "fastv"
    assert missing["reason"] == "interrupted; run the same command again to go on"
    bench = FakeBench()
    document = run(FEW, path, bench)
    assert bench.measured == [label]
    assert [row["method"] for row in document["rows"]] == [None, "fastv"]
    assert document["not_measured"] == []


def test_the_limit_stops_before_a_case_that_would_cross_it(tmp_path):
    options = replace(FEW, shares=(Fraction(1, 3), Fraction(2, 9)), max_minutes=1)
    bench = FakeBench(seconds=25)  # cases end at 25 and 50 s; a third would end at 75
    document = run(options, tmp_path / "measured.json", bench)
    assert len(document["rows"]) == 2
    (missing,) = document["not_measured"]
    assert (missing["budget"], missing["reason"]) == (
        14,
        "no time was left; run the same command again to go on",
    )


def test_models_share_the_time(tmp_path):
    options = replace(FEW, models=("llava-1.5-7b", "qwen2.5-vl-7b"), max_minutes=1)
    bench = FakeBench(seconds=20)  # of 60 s each model gets 30, enough for one of its cases
    document = run(options, tmp_path / "measured.json", bench)
    assert [row["model"] for row in document["rows"]] == ["llava-1.5-7b", "qwen2.5-vl-7b"]
    assert len(bench.prepared) == 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            InvalidInput("schedule", None, "cannot be run", "choose"),
            "schedule cannot be run; choose",
        ),
        (RuntimeError("CUDA out of memory. Tried …"), "the device ran out of memory"),
    ],
)
def test_a_case_that_cannot_run_is_listed(tmp_path, error, reason):
    bench = FakeBench(failing={"llava-1.5-7b, baseline, batch 1, sdpa": error})
    document = run(FEW, tmp_path / "measured.json", bench)
    assert [row["method"] for row in document["rows"]] == ["fastv"]
    assert [case["reason"] for case in document["not_measured"]] == [reason]


def test_other_errors_are_not_hidden(tmp_path):
    path = tmp_path / "measured.json"
    bench = FakeBench(failing={"llava-1.5-7b, fastv 21, batch 1, sdpa": RuntimeError("a bug")})
    with pytest.raises(RuntimeError, match="a bug"):
        run(FEW, path, bench)
    assert len(json.loads(path.read_text())["rows"]) == 1


def test_a_schedule_that_does_not_fit_is_listed_with_its_reason(tmp_path):
    # FastV at 1/20 of 64 tokens: its first two layers alone average 2 · 64 / 32 = 4 > 3.
    options = replace(FEW, shares=(Fraction(1, 20),))
    document = run(options, tmp_path / "measured.json", FakeBench())
    (missing,) = document["not_measured"]
    assert (missing["method"], missing["budget"]) == ("fastv", 3)
    assert "layers before 2 keep all 64 visual tokens" in missing["reason"]


def test_too_little_memory_is_listed_or_refused(tmp_path, monkeypatch):
    from vlm_tokencost.validation import build
    from vlm_tokencost.validation.measure import suite

    cases = plan_suite(FEW)
    needs = [
        weight_bytes(case.report, "float32") + working_bytes(case.report, "float32", "sdpa")
        for case in cases
    ]
    assert needs[0] > needs[1]
    for module in (build, suite):
        monkeypatch.setattr(module, "free_bytes", lambda _: needs[1])
    document = run(FEW, tmp_path / "one.json", FakeBench())
    assert [row["method"] for row in document["rows"]] == ["fastv"]
    assert document["not_measured"][0]["reason"].startswith("needs about 0.0 GB of memory")
    for module in (build, suite):
        monkeypatch.setattr(module, "free_bytes", lambda _: 1)
    with pytest.raises(InvalidInput, match=r"^--device cpu needs 0.0 GB for llava-1.5-7b"):
        run(FEW, tmp_path / "none.json", FakeBench())


@pytest.mark.parametrize(
    ("part", "change", "sentence"),
    [
        ("hardware", {"torch": "1.0"}, r"was measured with torch 1\.0, which is 2"),
        ("suite", {"seed": 7}, "was measured with seed 7, which is 0 now"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, part, change, sentence):
    path = tmp_path / "measured.json"
    run(FEW, path, FakeBench())
    known = json.loads(path.read_text())
    known[part] |= change
    path.write_text(json.dumps(known))
    with pytest.raises(InvalidInput, match=sentence) as refused:
        run(FEW, path, FakeBench())
    assert str(refused.value).endswith("; name another file, or delete this one")
    assert json.loads(path.read_text()) == known


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"rows": []}'])
def test_a_file_without_measurements_is_left_alone(tmp_path, content):
    path = tmp_path / "notes.json"
    path.write_text(content)
    with pytest.raises(InvalidInput, match="holds no measurements; name another file"):
        run(FEW, path, FakeBench())
    assert path.read_text() == content


def test_a_directory_that_is_not_there_is_told_at_once(tmp_path):
    bench = FakeBench()
    with pytest.raises(InvalidInput, match="cannot be written"):
        run(FEW, tmp_path / "none" / "measured.json", bench)
    assert bench.measured == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "measured.json"
    files.write(path, {"rows": [1]})

    def fails(*_):
        raise OSError(28, "full")

    monkeypatch.setattr(files.Path, "replace", fails)
    with pytest.raises(InvalidInput, match=r"cannot be written \(full\)"):
        files.write(path, {"rows": [1, 2]})
    assert json.loads(path.read_text()) == {"rows": [1]}
    assert list(tmp_path.iterdir()) == [path], "no temporary file is left"


def test_without_a_gpu_cuda_is_refused(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(InvalidInput, match="--device cuda is not available"):
        run_suite(Options(), tmp_path / "measured.json")


def test_commit_of_no_checkout(tmp_path):
    assert files.commit(tmp_path) is None


def test_commit_tells_changed_code(tmp_path):
    import subprocess

    def git(*words):
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "validation" / "measurements").mkdir(parents=True)
    (tmp_path / "validation" / "code.py").touch()
    git("add", ".")
    git("commit", "-m", "first")
    clean = files.commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "validation" / "measurements" / "new.json").touch()
    assert files.commit(tmp_path) == clean
    (tmp_path / "validation" / "more.py").touch()
    assert files.commit(tmp_path) == f"{clean}-dirty"
