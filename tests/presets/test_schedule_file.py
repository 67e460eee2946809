"""The TOML form of schedules, and files that are no TOML."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from naming import brief
from vlm_tokencost.costmodel import (
    Compress,
    EncoderMerge,
    InvalidInput,
    Schedule,
    Stage,
    Workload,
    plan,
)
from vlm_tokencost.presets import load_model, read_schedule

# --- the format ----------------------------------------------------------------------------------

EVERYTHING = """\
name = "pyramid"
rounding = "ceil"              # floor | round | ceil | float-floor

[compress]
tokens = 288
at = "before-connector"

[[stages]]
first_layer = 8
ratio = 0.5

[[stages]]
first_layer = 16
tokens = 36

[[stages]]
first_layer = 24
withdraw = true
"""


def test_every_key(read):
    schedule = read(EVERYTHING)
    assert schedule == Schedule(
        name="pyramid",
        rounding="ceil",
        compress=Compress(tokens=288, at="before-connector"),
        stages=(
            Stage(first_layer=8, ratio="0.5"),
            Stage(first_layer=16, tokens=36),
            Stage(first_layer=24, withdraw=True),
        ),
    )
    # 576 → 288 before the connector; ½ of 288, then 36, then none
    seen = plan(load_model("llava-1.5-7b"), Workload(), schedule)
    assert seen.visual == (288,) * 8 + (144,) * 8 + (36,) * 8 + (0,) * 8
    assert seen.connector_tokens == 288


def test_encoder_and_selection(read):
    constant = read('selection = "tome"\n[encoder]\nmerged_per_layer = 16\n')
    assert constant == Schedule(selection="tome", encoder=EncoderMerge(merged_per_layer=16))
    listed = read("[encoder]\nmerged_per_layer = [200, 100]\n")
    assert listed == Schedule(encoder=EncoderMerge(merged_per_layer=(200, 100)))
    assert read("encoder.merged_per_layer = 16") == read("encoder = {merged_per_layer = 16}")


def test_defaults(read):
    assert read("[compress]\nratio = 0.5\n").selection is None
    assert read("[compress]\nratio = 0.5\n").encoder is None
    assert read("[compress]\nratio = 0.5\n").compress.at == "after-connector"
    assert read("[[stages]]\nfirst_layer = 2\nratio = 0.5\n").rounding == "floor"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("stages = [{first_layer = 2, ratio = 0.5}]", id="inline"),
        pytest.param('[["stages"]]\n"first_layer" = 2\n\'ratio\' = 0.5', id="quoted"),
        pytest.param("[[stages]]\r\nfirst_layer = 2\r\nratio = 0.5\r\n", id="crlf"),
        pytest.param("  [[ stages ]]\n\tfirst_layer=2\n\tratio=5e-1 # half", id="spaces"),
        pytest.param("[[stages]]\nfirst_layer = 0x2\nratio = 0.50", id="hexadecimal"),
    ],
)
def test_every_way_to_write_it(read, text):
    assert read(text) == Schedule(stages=(Stage(first_layer=2, ratio="0.5"),))


def test_unicode_names(read):
    text = 'name = "Pyramide ½ – 金字塔"\ncompress = {tokens = 3}'
    assert read(text).name == "Pyramide ½ – 金字塔"


@pytest.mark.parametrize(
    ("typed", "exact"),
    [
        ("0.7", Fraction(7, 10)),
        ("0.1", Fraction(1, 10)),
        ("0.333333333333333333333", Fraction(333333333333333333333, 10**21)),  # beyond a double
        ("1e-3", Fraction(1, 1000)),
        ("1", Fraction(1)),
        ("1.0", Fraction(1)),
    ],
    ids=brief,
)
def test_ratios_stay_the_decimals_that_were_typed(read, typed, exact):
    assert read(f"[compress]\nratio = {typed}").compress.ratio == exact
    assert read(f"[[stages]]\nfirst_layer = 2\nratio = {typed}").stages[0].ratio == exact


def test_seven_tenths_of_2880_is_2016(read):
    schedule = read("[[stages]]\nfirst_layer = 2\nratio = 0.7")
    workload = Workload(visual_tokens=2880)
    assert plan(load_model("llava-1.5-7b"), workload, schedule).visual[2] == 2016


# --- files that are no TOML -----------------------------------------------------------------------


def test_missing_file(tmp_path):
    with pytest.raises(InvalidInput, match=r"absent\.toml cannot be read.*No such file"):
        read_schedule(tmp_path / "absent.toml")


def test_directory(tmp_path):
    with pytest.raises(InvalidInput, match=r"cannot be read.*irectory"):
        read_schedule(tmp_path)


def test_file_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_schedule(tmp_path / "file" / "schedule.toml")


def test_path_with_a_null_byte():
    with pytest.raises(InvalidInput, match="schedule"):
        read_schedule(Path("schedule\0.toml"))


def test_name_too_long(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_schedule(tmp_path / ("x" * 300))


def test_the_field_can_be_an_option():
    with pytest.raises(InvalidInput, match=r"^--schedule absent\.toml cannot be read"):
        read_schedule(Path("absent.toml"), "--schedule")


def test_huge_file(refused):
    assert "larger than 32 KiB" in refused("#" * (1 << 20) + "\n")
    assert "larger than 32 KiB" in refused(b"\xff" * (1 << 21))


def test_large_comment_is_read(read):
    assert read("#" * 30_000 + "\n[compress]\ntokens = 3").compress == Compress(tokens=3)


def test_byte_order_mark(read):
    assert read("\ufeff[compress]\ntokens = 3").compress == Compress(tokens=3)


@pytest.mark.parametrize("text", ["", "# nothing\n", 'name = "idle"', "stages = []"])
def test_a_file_that_reduces_nothing_is_refused(refused, text):
    assert "reduces nothing" in refused(text)


@pytest.mark.parametrize("name", ["two\\nlines", "\\u001b[31mred", "x" * 81])
def test_names_are_one_printable_line(refused, name):
    assert "line 1: name" in refused(f'name = "{name}"\n[compress]\ntokens = 3\n')


def test_a_path_can_be_a_string(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text("[compress]\ntokens = 3")
    assert read_schedule(str(path)).compress == Compress(tokens=3)
    with pytest.raises(InvalidInput, match="is empty"):
        read_schedule("")


def test_endless_file():
    """A device without an end must not be read to its end."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from pathlib import Path\n"
        "from vlm_tokencost.costmodel import InvalidInput\n"
        "from vlm_tokencost.presets import read_schedule\n"
        "try:\n"
        "    read_schedule(Path('/dev/zero'))\n"
        "except InvalidInput as error:\n"
        "    print(error)\n"
    )
    if not Path("/dev/zero").exists():
        pytest.skip("needs /dev/zero")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert "/dev/zero" in done.stdout, done.stderr[-300:]


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00s", b'name = "\xe9"', b"\x80"],
    ids=["utf-16", "latin-1", "continuation"],
)
def test_not_utf8(refused, content):
    assert "is not UTF-8 text" in refused(content)


@pytest.mark.parametrize("content", [b"\x00\x01\x02", b"\x7fELF\x01\x01", b"PK\x03\x04"])
def test_binary(refused, content):
    sentence = refused(content)
    assert "is not TOML" in sentence
    assert "line 1" in sentence


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('name = "a"\nrounding = = "floor"\n', 2),
        ("name = 'a'\n\n\n[compress\ntokens = 3\n", 4),
        ("[[stages]]\nfirst_layer = two\nratio = 0.5\n", 2),
        ("[[stages]]\nfirst_layer = 2\nratio = 0,5\n", 3),
        ("[[stages]]\nfirst_layer = 2\nratio = .5\n", 3),
        ("[[stages]]\nfirst_layer = 2\nratio = 50%\n", 3),
        ("[[stages]]\r\nfirst_layer = 2\r\nratio =\r\n", 3),
        ("keep half\n", 1),
        ('{"stages": []}\n', 1),
        ("[[stages]]\nfirst_layer = 2\nratio = 0.5\nratio = 0.4\n", 4),  # given twice
        ("name = 'a'\nname = 'b'\n", 2),
        ("[compress]\ntokens = 3\n[compress]\ntokens = 4\n", 3),  # table given twice
        ("stages = []\n[[stages]]\nfirst_layer = 2\n", 2),
    ],
    ids=brief,
)
def test_syntax_error_names_the_line(refused, text, line):
    sentence = refused(text)
    assert "is not TOML" in sentence
    assert f"line {line}," in sentence


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[[stages]]\nfirst_layer = 2\nratio =", 3),
        ("[[stages]]\nfirst_layer = 2\nratio = 0.5\nratio = 0.4", 4),
        ("name = 'a'\nstages = [1,\n2", 3),
        ('name = """abc\n\n', 3),
    ],
    ids=brief,
)
def test_syntax_error_at_the_end_names_the_last_line(refused, text, line):
    """Tomllib says "at end of document" there."""
    sentence = refused(text)
    assert "is not TOML" in sentence
    assert f"line {line}" in sentence


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x = " + "[" * 5_000, id="arrays"),
        pytest.param("x = " + "{a=" * 5_000, id="tables"),
        pytest.param("x" + ".x" * 1_000 + " = 1", id="dotted-keys"),
        pytest.param("x = [" + "1," * 100_000 + "]", id="long-array"),
    ],
)
def test_nested_too_deep_or_too_long(refused, text):
    refused(text)


@pytest.mark.parametrize(
    "text",
    [
        # Python refuses to read or print integers of more than 4,300 digits.
        pytest.param("[[stages]]\nfirst_layer = " + "9" * 5_000 + "\nratio = 0.5", id="decimal"),
        pytest.param("[[stages]]\nfirst_layer = 0x" + "f" * 4_000 + "\nratio = 0.5", id="hex"),
        pytest.param("[compress]\ntokens = 0b" + "1" * 20_000, id="binary"),
        pytest.param("[compress]\nratio = " + "9" * 5_000, id="ratio"),
        pytest.param("[compress]\nratio = 0." + "9" * 5_000 + "e1", id="long-ratio"),
        # Decimals know exponents of 18 digits, not of 19.
        pytest.param("[compress]\nratio = 1e9999999999999999999", id="exponent"),
        pytest.param("[compress]\nratio = 1e-9999999999999999999", id="negative-exponent"),
    ],
)
def test_numbers_beyond_python_s_limits(refused, text):
    refused(text)


@pytest.mark.parametrize("exponent", ["-999999999", "999999999"])
def test_absurd_exponents_are_refused_at_once(tmp_path, exponent):
    # In a process of its own: expanding 10**999999999 would neither end nor be interrupted.
    path = tmp_path / "schedule.toml"
    path.write_text(f"[[stages]]\nfirst_layer = 2\nratio = 1e{exponent}\n")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from vlm_tokencost.costmodel import InvalidInput\n"
        "from vlm_tokencost.presets import read_schedule\n"
        "try:\n"
        "    read_schedule(Path(sys.argv[1]))\n"
        "except InvalidInput as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    assert "line 3: stages.0.ratio" in done.stdout
