"""Tables on terminals of any width, and styles: figures are never folded, cut or coloured away."""

from __future__ import annotations

import re

import pytest
from terminal import on_terminal, piped, widest

MODEL = ("--model", "llava-1.5-7b")
HALF = (*MODEL, "--prune-layer", "2", "--keep", "0.5")
DEVICE = ("--device", "a100-80-sxm")
ANSWERS = [
    ("ratio", *HALF, "--new-tokens", "9"),
    ("cost", *HALF, "--per-layer"),
    ("compare", *MODEL, "--budget", "192", "--methods", "fastv,visionzip,pyramiddrop"),
    ("latency", *MODEL, "--method", "fastv", *DEVICE, "--new-tokens", "9"),
    ("memory", *MODEL, "--method", "fastv", *DEVICE),
    ("methods", "list"),
    ("models", "list"),
    ("models", "show", "qwen2.5-vl-7b"),
    ("devices", "list"),
]
#: Figures, and ids that hold digits: what must not be broken.
FIGURE = re.compile(r"[\w.,%×/-]*\d[\w.,%×/-]*")
ESCAPE = "\x1b"


def figures(text: str) -> set[str]:
    return set(FIGURE.findall(text))


@pytest.mark.parametrize("words", ANSWERS, ids=lambda words: " ".join(words[:2]))
def test_a_narrow_terminal_shows_every_figure_whole(words):
    wide = piped(*words)
    assert wide.returncode == 0
    narrow = on_terminal(*words, columns=60, NO_COLOR="1")
    assert narrow.status == 0
    assert widest(narrow.text) <= 60
    # Running text may be wrapped between words, and a rule is as long as its table.
    assert figures(wide.stdout) == figures(narrow.text)


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_a_table_that_fits_is_one_table(columns):
    screen = on_terminal("ratio", *HALF, "--convention", "exact", columns=columns, NO_COLOR="1")
    heads = [line for line in screen.text.splitlines() if line.strip().startswith("convention")]
    # The table takes 67 cells; at 60 its last column goes below, with the columns that name rows.
    assert len(heads) == (2 if columns == 60 else 1)
    if columns == 60:
        assert heads[0].split() == ["convention", "unit", "baseline", "scheduled", "ratio"]
        assert heads[1].split() == ["convention", "unit", "saved"]


def test_rows_whose_names_fill_the_line_become_blocks():
    text = on_terminal("models", "show", "qwen2.5-vl-7b", columns=60, NO_COLOR="1").text
    assert "  vision, num_hidden_layers\n    value   32\n" in text


def test_a_figure_stays_beside_its_unit():
    text = on_terminal("ratio", *HALF, columns=30, NO_COLOR="1").text
    assert "  exact\n    unit        TFLOP\n    baseline    8.9104\n" in text
    assert "\n    vision\n    unit        TFLOP\n" in text, "parts are marked as parts"


def test_a_terminal_of_hardly_any_width_is_served():
    assert "57.06 %" in on_terminal("ratio", *HALF, columns=5, NO_COLOR="1").text


def test_a_pipe_has_the_same_table_whatever_the_width():
    words = ("ratio", *HALF)
    assert piped(*words, COLUMNS="60").stdout == piped(*words).stdout


def test_styles_are_for_terminals():
    words = ("ratio", *HALF)
    assert ESCAPE in on_terminal(*words, columns=100).text
    assert ESCAPE not in on_terminal(*words, columns=100, NO_COLOR="1").text
    assert ESCAPE not in on_terminal(*words, columns=100, TERM="dumb").text
    assert ESCAPE not in piped(*words).stdout
    assert ESCAPE in piped(*words, FORCE_COLOR="1").stdout
    assert ESCAPE not in piped(*words, FORCE_COLOR="1", NO_COLOR="1").stdout


def test_styles_change_no_character():
    plain = piped("ratio", *HALF).stdout
    styled = piped("ratio", *HALF, FORCE_COLOR="1").stdout
    bare = re.sub(r"\x1b\[[0-9;]*m", "", styled)
    assert [line.rstrip() for line in bare.splitlines()] == plain.splitlines()


def test_a_file_has_no_styles(tmp_path):
    path = tmp_path / "answer.txt"
    assert piped("ratio", *HALF, "--output", str(path), FORCE_COLOR="1").returncode == 0
    assert ESCAPE not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [(), ("ratio",), ("plot", "layers")], ids=" ".join)
def test_help_fits_a_narrow_terminal(words):
    text = on_terminal(*words, "--help", columns=60, NO_COLOR="1").text
    assert ESCAPE not in text
    assert widest(text) <= 60
    assert "Example:" in text
