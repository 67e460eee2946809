"""`tokencost devices list` and `show`: figures, marks, every form, mistakes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "own-device.toml"


def schema(name: str) -> dict[str, object]:
    return json.loads((ROOT / "docs" / "schemas" / f"{name}.schema.json").read_text())


# --- list ----------------------------------------------------------------------------------------


def test_the_list_keeps_its_schema(tokencost):
    rows = tokencost("devices", "list", "--format", "json").json()
    jsonschema.validate(rows, schema("devices-list"))
    assert len(rows) == 49
    (a100,) = (row for row in rows if row["id"] == "a100-80-sxm")
    assert a100["peak_op_per_s"] == {
        "fp32": 19_500_000_000_000,
        "tf32": 156 * 10**12,
        "fp16": 312 * 10**12,
        "bf16": 312 * 10**12,
        "int8": 624 * 10**12,
        "int4": 1248 * 10**12,
    }
    assert a100["memory_bytes"] == 80 * 10**9
    assert a100["bandwidth_bytes_per_s"] == 2_039 * 10**9
    assert a100["link_bytes_per_s"] == 600 * 10**9
    assert a100["tdp_w"] == 400
    # 312·10¹² / 2039·10⁹
    assert a100["ridge_op_per_byte"] == pytest.approx(153.0161844, rel=1e-9)
    assert a100["unverified"] == ["peaks.int4"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a100", {"a100-40-pcie", "a100-40-sxm", "a100-80-pcie", "a100-80-sxm", "a800-80"}),
        ("a100-4*", {"a100-40-pcie", "a100-40-sxm"}),
        ("TPU", {"tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e"}),
        ("trillium", {"tpu-v6e"}),
        ("geforce", {"rtx-3090", "rtx-4080", "rtx-4090", "rtx-5090"}),
        ("?4", {"l4", "t4"}),
    ],
)
def test_patterns(tokencost, pattern, found):
    rows = tokencost("devices", "list", pattern, "--format", "json").json()
    assert {row["id"] for row in rows} == found


def test_the_table_marks_what_is_unverified(tokencost):
    lines = [" ".join(line.split()) for line in tokencost("devices", "list").out.splitlines()]
    # id, fp32, bf16, fp16, fp8, int8, memory, bandwidth, ridge, how the figures are known
    assert "gh200-96 66.9* 989* 989* 1979* 1979* 96 4000* 247 from memory" in lines
    assert "t4 8.1 — 65.1 — 130 16 320 203 third-party page" in lines
    assert "tpu-v5e — 197 — — 393 16 819 241 vendor document" in lines


def test_the_list_as_csv(tokencost):
    text = tokencost("devices", "list", "--format", "csv").out
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(text))}
    assert len(rows) == 49
    assert rows["t4"]["peak_fp16_op_per_s"] == "65100000000000"
    assert rows["t4"]["peak_bf16_op_per_s"] == ""
    assert rows["h20"]["unverified"] == "peaks.fp8"
    assert rows["rtx-4090"]["aliases"] == "4090"


# --- show ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["h100", "t4", "tpu-v4", "m3-max", "rtx-5090", "mi250x", "thor"])
def test_a_card_keeps_its_schema(tokencost, name):
    answer = tokencost("devices", "show", name, "--format", "json").json()
    jsonschema.validate(answer, schema("devices-show"))


def test_a_card_as_a_table(tokencost):
    shown = " ".join(tokencost("devices", "show", "NVIDIA H100 80GB HBM3").out.split())
    for fragment in (
        "h100-sxm: NVIDIA H100 80GB SXM5",
        "memory 80 GB bandwidth 3350 GB/s link 900 GB/s in both directions together",
        "board power 700 W figures third-party page",
        "bf16 989.4 TFLOP/s 295.3",  # 989.4·10¹² / 3350·10⁹
        "int8 1978.9 TOP/s 590.7",
        "constant value at fp8 what it is",
        "compute 0.75 0.5 share of the peak",
        "source: archive-lib.hpctech.co.jp",
    ):
        assert fragment in shown
    assert "*" not in shown, "nothing of it is unverified"


def test_a_card_marks_what_is_unverified(tokencost):
    shown = " ".join(tokencost("devices", "show", "gh200").out.split())
    for fragment in (
        "memory 96 GB bandwidth 4000 GB/s*",
        "700 W*",
        "989 TFLOP/s* 247.2",
        "unverified peaks.fp32, peaks.tf32",
        "* no source confirms the figure",
        "link none, or unknown",
    ):
        assert fragment in shown
    shown = " ".join(tokencost("devices", "show", "l4").out.split())
    assert "compute 0.5* share of the peak" in shown
    assert "memory 0.75 share of the bandwidth" in shown


def test_a_card_in_other_forms(tokencost):
    rows = list(
        csv.DictReader(io.StringIO(tokencost("devices", "show", "t4", "--format", "csv").out))
    )
    assert [row["precision"] for row in rows] == ["fp32", "fp16", "int8", "int4"]
    assert rows[1]["peak_op_per_s"] == "65100000000000"
    assert float(rows[1]["ridge_op_per_byte"]) == 203.4375  # 65100 / 320
    assert [row["unverified"] for row in rows] == ["False", "False", "False", "True"]
    markdown = tokencost("devices", "show", "t4", "--format", "markdown").out
    assert "| fp16 | 65.1 TFLOP/s | 203.4 |" in markdown
    latex = tokencost("devices", "show", "t4", "--format", "latex").out
    assert "fp16 & 65.1 TFLOP/s & 203.4 \\\\" in latex


def test_an_own_device(tokencost):
    answer = tokencost("devices", "show", EXAMPLE, "--format", "json").json()
    jsonschema.validate(answer, schema("devices-show"))
    base = tokencost("devices", "show", "a100", "--format", "json").json()
    assert (answer["id"], answer["verification"], answer["tdp_w"]) == ("our-a100", "own", 300)
    assert answer["peak_op_per_s"] == base["peak_op_per_s"]
    assert answer["efficiency"] == {
        **base["efficiency"],
        "compute": 0.66,
        "source": "own matrix products, torch 2.9",
    }
    assert answer["source"] == ["based on a100-80-sxm"]


def test_the_page_shows_the_example():
    page = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    block = [f"    {line}" if line else "" for line in EXAMPLE.read_text().splitlines()]
    assert "\n".join(block) in page


def test_the_page_names_every_key():
    from vlm_tokencost.costmodel.device import PRECISIONS, Device, Efficiency

    page = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    table = page[page.index("| key | meaning |") :]
    known = [*Device.model_fields, *Efficiency.model_fields, *PRECISIONS]
    for key in known:
        assert f"`{key}`" in table or f"[{key}" in table or key == "verification", key


def test_an_output_file(tokencost, tmp_path):
    path = tmp_path / "h100.json"
    assert tokencost("devices", "show", "h100", "--output", path).out == ""
    assert json.loads(path.read_text())["id"] == "h100-sxm"


#: (words after `devices`, fragments that the sentence must hold)
MISTAKES = {
    "no such pattern": (("list", "zzz"), ("PATTERN zzz matches no device", "devices list")),
    "nearly a pattern": (("list", "rtx-409l"), ("matches no device", "did you mean rtx-4090?")),
    "unknown": (("show", "h1000"), ("ID h1000 is not known", "did you mean h100?")),
    "unlike any": (("show", "zz"), ("ID zz is not known", "tokencost devices list")),
    "empty": (("show", ""), ("ID ''", "tokencost devices list")),
    "no file": (("show", "no.toml"), ("ID no.toml cannot be read", "docs/devices.md")),
    "a folder": (("show", "/"), ("ID / cannot be read",)),
    "no form": (("show", "h100", "--format", "xml"), ("--format xml",)),
    "nowhere": (("list", "--output", "/no/where.json"), ("--output /no/where.json",)),
    "no id": (("show",), ("missing argument", "tokencost devices show --help")),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_sentence(tokencost, case):
    words, fragments = MISTAKES[case]
    result = tokencost("devices", *words)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    for fragment in fragments:
        assert fragment in result.err


def test_a_wrong_file_is_told_with_its_line(tokencost, tmp_path):
    path = tmp_path / "our-gpu.toml"
    path.write_text("memory_gb = 24\nbandwidth_gb_s = 1\n\n[peaks]\nbf61 = 1\n")
    result = tokencost("devices", "show", path)
    assert result.status == 2
    assert result.err == (
        f"error: ID {path} at line 5: peaks.bf61 is not a known key; did you mean bf16?\n"
    )


def test_a_device_file_is_not_written_over(tokencost, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(text := EXAMPLE.read_text())
    result = tokencost("devices", "show", path, "--output", path)
    assert result.status == 2
    assert "is the device's file; name another file" in result.err
    assert path.read_text() == text
