"""`tokencost devices check` and `calibrate`: what both share, and the script of profiles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from measured_files import (
    USUAL,
    measured_file,
    measured_lines,
)
from refusals import assert_one_sentence

ROOT = Path(__file__).parents[2]


@pytest.fixture
def measured(tmp_path):
    return measured_file(tmp_path)


FORMATS = ("table", "json", "csv", "markdown", "latex")


@pytest.mark.parametrize("form", FORMATS)
def test_every_form(tokencost, measured, form):
    for command, shown in (("check", "mlp_up_proj"), ("calibrate", "compute")):
        if command == "calibrate":
            pytest.importorskip("scipy")
        words = ("devices", command, measured, "--device", "a100", "--format", form)
        result = tokencost(*words)
        assert (result.status, result.err) == (0, "")
        if form in ("json", "csv"):
            assert shown in result.out
        else:
            assert "e_c" in result.out


#: Words after `devices check FILE` and `devices calibrate FILE`, fragments of the sentence.
MISTAKES = {
    "no device": ((), ("--device is missing", "tokencost devices list")),
    "unknown device": (("--device", "a1000-80gb"), ("--device a1000-80gb is not known",)),
    "bits a word": (("--device", "a100", "--bits", "x"), ("--bits x is not a whole number",)),
    "bits of no arithmetic": (("--device", "a100", "--bits", 7), ("--bits 7", "32, 16, 8, 4")),
    "bits that are not native": (
        ("--device", "v100", "--bits", 4),
        ("--bits 4 has no arithmetic on v100", "choose from 32, 16"),
    ),
    "format": (("--device", "a100", "--format", "xml"), ("--format xml is not a choice",)),
    "output": (
        ("--device", "a100", "--output", "/no/where/x.toml"),
        ("--output /no/where/x.toml is in a directory that does not exist",),
    ),
}


@pytest.mark.parametrize("command", ["check", "calibrate"])
@pytest.mark.parametrize(("words", "fragments"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_explained(tokencost, measured, command, words, fragments):
    assert_one_sentence(tokencost("devices", command, measured, *words), *fragments)


def test_files_that_are_read_are_not_written(tokencost, tmp_path, measured):
    device = tmp_path / "mine.toml"
    device.write_text('base = "a100"\n')
    before = measured.read_text()
    for command, output, fragment in (
        ("check", measured, "is the file of the measurements"),
        ("check", device, "is the file of the device"),
        ("calibrate", device, "is the file of the device"),
        ("calibrate", measured, "does not end in .toml"),
    ):
        words = ("devices", command, measured, "--device", device, "--output", output)
        assert_one_sentence(tokencost(*words), "--output", fragment)
    assert measured.read_text() == before
    assert device.read_text() == 'base = "a100"\n'


def test_the_script_of_profiles(tmp_path):
    pytest.importorskip("scipy")
    script = ROOT / "benchmarks" / "gemm_profiles.py"

    def run(*words):
        return subprocess.run(
            [sys.executable, script, *map(str, words)], capture_output=True, text=True, check=False
        )

    good = measured_file(tmp_path, measured_lines(USUAL, noise=0.05), "gemm-a100.csv")
    result = run(good)
    assert (result.returncode, result.stderr) == (0, "")
    # half of the rows are 5 % long, half short: 1/1.05 and 1/0.95, on average 5.01 %
    assert "| a100-80-sxm | of the preset | 5.0 |" in result.stdout
    # The same times of a device that is thought three times as fast: 3.17 times the peak rate,
    # 1.64 times the bandwidth; its own fit takes 0.24 and 0.55 of them, the A100's does not.
    result = run(good, f"h100={good}")
    assert result.returncode == 1
    assert "h100-sxm, products:" in result.stderr
    assert "is above 7.5 %" in result.stderr
    assert result.stdout.count("| of the others: e_c ") == 2
    assert run(f"nowhere={good}").returncode == 2
    assert run().returncode == 2


def test_the_documented_file_is_made_up_by_rule():
    path = ROOT / "docs" / "examples" / "measured.csv"
    assert path.read_text().splitlines() == measured_lines(noise=0.04)
