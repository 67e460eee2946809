"""`tokencost devices check`: errors by row, operator and size; mistakes."""

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
    USUAL,
    measured_file,
    measured_lines,
    pass_us,
    product_us,
)
from refusals import assert_one_sentence

ROOT = Path(__file__).parents[2]


def schema(name: str) -> dict[str, object]:
    return json.loads((ROOT / "docs" / "schemas" / f"{name}.schema.json").read_text())


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


def test_rows_as_csv(tokencost, measured):
    result = tokencost("devices", "check", measured, "--device", "a100", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.out)))
    assert len(rows) == 64
    assert [row["line"] for row in rows] == [str(line) for line in range(2, 66)]
    for row in rows:
        assert float(row["lower_us"]) <= float(row["predicted_us"]) <= float(row["upper_us"])


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


def test_a_check_imports_no_numpy(measured):
    code = (
        "import sys\n"
        "from vlm_tokencost.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'numpy', 'scipy', 'torch', 'rich'} & set(sys.modules)"
    )
    words = ["devices", "check", str(measured), "--device", "a100", "--format", "json"]
    subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True)
