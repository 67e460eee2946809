"""Files of measured times: what is read, and what is refused, by line."""

from __future__ import annotations

import pytest
from measured_files import HEADER, measured_file
from refusals import refusal
from vlm_tokencost.costmodel.measured import PassRow, PrefillRow, ProductRow
from vlm_tokencost.presets.measurements import LARGEST_FILE, read_measurements


def test_operators(tmp_path):
    lines = [HEADER, "512,mlp_up_proj,4096,22016,421.5", "", " 512 , mlp_act ,,, 36.5"]
    found = read_measurements(str(measured_file(tmp_path, lines)))
    assert found.products == (ProductRow(2, 512, "mlp_up_proj", 4096, 22016, 421.5e-6),)
    assert found.passes == (PassRow(4, 512, "mlp_act", 36.5e-6),)
    assert found.prefills == ()
    assert found.rows == 2


def test_prefills(tmp_path):
    found = read_measurements(str(measured_file(tmp_path, ["tokens,ms", "640,43.1"])))
    assert found.prefills == (PrefillRow(2, 640, 43.1e-3),)
    assert found.rows == 1


def test_columns_may_come_in_any_order(tmp_path):
    lines = ["median_us,tokens,in_features,out_features,operator", "25,1,4096,4096,attn_post_proj"]
    (row,) = read_measurements(str(measured_file(tmp_path, lines))).products
    assert row == ProductRow(2, 1, "attn_post_proj", 4096, 4096, 25e-6)


def test_a_byte_order_mark_and_other_line_ends(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbftokens,ms\r\n640,43.1\r\n")
    assert read_measurements(str(path)).rows == 1


def test_equal_shapes_may_differ_as_measurements_do(tmp_path):
    # 979.0 and 979.5 µs; 1 and 3 µs, as profilers count whole microseconds
    lines = [HEADER, "8,a,4,4,979.0", "8,a,4,4,979.5", "8,add,,,1", "8,add,,,3"]
    assert read_measurements(str(measured_file(tmp_path, lines))).rows == 4


ROW = "8,a,4,4,9"
#: Lines of a file, and what the sentence says.
WRONG = {
    "nothing": ([], "is empty"),
    "only a header": ([HEADER], "has no rows under its header"),
    "another header": (["tokens,name,us", "1,a,2"], "at line 1: tokens,name,us is no known header"),
    "a column twice": (["tokens,tokens", "1,2"], "at line 1: tokens,tokens is no known header"),
    "no header": ([ROW], "at line 1: 8,a,4,4,9 is no known header"),
    "a blank line first": (["", "tokens", "1"], "at line 2: tokens is no known header"),
    "too few cells": ([HEADER, ROW, "8,a,4"], "at line 3: has 3 cells under 5 columns"),
    "words": ([HEADER, "8,a,4,4,fast"], "at line 2: median_us fast is not a number"),
    "nan": ([HEADER, "8,a,4,4,nan"], "at line 2: median_us nan is not a number"),
    "infinity": ([HEADER, "8,a,4,4,inf"], "at line 2: median_us inf is not a number"),
    "underscores": ([HEADER, "8,a,4,4,1_0"], "at line 2: median_us 1_0 is not a number"),
    "no time": ([HEADER, "8,a,4,4,"], "at line 2: median_us '' is not a number"),
    "zero": ([HEADER, "8,a,4,4,0"], "at line 2: median_us 0 is not above 0"),
    "negative": ([HEADER, ROW, "8,b,4,4,-1"], "at line 3: median_us -1 is not above 0"),
    "hours": ([HEADER, "8,a,4,4,1e12"], "at line 2: median_us 1e12 is above 10,000 s"),
    "no tokens": ([HEADER, "0,a,4,4,9"], "at line 2: tokens 0 is below 1"),
    "half tokens": ([HEADER, "1.5,a,4,4,9"], "at line 2: tokens 1.5 is not a whole number"),
    "a missing feature": ([HEADER, "8,a,4,,9"], "at line 2: out_features is missing"),
    "a wrong feature": ([HEADER, "8,a,x,4,9"], "at line 2: in_features x is not a whole number"),
    "no operator": ([HEADER, "8,,4,4,9"], "at line 2: operator is missing"),
    "a long operator": ([HEADER, f"8,{'a' * 61},4,4,9"], "at line 2: operator aaa"),
    "a quote left open": ([HEADER, '8,"a,4,4,9'], "is not CSV"),
    "a prefill of no time": (["tokens,ms", "640,-3"], "at line 2: ms -3 is not above 0"),
    "contradiction": (
        [HEADER, ROW, "8,b,4,4,100", "8,b,4,4,126"],
        "lines 3 and 4 measure the same and say 0.1 and 0.126 ms",
    ),
    "contradiction far apart": (
        [HEADER, "8,add,,,50", "9,add,,,50", "8,add,,,20"],
        "lines 2 and 4 measure the same and say 0.05 and 0.02 ms",
    ),
    "contradicting prefills": (
        ["tokens,ms", "640,43", "640,86"],
        "lines 2 and 3 measure the same and say 43 and 86 ms",
    ),
}


@pytest.mark.parametrize(("lines", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_refused_by_line(tmp_path, lines, said):
    path = measured_file(tmp_path, lines)
    if not lines:
        path.write_text("")
    error = refusal(read_measurements, str(path))
    assert error.field == "FILE"
    assert said in str(error)


def test_files_that_cannot_be_read(tmp_path):
    large = tmp_path / "large.csv"
    large.write_bytes(b"x" * (LARGEST_FILE + 1))
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"tokens,ms\n\xff\xfe\n")
    for path, said in (
        ("", "is empty"),
        (tmp_path / "none.csv", "cannot be read (No such file or directory)"),
        (tmp_path, "cannot be read (Is a directory)"),
        ("a\0b", "cannot be read"),
        (large, "is larger than 4 MiB"),
        (binary, "is not UTF-8 text"),
    ):
        assert said in str(refusal(read_measurements, str(path)))
