"""`tokencost devices check` and `calibrate`: figures, forms, files and mistakes."""

from __future__ import annotations

import csv
import io
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
    measured_file,
    measured_lines,
    pass_us,
    product_us,
)

ROOT = Path(__file__).parents[2]
FORMATS = ("table", "json", "csv", "markdown", "latex")
#: The constants of `kernel_time`, by which most presets go.
USUAL = {
    "compute": 0.75,
    "memory": 0.9,
    "exponent": 1.5,
    "launch_us": 6.0,
    "elementwise_memory": 0.8,
    "elementwise_launch_us": 2.5,
}


def schema(name: str) -> dict[str, object]:
    return json.loads((ROOT / "docs" / "schemas" / f"{name}.schema.json").read_text())


def assert_one_sentence(result, *fragments):
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    for fragment in fragments:
        assert fragment in result.err


@pytest.fixture
def measured(tmp_path):
    return measured_file(tmp_path)


def test_times_of_the_formula_have_no_error(tokencost, tmp_path):
    path = measured_file(tmp_path, measured_lines(USUAL))
    answer = tokencost("devices", "check", path, "--device", "a100-80gb", "--format", "json").json()
    jsonschema.validate(answer, schema("devices-check"))
    assert answer["device"] == "a100-80-sxm"
    # times are written in thousandths of a microsecond, of 2.5 µs at least
    assert answer["mape_percent"] < 0.02
    assert answer["elementwise_mape_percent"] < 0.02
    assert (answer["rows"], answer["product_rows"], answer["elementwise_rows"]) == (64, 32, 32)
    assert answer["unpriced_rows"] == 0
    assert answer["inside_interval_percent"] == 100


def test_the_errors_are_means_over_rows(tokencost, tmp_path):
    # Two products half as fast as predicted, one pass twice as fast: −50 %, −50 %, +100 %
    lines = [HEADER]
    for name in ("attn_post_proj", "mlp_down_proj"):
        time = 2 * product_us(512, *PRODUCTS[name], USUAL)
        lines.append(f"512,{name},{PRODUCTS[name][0]},{PRODUCTS[name][1]},{time:.6f}")
    lines.append(f"512,mlp_act,,,{pass_us(512, 33024, USUAL) / 2:.6f}")
    path = measured_file(tmp_path, lines)
    answer = tokencost("devices", "check", path, "--device", "a100", "--format", "json").json()
    assert answer["mape_percent"] == pytest.approx(50, rel=1e-6)
    assert answer["elementwise_mape_percent"] == pytest.approx(100, rel=1e-6)
    operators = answer["by_operator"]
    assert list(operators) == ["attn_post_proj", "mlp_down_proj", "mlp_act"]
    assert operators["mlp_act"]["bias_percent"] == pytest.approx(100, rel=1e-6)
    assert operators["mlp_down_proj"]["kind"] == "product"
    # the roofline of 2·512·4096² FLOP at 312 TFLOP/s, against the measured time
    moved = 2 * (2 * 512 * 4096 + 4096**2) / BANDWIDTH
    roofline = max(2 * 512 * 4096**2 / PEAK, moved) * 1e6
    measured = 2 * product_us(512, 4096, 4096, USUAL)
    error = 100 * (1 - roofline / measured)
    assert operators["attn_post_proj"]["roofline_mape_percent"] == pytest.approx(error, rel=1e-6)
    sizes = {one["from_tokens"]: one for one in answer["by_size"]}
    assert [one["rows"] for one in answer["by_size"]] == [0, 2, 0, 0]
    assert sizes[65]["mape_percent"] == pytest.approx(50, rel=1e-6)
    assert sizes[1]["mape_percent"] is None
    assert sizes[2049]["to_tokens"] is None
    assert [one["line"] for one in answer["worst"]][2:] == [4]


def test_files_of_one_kind(tokencost, tmp_path):
    path = measured_file(tmp_path, measured_lines(passes=False))
    answer = tokencost("devices", "check", path, "--device", "a100", "--format", "json").json()
    jsonschema.validate(answer, schema("devices-check"))
    assert answer["elementwise_mape_percent"] is None
    lines = [line for line in measured_lines() if "attn_post_proj" not in line]
    path = measured_file(tmp_path, [*lines, "8,softmax,,,3"])
    result = tokencost("devices", "check", path, "--device", "a100", "--format", "json").json()
    # rope cannot be priced without the queries' width, softmax not at all
    assert result["unpriced_rows"] == 9
    assert "attn_rope" not in result["by_operator"]
    table = " ".join(tokencost("devices", "check", path, "--device", "a100").out.split())
    assert "9 elementwise rows are not priced: no bytes are known of softmax" in table


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


def test_rows_as_csv(tokencost, measured):
    result = tokencost("devices", "check", measured, "--device", "a100", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.out)))
    assert len(rows) == 64
    assert [row["line"] for row in rows] == [str(line) for line in range(2, 66)]
    for row in rows:
        assert float(row["lower_us"]) <= float(row["predicted_us"]) <= float(row["upper_us"])


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


def test_whole_prefills_are_calibrated_and_not_checked(tokencost, tmp_path):
    path = measured_file(tmp_path, ["tokens,ms", "640,43.1"])
    result = tokencost("devices", "check", path, "--device", "a100")
    assert_one_sentence(result, "whole prefills", "tokencost devices calibrate FILE --model ID")


def test_only_passes_say_nothing(tokencost, tmp_path):
    path = measured_file(tmp_path, [HEADER, "8,add,,,3"])
    result = tokencost("devices", "check", path, "--device", "a100")
    assert_one_sentence(result, "has no row that can be priced", "attn_post_proj")


def test_another_devices_rows_are_told(tokencost, tmp_path):
    # An H100's rates: products of 4,096 tokens are faster than an A100's sheet allows.
    lines = [HEADER, f"4096,mlp_down_proj,11008,4096,{2 * 4096 * 11008 * 4096 / 700e12 * 1e6:.2f}"]
    result = tokencost("devices", "check", measured_file(tmp_path, lines), "--device", "a100")
    assert "faster than the datasheet allows: 1 of the products" in " ".join(result.out.split())


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


def test_a_check_imports_no_numpy(measured):
    code = (
        "import sys\n"
        "from vlm_tokencost.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'numpy', 'scipy', 'torch', 'rich'} & set(sys.modules)"
    )
    words = ["devices", "check", str(measured), "--device", "a100", "--format", "json"]
    subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True)


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
