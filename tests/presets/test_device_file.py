"""A user's own device, from a TOML file: what it may hold, and every mistake in one sentence."""

from __future__ import annotations

from fractions import Fraction

import pytest
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.presets.device import FITTED, load_device, read_device, unverified_figures

SMALLEST = """memory_gb = 24
bandwidth_gb_s = 936.2

[peaks]
fp16 = 71
"""


@pytest.fixture
def written(tmp_path):
    def write(text, name="our-gpu.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_the_smallest_file(written):
    path = written(SMALLEST)
    device = load_device(path)
    assert (device.id, device.name, device.vendor) == ("our-gpu", "our-gpu", "")
    assert (device.verification, device.unverified) == ("own", ())
    assert device.memory_bytes == 24 * 10**9
    assert device.bandwidth_gb_s == Fraction("936.2")  # as typed
    assert device.peak("fp16") == 71e12
    assert device.efficiency.compute == Fraction(3, 4)
    assert device.efficiency.source == FITTED
    assert device.source == (path,)


def test_everything(written):
    path = written(
        SMALLEST.replace("[peaks]", 'id = "mine"\nname = "My GPU"\nlink_gb_s = 50\n[peaks]')
        + "int8 = 284\n"
        + "[efficiency]\ncompute = 0.9\nlaunch_us = 4.5\n"
        + "[efficiency_by_precision.int8]\ncompute = 0.6\n"
    )
    device = load_device(path)
    assert (device.id, device.name, device.link_gb_s) == ("mine", "My GPU", 50)
    assert float(device.constants("fp16").compute) == 0.9
    assert float(device.constants("fp16").launch_us) == 4.5
    assert float(device.constants("int8").compute) == 0.6
    assert device.efficiency.source == device.efficiency_by_precision["int8"].source == path


def test_a_preset_with_own_figures(written):
    path = written(
        'base = "A100"\nbandwidth_gb_s = 1935\nsource = ["our measurements, 2026"]\n'
        "[efficiency]\ncompute = 0.7\n"
    )
    device, base = load_device(path), load_device("a100")
    assert device.id == "our-gpu"
    assert device.name == base.name
    assert device.aliases == ()
    assert device.peaks == base.peaks
    assert device.bandwidth == 1.935e12
    assert (float(device.efficiency.compute), device.efficiency.memory) == (0.7, Fraction(9, 10))
    assert device.efficiency.source == path, "no longer the preset's"
    assert device.source == ("based on a100-80-sxm", "our measurements, 2026")
    assert device.verification == "own"


def test_own_figures_are_no_longer_unverified(written):
    assert unverified_figures(load_device("gh200")) == (
        *(f"peaks.{name}" for name in ("fp32", "tf32", "fp16", "bf16", "fp8", "int8")),
        "bandwidth_gb_s",
        "tdp_w",
    )
    path = written('base = "gh200"\ntdp_w = 700\n[peaks]\nbf16 = 990\nfp8 = 1980\n')
    left = ("peaks.fp32", "peaks.tf32", "peaks.fp16", "peaks.int8", "bandwidth_gb_s")
    assert unverified_figures(load_device(path)) == left
    path = written('base = "t4"\n[efficiency]\ncompute = 0.4\n')
    assert unverified_figures(load_device(path)) == ("peaks.int4", "efficiency.memory")


def test_a_byte_order_mark_and_windows_lines(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALLEST.replace("\n", "\r\n").encode())
    assert load_device(str(path)).memory_gb == 24


#: (text of the file, fragments that the sentence must hold)
MISTAKES = {
    "no peaks": ("memory_gb = 24\nbandwidth_gb_s = 1\n", ("peaks is missing", "a table [peaks]")),
    "memory alone": (
        "memory_gb = 24\n",
        ("is incomplete: bandwidth_gb_s is missing", "add bandwidth_gb_s and a table [peaks]"),
    ),
    "no memory": ("bandwidth_gb_s = 1\n[peaks]\nfp16 = 1\n", ("memory_gb is missing",)),
    "no rate": ("memory_gb = 24\nbandwidth_gb_s = 1\n[peaks]\n", ("line 3", "gives no rate")),
    "misspelt rate": (SMALLEST + "bf61 = 2\n", ("line 6", "peaks.bf61", "did you mean bf16?")),
    "misspelt key": ("memory = 2\n" + SMALLEST, ("line 1", "memory", "not a known key")),
    "in quotes": ('tdp_w = "350"\n' + SMALLEST, ("line 1", "tdp_w 350 is a text", "quotes")),
    "rate in quotes": (SMALLEST + 'bf16 = "7"\n', ("line 6", "peaks.bf16 7 is a text")),
    "huge in quotes": (SMALLEST + 'bf16 = "1e999999999"\n', ("line 6", "is a text")),
    "huge": (SMALLEST + "bf16 = 1e999999999\n", ("line 6", "peaks.bf16 inf is not a number")),
    "zero": (SMALLEST + "bf16 = 0\n", ("line 6", "peaks.bf16 0 is not a plausible")),
    "negative": (SMALLEST + "bf16 = -7\n", ("line 6", "peaks.bf16 -7 is not a plausible")),
    "in bytes": (
        SMALLEST.replace("936.2", "936200000000"),
        ("line 2", "bandwidth_gb_s", "check the unit"),
    ),
    "nan": (SMALLEST.replace("936.2", "nan"), ("line 2", "nan is not a number")),
    "a truth": (SMALLEST.replace("936.2", "true"), ("line 2", "is not a number")),
    "a list": (SMALLEST.replace("936.2", "[9]"), ("line 2", "is not a number")),
    "percent": (SMALLEST + "[efficiency]\ncompute = 75\n", ("line 7", "compute 75 is above 1")),
    "percent at fp8": (
        SMALLEST + "[efficiency_by_precision.fp8]\ncompute = 50\n",
        ("line 7", "fp8.compute 50 is above 1"),
    ),
    "no precision": (
        SMALLEST + "[efficiency_by_precision.fp9]\ncompute = 0.5\n",
        ("efficiency_by_precision.fp9 is not a precision", "fp32, tf32, fp16"),
    ),
    "unknown base": ('base = "h1000"\n', ("line 1", "base h1000", "did you mean h100?")),
    "base is no text": ("base = 3\n", ("line 1", "base 3 is not known")),
    "base is a file": ('base = "b.toml"\n', ("line 1", "base b.toml is not known")),
    "id of two words": ('id = "a b"\n' + SMALLEST, ("line 1", "id a b is not an id")),
    "name is empty": ('name = ""\n' + SMALLEST, ("line 1", "name  is not a text")),
    "name with escapes": ('name = "\\u001b[31m"\n' + SMALLEST, ("line 1", "name ?[31m is not")),
    "no such figure": (
        'unverified = ["peaks.bf61"]\n' + SMALLEST,
        ("line 1", "peaks.bf61 is not a figure", "did you mean peaks.bf16?"),
    ),
    "no such word": (
        'verification = "measured"\n' + SMALLEST,
        ("line 1", "verification measured is not a choice", "own"),
    ),
    "peaks is a number": ("memory_gb = 1\nbandwidth_gb_s = 1\npeaks = 3\n", ("line 3", "peaks 3")),
    "efficiency is a list": ("efficiency = [1]\n" + SMALLEST, ("line 1", "table of keys")),
    "twice": (SMALLEST + "fp16 = 72\n", ("is not TOML", "line 6")),
    "no TOML": ("memory_gb: 24", ("is not TOML", "line 1")),
    "endless digits": ("memory_gb = " + "9" * 5000, ("beyond what Python reads",)),
    "empty": ("", ("missing",)),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_sentence(written, case):
    text, fragments = MISTAKES[case]
    path = written(text)
    with pytest.raises(InvalidInput) as told:
        load_device(path, "--device")
    sentence = str(told.value)
    assert sentence.startswith(f"--device {path}"[:40])
    assert "\n" not in sentence
    assert "; " in sentence
    for fragment in fragments:
        assert fragment in sentence


def test_files_that_cannot_be_read(tmp_path):
    big = tmp_path / "big.toml"
    big.write_text("# " + "x" * (1 << 15))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, problem in (
        (tmp_path / "none.toml", "cannot be read"),
        (tmp_path, "cannot be read"),
        (big, "is larger than 32 KiB"),
        (binary, "is not UTF-8 text"),
    ):
        with pytest.raises(InvalidInput, match=problem):
            read_device(path)
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_device("a\0b.toml")
