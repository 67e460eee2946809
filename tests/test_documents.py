"""README and docs: every command is run, and what it prints is what the page shows.

`python tests/test_documents.py` writes the present output into the pages.
"""

from __future__ import annotations

import doctest
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"```console\n\$ (?P<command>[^\n]*)\n(?P<output>.*?)```\n", re.DOTALL)
EXAMPLES = [
    pytest.param(match["command"], match["output"], id=f"{page.name}: {match['command'][:70]}")
    for page in PAGES
    for match in BLOCK.finditer(page.read_text(encoding="utf-8"))
]


def printed(command: str, folder: Path) -> str:
    """Run a documented command in a folder that holds the documented files."""
    words = shlex.split(command)
    assert words[0] == "tokencost", f"only tokencost is run from documents, not {command}"
    shutil.copytree(ROOT / "docs" / "examples", folder / "docs" / "examples", dirs_exist_ok=True)
    run = subprocess.run(
        [sys.executable, "-m", "vlm_tokencost.cli", *words[1:]],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout + run.stderr


def test_documents_show_commands():
    assert len(EXAMPLES) >= 8
    shown = {param.values[0].split()[1] for param in EXAMPLES}
    assert shown >= {
        "ratio",
        "cost",
        "plot",
        "validate",
        "methods",
        "models",
        "compare",
        "solve",
        "train",
        "latency",
        "crossover",
        "claims",
        "explain",
        "results",
        "sweep",
        "frontier",
        "devices",
        "memory",
    }


@pytest.mark.parametrize(("command", "output"), EXAMPLES)
def test_documented_output_is_real(command, output, tmp_path):
    assert printed(command, tmp_path) == output


def test_readme_set_up_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = dict(re.findall(r"<!-- (run|test) command -->\n```bash\n([^\n]*)\n```", readme))
    assert commands["run"].startswith("pip install . && tokencost ratio ")
    assert commands["test"] == "pip install -c constraints.txt -e '.[dev]' && make check"
    assert "pip install tokencost" not in readme, "that name belongs to another project"


def test_readme_run_command_is_the_first_example(tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"<!-- run command -->\n```bash\npip install \. && ([^\n]*)\n", readme)
    assert command == EXAMPLES[0].values[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_run(page):
    blocks = re.findall(r"```pycon\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    text = "\n".join(blocks)  # the blocks of a page go on from one another
    runner.run(parser.get_doctest(text, {}, page.name, str(page), 0))
    assert runner.failures == 0


def test_the_library_example_has_five_lines():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```pycon\n(.*?)```", readme, re.DOTALL)
    assert block.count(">>> ") == 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_toml_examples_are_schedules(page, tmp_path):
    from vlm_tokencost.presets import read_schedule

    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL):
        path = tmp_path / "plan.toml"
        path.write_text(block, encoding="utf-8")
        tables = tomllib.loads(block)
        schedule = read_schedule(path)
        assert len(schedule.stages) == len(tables.get("stages", ()))
        assert set(tables) <= {*schedule.primitives, "name", "rounding"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def rewrite() -> None:
    """Write the present output of every documented command into its page."""
    import tempfile

    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            text = BLOCK.sub(
                lambda match: (
                    f"```console\n$ {match['command']}\n"
                    f"{printed(match['command'], Path(folder))}```\n"
                ),
                text,
            )
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    rewrite()
