"""Help, --quiet and shell completion, as a user at a shell meets them."""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from terminal import on_terminal, piped
from vlm_tokencost.cli.main import COMMANDS
from vlm_tokencost.cli.panels import PANELS

HALF = ("--model", "llava-1.5-7b", "--prune-layer", "2", "--keep", "0.5")


def leaves() -> list[tuple[str, ...]]:
    """Return the words of every command that can be run."""
    found = []
    for name, (module, _) in COMMANDS.items():
        app = importlib.import_module(f"vlm_tokencost.cli.commands.{module}").app
        command = typer.main.get_command(app)
        inner = getattr(command, "commands", None)
        found += [(name, one) for one in inner] if inner else [(name,)]
    return found


LEAVES = leaves()


def test_every_command_has_a_panel_of_its_own():
    listed = [name for names in PANELS.values() for name in names]
    assert sorted(listed) == sorted(COMMANDS)


def test_help_lists_the_commands_in_panels(tokencost):
    out = tokencost("--help").out
    places = [out.index(f"─ {panel} ─") for panel in PANELS]
    assert places == sorted(places)
    for name in COMMANDS:
        assert f"│ {name} " in out
    for option in ("--version", "--quiet", "--install-completion", "--show-completion"):
        assert option in out
    assert tokencost().out == tokencost("-h").out == out


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_shows_an_example_that_is_its_own(tokencost, words):
    out = " ".join(tokencost(*words, "--help").out.replace("│", " ").split())
    assert f"Example: tokencost {' '.join(words)}" in out
    assert "--quiet" in out


def examples() -> list[object]:
    """Return the examples of all commands that read no file of the user's and are quick."""
    found = []
    for words in LEAVES:
        app = importlib.import_module(f"vlm_tokencost.cli.commands.{COMMANDS[words[0]][0]}").app
        command = typer.main.get_command(app)
        if len(words) > 1:
            command = command.commands[words[1]]  # type: ignore[attr-defined]
        (line,) = [one for one in (command.help or "").splitlines() if "Example:" in one]
        example = line.partition("Example: tokencost ")[2]
        if not any(word in example for word in (".csv", "config.json", "validate", "report")):
            found.append(pytest.param(example, id=" ".join(words)))
    return found


@pytest.mark.parametrize("example", examples())
def test_the_examples_run(tokencost, tmp_path, monkeypatch, example):
    monkeypatch.chdir(tmp_path)
    result = tokencost(*shlex.split(example), "--quiet")
    assert (result.status, result.err) == (0, "")


@pytest.mark.parametrize("place", ["first", "last"])
def test_quiet_leaves_talk_unsaid(tokencost, tmp_path, place):
    words = ("plot", "layers", *HALF, "--output", tmp_path / "a.svg")
    assert "wrote" in tokencost(*words).err
    quiet = ("--quiet", *words) if place == "first" else (*words, "--quiet")
    result = tokencost(*quiet)
    assert (result.status, result.out, result.err) == (0, "", "")
    assert (tmp_path / "a.svg").exists()


def test_quiet_changes_no_answer(tokencost):
    assert tokencost("ratio", *HALF, "--quiet").out == tokencost("ratio", *HALF).out


def test_errors_are_told_quietly_too(tokencost):
    result = tokencost("--quiet", "ratio", "--model", "lava-1.5-7b")
    assert result.status == 2
    assert result.err == "error: --model lava-1.5-7b is not known; did you mean llava-1.5-7b?\n"


def test_quiet_shows_no_progress_on_a_terminal():
    words = ("claims", "check", "--method", "visionzip", "--format", "csv")
    assert "\x1b" in on_terminal(*words, columns=100).text  # a bar that is drawn anew
    quiet = on_terminal(*words, "--quiet", columns=100)
    assert quiet.status == 0
    assert "\x1b" not in quiet.text


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_standard_error_may_be_closed():
    code = "import sys; sys.stderr = None; from vlm_tokencost.cli.main import main; main()"
    words = [sys.executable, "-c", code, "ratio", *HALF, "--quiet"]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0


def completions(line: str) -> list[str]:
    """Return what bash's script would offer at the end of a line."""
    words = line.split(" ")
    environment = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    run = piped(**environment, _TOKENCOST_COMPLETE="complete_bash")
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tokencost rat", ["ratio"]),
        ("tokencost plot lay", ["layers"]),
        ("tokencost ratio --mod", ["--model"]),
        ("tokencost ratio --qui", ["--quiet"]),
        ("tokencost ratio --model llava-1.5-", ["llava-1.5-7b", "llava-1.5-13b"]),
        ("tokencost models show llava-1.5-", ["llava-1.5-7b", "llava-1.5-13b"]),
        ("tokencost ratio --method pyramidd", ["pyramiddrop"]),
        ("tokencost compare --methods fastv,pyramidd", ["fastv,pyramiddrop"]),
        ("tokencost memory --device a100-80-s", ["a100-80-sxm"]),
        ("tokencost validate --device c", ["cpu", "cuda"]),
        ("tokencost ratio --logits ", ["last", "all"]),
        ("tokencost ratio --convention ", ["survey", "gated", "exact", "all"]),
        ("tokencost ratio --rounding fl", ["floor", "float-floor"]),
        ("tokencost claims show fastv-01", ["fastv-01"]),
        ("tokencost results show vscan-6", ["vscan-64"]),
        ("tokencost nothing --mod", []),
        ("tokencost ratio --config ", []),  # the shell offers files
    ],
)
def test_completion_offers(line, offered):
    assert completions(line) == offered


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="needs bash")
def test_completion_works_in_bash(tmp_path):
    command = tmp_path / "tokencost"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vlm_tokencost.cli "$@"\n')
    command.chmod(0o755)
    # typer asks the process that started it which shell it is: bash, whatever runs the tests.
    asked = f'"{command}" --show-completion; exit $?'
    shown = subprocess.run(["/bin/bash", "-c", asked], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    script = f"""{shown.stdout}
COMP_WORDS=(tokencost ratio --model paligemma2-3b)
COMP_CWORD=3
_tokencost_completion tokencost
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p tokencost
"""
    run = subprocess.run(
        ["/bin/bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=True,
    )
    *offered, registered = run.stdout.splitlines()
    assert offered
    assert all(one.startswith("paligemma2-3b") for one in offered)
    assert "_tokencost_completion" in registered


def test_completion_costs_other_starts_nothing():
    code = (
        "import sys\nfrom vlm_tokencost.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "assert 'vlm_tokencost.cli.completion' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, "ratio", *HALF], capture_output=True, check=True)
