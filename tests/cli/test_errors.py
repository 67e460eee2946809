"""Mistakes of the user: exit 2, one sentence with option, value and way out, nothing on stdout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = ("--model", "llava-1.5-7b")

#: (words after `ratio`, fragments that the sentence must hold)
MISTAKES = {
    "no model": ((), ("--model", "models list")),
    "unknown model": (("--model", "lava-1.5-7b"), ("lava-1.5-7b", "did you mean llava-1.5-7b?")),
    "keep above 1": ((*MODEL, "--prune-layer", 2, "--keep", 1.5), ("--keep 1.5", "(0, 1]")),
    "keep 0": ((*MODEL, "--prune-layer", 2, "--keep", 0), ("--keep 0", "(0, 1]")),
    "keep negative": ((*MODEL, "--prune-layer", 2, "--keep", -0.5), ("--keep -0.5", "(0, 1]")),
    "keep NaN": ((*MODEL, "--prune-layer", 2, "--keep", "nan"), ("--keep nan", "0.5")),
    "keep inf": ((*MODEL, "--prune-layer", 2, "--keep", "inf"), ("--keep inf", "0.5")),
    "keep a word": ((*MODEL, "--prune-layer", 2, "--keep", "half"), ("--keep half", "0.5")),
    "layer a word": ((*MODEL, "--prune-layer", "two", "--keep", 0.5), ("--prune-layer two", "0")),
    "layer below 0": ((*MODEL, "--prune-layer", -1, "--keep", 0.5), ("--prune-layer -1", "0")),
    "layer above": ((*MODEL, "--prune-layer", 32, "--keep", 0.5), ("--prune-layer 32", "0 to 31")),
    "keep missing": ((*MODEL, "--prune-layer", 2), ("--keep", "--prune-layer", "pair")),
    "layer missing": ((*MODEL, "--keep", 0.5), ("--prune-layer", "pair")),
    "out of order": (
        (*MODEL, "--prune-layer", 8, "--keep", 0.5, "--prune-layer", 2, "--keep", 0.2),
        ("--prune-layer 2", "layer 8", "order"),
    ),
    "same layer twice": (
        (*MODEL, "--prune-layer", 8, "--keep", 0.5, "--prune-layer", 8, "--keep", 0.2),
        ("--prune-layer 8", "once"),
    ),
    "growing": (
        (*MODEL, "--prune-layer", 2, "--keep", 0.5, "--prune-layer", 8, "--keep", 0.7),
        ("--keep 0.7", "403", "288", "shrink"),  # floor(0.7 · 576) = 403, floor(0.5 · 576) = 288
    ),
    "more than there are": ((*MODEL, "--tokens", 577), ("--tokens 577", "1 to 576")),
    "no token left": (
        (*MODEL, "--prune-layer", 2, "--keep", 0.001),
        ("--keep 0.001", "576", "withdraw"),
    ),
    "image size 0": ((*MODEL, "--image-size", "0x336"), ("--image-size 0x336", "HEIGHTxWIDTH")),
    "image size negative": (
        (*MODEL, "--image-size", "-1x5"),
        ("--image-size -1x5", "HEIGHTxWIDTH"),
    ),
    "image size absurd": (
        (*MODEL, "--image-size", "99999999x9"),
        ("--image-size 99999999x9", "65,535"),
    ),
    "image size a word": ((*MODEL, "--image-size", "big"), ("--image-size big", "HEIGHTxWIDTH")),
    "image refused": (
        ("--model", "qwen2.5-vl-7b", "--image-size", "10x4000"),
        ("--image-size 10x4000", "200"),
    ),
    "too many sizes": (
        (*MODEL, "--images", 3, "--image-size", "9x9", "--image-size", "8x8"),
        ("--images 3", "--image-size"),
    ),
    "no images": ((*MODEL, "--images", 0), ("--images 0", "1")),
    "text below 0": ((*MODEL, "--text-tokens", -1), ("--text-tokens -1", "0")),
    "text a fraction": ((*MODEL, "--text-tokens", 1.5), ("--text-tokens 1.5", "whole")),
    "text absurd": ((*MODEL, "--text-tokens", 10**30), ("--text-tokens", "1,000,000,000")),
    "visual 0": ((*MODEL, "--visual-tokens", 0), ("--visual-tokens 0", "1")),
    "new tokens 0": ((*MODEL, "--new-tokens", 0), ("--new-tokens 0", "1")),
    "batch 0": ((*MODEL, "--batch", 0), ("--batch 0", "1")),
    "batch a word": ((*MODEL, "--batch", "many"), ("--batch many", "whole")),
    "rounding": ((*MODEL, "--rounding", "flor"), ("--rounding flor", "did you mean floor?")),
    "logits": ((*MODEL, "--logits", "some"), ("--logits some", "last")),
    "encoder layers": ((*MODEL, "--encoder-layers", "x"), ("--encoder-layers x", "computed")),
    "convention": ((*MODEL, "--convention", "surve"), ("--convention surve", "survey")),
    "format": ((*MODEL, "--format", "jsn"), ("--format jsn", "did you mean json?")),
    "tokens-at alone": ((*MODEL, "--tokens-at", "before-connector"), ("--tokens-at", "--tokens V")),
    "tokens-at": (
        (*MODEL, "--tokens", 9, "--tokens-at", "x"),
        ("--tokens-at x", "after-connector"),
    ),
    "schedule missing": ((*MODEL, "--schedule", "none.toml"), ("--schedule none.toml", "read")),
    "output directory": ((*MODEL, "--output", "/no/where/x.json"), ("--output", "directory")),
    "output a directory": ((*MODEL, "--output", "/"), ("--output /", "directory")),
    "output a device": ((*MODEL, "--output", os.devnull), ("--output", "regular file")),
    "unknown option": ((*MODEL, "--prune", 2), ("--prune", "did you mean --prune-layer?")),
    "no value": ((*MODEL, "--keep"), ("--keep", "tokencost ratio --help")),
    "value taken for an option": (
        (*MODEL, "--batch", "--output", "x.json"),
        ("--batch is followed by --output", "tokencost ratio --help"),
    ),
    "extra word": ((*MODEL, "word"), ("word", "tokencost ratio --help")),
}


@pytest.mark.parametrize(("words", "fragments"), MISTAKES.values(), ids=MISTAKES)
def test_ratio_explains_a_mistake(tokencost, words, fragments):
    result = tokencost("ratio", *words)
    assert_one_sentence(result, fragments)


#: (all words, fragments)
ELSEWHERE = {
    "command": (("rato",), ("rato", "did you mean ratio?")),
    "command unlike any": (("xyzzy",), ("xyzzy", "commands: ratio, cost")),
    "group without command": (("models",), ("tokencost models --help",)),
    "plot unknown": (("plot", "layer"), ("layer", "layers")),
    "plot without output": (("plot", "layers", *MODEL), ("--output", "PNG")),
    "plot bad ending": (("plot", "layers", *MODEL, "--output", "x.bmp"), ("x.bmp", "png")),
    "plot all conventions": (
        ("plot", "layers", *MODEL, "--output", "x.png", "--convention", "all"),
        ("--convention all", "exact"),
    ),
    "models pattern": (("models", "list", "zzz"), ("zzz", "models list")),
    "models show": (("models", "show", "lava-1.5-7b"), ("lava-1.5-7b", "did you mean llava")),
    "decode step 0": (("cost", *MODEL, "--decode-step", 0), ("--decode-step 0", "1")),
    "decode step a word": (("cost", *MODEL, "--decode-step", "x"), ("--decode-step x", "whole")),
}


@pytest.mark.parametrize(("words", "fragments"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_other_commands_explain_a_mistake(tokencost, words, fragments):
    result = tokencost(*words)
    assert_one_sentence(result, fragments)


def assert_one_sentence(result, fragments):
    assert result.status == 2, result
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1, "one line"
    assert "Traceback" not in result.err
    for fragment in fragments:
        assert str(fragment) in result.err, result.err


#: (file's text, fragments)
SCHEDULES = {
    "syntax": ('name = "x"\n[[stages]\n', ("not TOML", "line 2")),
    "unknown key": ("[[stages]]\nfirst_layer = 2\nratio = 0.5\nratoi = 1\n", ("line 4", "ratio?")),
    "unknown table": ("[stagez]\nratio = 0.5\n", ("line 1", "stagez", "did you mean stages?")),
    "wrong type": ('[[stages]]\nfirst_layer = "two"\nratio = 0.5\n', ("line 2", "two", "whole")),
    "ratio above 1": ("[[stages]]\nfirst_layer = 2\nratio = 5\n", ("line 3", "5", "(0, 1]")),
    "layer beyond": ("[[stages]]\nfirst_layer = 32\nratio = 0.5\n", ("line 2", "0 to 31")),
    "growing": (
        "[[stages]]\nfirst_layer = 2\ntokens = 9\n[[stages]]\nfirst_layer = 3\ntokens = 10\n",
        ("line 6", "10", "9"),
    ),
    "not a list": ("stages = 3\n", ("line 1", "list")),
    "inline": (
        "stages = [\n  {first_layer = 2, ratio = 0.5},\n  {first_layer = 1, ratio = 0.2},\n]\n",
        ("line 3", "layer 2"),
    ),
    "dotted": ("compress.tokens = 5\ncompress.where = 3\n", ("line 2", "where")),
    "quoted header": ('[["stages"]]\nfirst_layer = 1\nratio = 2\n', ("line 3", "(0, 1]")),
    "byte order mark": ("\ufeff[[stages]]\nfirst_layer = 99\nratio = 0.5\n", ("line 2", "99")),
    "two amounts": (
        "[[stages]]\nfirst_layer = 2\ntokens = 9\nratio = 0.5\n",
        ("line 1", "exactly one of tokens, ratio, withdraw"),
    ),
}


@pytest.mark.parametrize(("text", "fragments"), SCHEDULES.values(), ids=SCHEDULES)
def test_schedule_files_are_explained(tokencost, tmp_path, text, fragments):
    path = tmp_path / "plan.toml"
    path.write_text(text)
    result = tokencost("ratio", *MODEL, "--schedule", path)
    assert_one_sentence(result, ("--schedule", "plan.toml", *fragments))


def test_a_schedule_file_excludes_other_schedule_options(tokencost, tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text("[[stages]]\nfirst_layer = 2\nratio = 0.5\n")
    for words in (("--tokens", 9), ("--tokens", ""), ("--prune-layer", 2, "--keep", 0.5)):
        result = tokencost("ratio", *MODEL, "--schedule", path, *words)
        assert_one_sentence(result, (words[0], "--schedule"))


def test_the_schedule_is_not_overwritten(tokencost, tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text("[[stages]]\nfirst_layer = 2\nratio = 0.5\n")
    result = tokencost("ratio", *MODEL, "--schedule", path, "--output", path)
    assert_one_sentence(result, ("--output", "schedule file"))
    assert path.read_text().startswith("[[stages]]")


def test_closed_standard_output_is_explained():
    words = [sys.executable, "-m", "vlm_tokencost.cli", "ratio", *MODEL]
    run = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *words], stderr=subprocess.PIPE, text=True, check=False
    )
    assert run.returncode == 2
    assert run.stderr == ("error: --output is needed: standard output is closed; name a file\n")


def test_a_full_disk_is_explained():
    words = [sys.executable, "-m", "vlm_tokencost.cli", "ratio", *MODEL]
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("error: the output cannot be written (")
    assert run.stderr.count("\n") == 1


def test_a_reader_that_leaves_is_no_error():
    command = f"{sys.executable} -m vlm_tokencost.cli models list | head -n 1"
    run = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_the_schedule_is_not_overwritten_by_a_figure(tokencost, tmp_path, ending):
    path = tmp_path / f"plan.{ending}"
    path.write_text("[[stages]]\nfirst_layer = 2\nratio = 0.5\n")
    result = tokencost("plot", "layers", *MODEL, "--schedule", path, "--output", path)
    assert_one_sentence(result, ("--output", "schedule file"))
    assert path.read_text().startswith("[[stages]]")


#: Options that would be taken without an effect.
IDLE = {
    "causal": (("ratio", *MODEL, "--convention", "survey", "--causal"), ("--causal", "exact")),
    "logits": (("cost", *MODEL, "--convention", "gated", "--logits", "all"), ("--logits", "exact")),
    "rounding": (("ratio", *MODEL, "--rounding", "ceil"), ("--rounding", "--keep")),
    "rounding tokens": (
        ("ratio", *MODEL, "--tokens", 9, "--rounding", "ceil"),
        ("--rounding", "no ratio"),
    ),
    "new tokens": (
        ("plot", "layers", *MODEL, "--new-tokens", 5, "--output", "x.png"),
        ("--new-tokens", "prefill"),
    ),
    "tokens-at": (
        ("ratio", *MODEL, "--schedule", "w.toml", "--tokens-at", "before-connector"),
        ("--tokens-at", "--schedule"),
    ),
}


@pytest.mark.parametrize(("words", "fragments"), IDLE.values(), ids=IDLE)
def test_no_option_is_ignored(tokencost, tmp_path, monkeypatch, words, fragments):
    monkeypatch.chdir(tmp_path)
    Path("w.toml").write_text("[[stages]]\nfirst_layer = 0\nwithdraw = true\n")
    assert_one_sentence(tokencost(*words), fragments)


def test_a_schedule_is_read_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    words = [sys.executable, "-m", "vlm_tokencost.cli", "ratio", *MODEL, "--schedule", str(pipe)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as run:
        pipe.write_text("[[stages]]\nfirst_layer = 32\nratio = 0.5\n")
        _, err = run.communicate(timeout=30)
    assert run.returncode == 2
    assert "at line 2: stages.0.first_layer 32 is not a layer" in err


def test_a_mistake_leaves_an_existing_output_alone(tokencost, tmp_path):
    path = tmp_path / "kept.json"
    path.write_text("precious")
    assert tokencost("ratio", *MODEL, "--batch", 0, "--output", path).status == 2
    assert path.read_text() == "precious"
    assert [file.name for file in tmp_path.iterdir()] == ["kept.json"], "no temporary file is left"


def test_output_is_checked_before_the_model_is_read(tokencost):
    result = tokencost("ratio", "--model", "no-such-model", "--output", "/no/where/x.json")
    assert "--output" in result.err
    assert "no-such-model" not in result.err


def test_a_hostile_value_is_shown_on_one_printable_line(tokencost):
    result = tokencost("ratio", "--model", "a\nb\x1b[31m" + "c" * 500)
    assert_one_sentence(result, ("--model a b",))
    assert "\x1b" not in result.err
    assert len(result.err) < 250


def test_matplotlib_missing_names_the_extra(tokencost, tmp_path, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "matplotlib" else real(name),
    )
    result = tokencost("plot", "layers", *MODEL, "--output", tmp_path / "x.png")
    assert_one_sentence(result, ("matplotlib", "vlm-tokencost[plot]"))
    assert list(Path(tmp_path).iterdir()) == []


def test_an_interrupt_during_start_up_is_one_sentence(monkeypatch, capsys):
    from vlm_tokencost.cli import __main__ as entry

    class Interrupted:
        """A finder that the user interrupts."""

        def find_spec(self, name, path=None, target=None):
            if name == "vlm_tokencost.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "vlm_tokencost.cli.main", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as caught:
        entry.run()
    assert caught.value.code == 130
    assert capsys.readouterr() == ("", "error: interrupted\n")


def test_what_must_happen_at_an_end_happens():
    code = (
        "import atexit, sys\n"
        "from vlm_tokencost.cli.__main__ import run\n"
        "atexit.register(lambda: print('the end'))\n"
        "sys.argv = ['tokencost', 'models', 'show', 'llava-1.5-7b', '--format', 'json']\n"
        "sys.stdout.write('the start\\n')\n"  # left in a buffer
        "run()\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("the start\n{")
    assert result.stdout.endswith("}\nthe end\n")
