"""`tokencost devices calibrate`: what is fitted, and rows that cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from measured_files import (
    BANDWIDTH,
    HEADER,
    PEAK,
    PRODUCTS,
    TRUE,
    USUAL,
    measured_file,
    measured_lines,
)
from refusals import assert_one_sentence

ROOT = Path(__file__).parents[2]


def schema(name: str) -> dict[str, object]:
    return json.loads((ROOT / "docs" / "schemas" / f"{name}.schema.json").read_text())


@pytest.fixture
def measured(tmp_path):
    return measured_file(tmp_path)


def test_a_calibrated_device_fits(tokencost, tmp_path, measured):
    pytest.importorskip("scipy")
    device = tmp_path / "mine.toml"
    words = ("devices", "calibrate", measured, "--device", "a100", "--output", device)
    answer = tokencost(*words, "--format", "json").json()
    jsonschema.validate(answer, schema("devices-calibrate"))
    assert answer["fitted"] == list(TRUE)
    for name, value in TRUE.items():
        assert answer["before"][name] == USUAL[name]
        assert answer["after"][name] == pytest.approx(value, rel=2e-3)
    assert answer["errors"]["products"]["before"]["mape_percent"] > 10
    assert answer["errors"]["products"]["after"]["mape_percent"] < 0.1
    assert device.read_text() == answer["toml"]
    checked = tokencost("devices", "check", measured, "--device", device, "--format", "json").json()
    assert checked["mape_percent"] == answer["errors"]["products"]["after"]["mape_percent"]
    assert checked["device"] == "a100-80-sxm-calibrated"
    source = checked["constants"]["source"]
    assert source.startswith("products and passes: fitted to 64 measured rows of measured.csv; ")
    assert "the rest: fitted to matrix products on A100, H100 and A40" in source
    again = tokencost("devices", "show", device, "--format", "json")
    assert again.status == 0


def test_a_calibration_at_eight_bits_leaves_the_rest(tokencost, tmp_path):
    pytest.importorskip("scipy")
    # half the bytes, twice the peak rate of 16 bits
    lines = [HEADER]
    for tokens in (1, 8, 16, 64, 512, 1024, 2048, 4096):
        for name, (c_in, c_out) in PRODUCTS.items():
            compute = 2 * tokens * c_in * c_out / (0.5 * 2 * PEAK)
            moved = tokens * (c_in + c_out) + c_in * c_out
            time = 1e6 * (compute + moved / (0.7 * BANDWIDTH)) + 7
            lines.append(f"{tokens},{name},{c_in},{c_out},{time:.4f}")
    path, device = measured_file(tmp_path, lines), tmp_path / "mine.toml"
    words = ("devices", "calibrate", path, "--device", "a100", "--bits", 8, "--output", device)
    answer = tokencost(*words, "--format", "json").json()
    assert answer["precision"] == "int8"
    found = answer["after"]
    assert found["compute"] == pytest.approx(0.5, rel=2e-2)
    assert found["memory"] == pytest.approx(0.7, rel=2e-2)
    assert found["exponent"] == pytest.approx(1, rel=2e-2)
    words = ("devices", "check", measured_file(tmp_path), "--device", device, "--format", "json")
    assert tokencost(*words).json()["constants"]["compute"] == USUAL["compute"]


def test_one_prefill_fits_the_peak_rate(tokencost, tmp_path):
    pytest.importorskip("scipy")
    # TensorRT-LLM, LLaMA-7B on an A100, 2,048 tokens: 120.5 ms (github.com/hahnyuan/LLM-Viewer,
    # issue 4). LLaVA-1.5-7B's LLM is that model, its vocabulary 64 words larger.
    path = measured_file(tmp_path, ["tokens,ms", "2048,120.5"])
    words = ("devices", "calibrate", path, "--device", "a100", "--model", "llava-1.5-7b")
    answer = tokencost(*words, "--format", "json").json()
    jsonschema.validate(answer, schema("devices-calibrate"))
    assert answer["fitted"] == ["compute"]
    (point,) = answer["prefills"]
    assert point["measured_ms"] == 120.5
    assert point["after_ms"] == pytest.approx(120.5, rel=1e-3)
    # The products of 32 layers: 2·2048·(4·4096² + 3·4096·11008) FLOP each, 26.5 TFLOP in all, take
    # 120.5 ms at 0.706 of the peak. Attention, launches, passes and reading take the rest.
    products = 32 * 2 * 2048 * (4 * 4096**2 + 3 * 4096 * 11008)
    least = products / (PEAK * 0.1205)
    assert least < answer["after"]["compute"] < 1.25 * least
    unchanged = {key: value for key, value in answer["before"].items() if key != "source"}
    assert {**unchanged, "compute": answer["after"]["compute"]} == {
        key: value for key, value in answer["after"].items() if key != "source"
    }
    shown = " ".join(tokencost(*words).out.split())
    assert "calibrated to 1 measured row " in shown


def test_a_short_prefill_may_be_pythons(tokencost, tmp_path):
    pytest.importorskip("scipy")
    # 32 layers of up to 1.05 ms: 34 ms
    path = measured_file(tmp_path, ["tokens,ms", "400,33", "2048,135"])
    words = ("devices", "calibrate", path, "--device", "a100", "--model", "llava-1.5-7b")
    table = " ".join(tokencost(*words).out.split())
    assert "eager Python alone may take 34 ms" in table
    assert "line tokens [ms] [ms] [ms]" in table  # units in lower case are no markup


def few(count):
    return measured_lines()[: 1 + count]


def long_ones():
    return measured_lines(tokens=(2048, 3072, 4096))


#: Lines, words after the device, fragments of the sentence of `calibrate`.
REFUSED = {
    "few": (few(8), (), ("FILE", "too few: 4 different matrix products", "measure 12 or more")),
    "one regime": (long_ones(), (), ("say too little of the bandwidth", "1 to 64 tokens")),
    "milliseconds": (
        [f"{line[:-4]}e-3" if "." in line else line for line in measured_lines()],
        (),
        ("has rows that say at line", "at the rates of a100-80-sxm", "check the unit"),
    ),
    "contradicting": (
        measured_lines({**TRUE, "compute": 0.2, "memory": 0.3}, noise=0.6, passes=False),
        (),
        ("contradict each other", "at line"),
    ),
    "model without prefills": (measured_lines(), ("--model", "llava-1.5-7b"), ("--model", "leave")),
    "prefills without model": (["tokens,ms", "640,43"], (), ("--model is missing",)),
    "unknown model": (
        ["tokens,ms", "640,43"],
        ("--model", "lava-1.5-7b"),
        ("--model lava-1.5-7b is not known", "llava-1.5-7b"),
    ),
    "prefills of eight bits": (
        ["tokens,ms", "640,43"],
        ("--model", "llava-1.5-7b", "--bits", 8),
        ("--bits 8", "leave it out"),
    ),
    "a prefill of one token": (
        ["tokens,ms", "1,9"],
        ("--model", "llava-1.5-7b"),
        ("say nothing of the peak rate", "at line 2", "measure longer prefills"),
    ),
    # 10 tokens read all weights: 13 GB at 2039 GB/s take 6.6 ms. 150 ms are no rate of arithmetic,
    # although 0.03 of the peak would explain them.
    "a slow prefill of ten tokens": (
        ["tokens,ms", "10,150"],
        ("--model", "llava-1.5-7b"),
        ("say nothing of the peak rate", "at line 2, 10 tokens wait for the bandwidth"),
    ),
    "a long and a short prefill": (
        ["tokens,ms", "2048,135", "32,60"],
        ("--model", "llava-1.5-7b"),
        ("say nothing of the peak rate", "at line 3, 32 tokens"),
    ),
    "many prefills": (
        ["tokens,ms", *(f"{tokens},{tokens}" for tokens in range(1, 202))],
        ("--model", "llava-1.5-7b"),
        ("more than 200 prefills", "give the medians"),
    ),
    "contradicting prefills": (
        ["tokens,ms", "2048,200", "4096,210"],
        ("--model", "llava-1.5-7b"),
        ("contradict each other",),
    ),
}


@pytest.mark.parametrize(("lines", "words", "fragments"), REFUSED.values(), ids=REFUSED)
def test_rows_that_cannot_be_fitted(tokencost, tmp_path, lines, words, fragments):
    pytest.importorskip("scipy")
    path, device = measured_file(tmp_path, lines), tmp_path / "mine.toml"
    result = tokencost("devices", "calibrate", path, "--device", "a100", *words, "--output", device)
    assert_one_sentence(result, *fragments)
    assert not device.exists()


def test_without_scipy(tmp_path, measured):
    code = (
        "import sys\n"
        "sys.modules['scipy'] = None\n"
        "from vlm_tokencost.cli.main import main\n"
        "main(sys.argv[1:])"
    )
    device = tmp_path / "mine.toml"
    words = ["devices", "calibrate", str(measured), "--device", "a100", "--output", str(device)]
    run = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert "scipy is not installed" in run.stderr
    assert "pip install 'vlm-tokencost[calibrate]'" in run.stderr
    assert not device.exists()
