"""The house: import direction, packaged folders, what start-up imports, static tables."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Each folder may import itself and the folders before it.
ORDER = ("costmodel", "presets", "validation", "cli")
HEAVY = {"torch", "transformers", "fvcore", "matplotlib", "PIL", "scipy"}
HEAVY |= {"pandas", "pyarrow", "reportlab"}


def imports_of(path: Path) -> set[str]:
    """Return the top-level folders and distributions that a module imports."""
    found = set()
    depth_of_folder = len(path.relative_to(ROOT).parts) - 1
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level > depth_of_folder:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {name.split(".")[0] for name in names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("folder", ORDER)
def test_import_direction(folder):
    allowed = set(ORDER[: ORDER.index(folder) + 1])
    modules = list((ROOT / folder).rglob("*.py"))
    assert modules
    for module in modules:
        wrong = (imports_of(module) & set(ORDER)) - allowed
        assert not wrong, f"{module.relative_to(ROOT)} imports {wrong}"
        assert "vlm_tokencost" not in imports_of(module), "imports inside the package are relative"


def test_import_direction_test_can_fail():
    module = ROOT / "cli" / "commands" / "ratio.py"
    assert {"costmodel"} <= imports_of(module), "the reader of imports sees relative imports"


def test_the_cost_model_does_no_input_or_output():
    for module in (ROOT / "costmodel").glob("*.py"):
        assert not imports_of(module) & {
            "os",
            "io",
            "sys",
            "pathlib",
            "subprocess",
            "typer",
            "rich",
        }
        tree = ast.parse(module.read_text(encoding="utf-8"))
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = {call.id for call in calls if isinstance(call, ast.Name)}
        assert not names & {"print", "open", "input"}


def test_packages_are_the_folders_with_modules():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = set(project["tool"]["setuptools"]["packages"])
    present = {
        "vlm_tokencost." + ".".join(init.parent.relative_to(ROOT).parts)
        for folder in ORDER
        for init in (ROOT / folder).rglob("__init__.py")
    }
    assert declared == present


def test_package_data_covers_every_data_file():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = project["tool"]["setuptools"]["package-data"]
    for folder in ORDER:
        patterns = declared[f"vlm_tokencost.{folder}"]
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and file.suffix not in {".py", ".pyc"}:
                relative = file.relative_to(ROOT / folder)
                assert any(relative.match(pattern) for pattern in patterns), file


def test_type_checkers_see_the_folders():
    for folder in ORDER:
        assert (ROOT / ".typing" / "vlm_tokencost" / folder).resolve() == ROOT / folder


def modules_after(*words: str, status: int = 0) -> set[str]:
    """Return the top-level modules that a fresh process has imported after a command."""
    code = (
        "import sys, json\n"
        "from vlm_tokencost.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        f"except SystemExit as end:\n    assert (end.code or 0) == {status}, end.code\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})), file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    return set(json.loads(run.stderr.splitlines()[-1]))


SOLVED = ("--model", "llava-1.5-7b", "--prune-layer", "2", "--keep", "free")
SOLVED = (*SOLVED, "--target-ratio", "0.45")
COMMANDS = [
    ("ratio", "--model", "llava-1.5-7b", "--prune-layer", "2", "--keep", "0.5"),
    ("ratio", "--method", "fastv", "--model", "llava-1.5-7b"),
    ("cost", "--model", "qwen2.5-vl-7b", "--explain"),
    ("cost", "--model", "gemma3-4b", "--new-tokens", "9"),
    ("train", "--method", "pyramiddrop", "--model", "llava-1.5-7b", "--fixed-share", "0.5"),
    ("cost", "--method", "tome", "--model", "llava-1.5-7b", "--budget", "64"),
    ("compare", "--model", "llava-1.5-7b", "--methods", "fastv,tome"),
    ("solve", *SOLVED),
    ("explain", "3.82T", "--model", "llava-1.5-7b"),
    ("claims", "check", "zipvl-01"),
    ("results", "list"),
    ("latency", "--model", "llava-1.5-7b", "--method", "fastv", "--device", "a100-80gb"),
    (
        "crossover",
        "--model",
        "llava-1.5-7b",
        "--tokens",
        "64",
        "--device",
        "h100",
        "--over",
        "batch",
    ),
    ("models", "list"),
    ("models", "show", "llava-1.5-7b"),
    ("methods", "list"),
    ("methods", "show", "visionzip"),
    ("memory", "--model", "llava-1.5-7b", "--device", "a100-80gb", "--tp", "2"),
    ("devices", "list"),
    ("devices", "show", "a100"),
]
#: Mistakes in what is to be validated, each found at another place.
MISTAKES = [
    ("--model", "lava-1.5-7b"),
    ("--model", "llava-1.5-7b", "--counter", "all", "--device", "meta"),
    ("--model", "llava-1.5-7b", "--visual-tokens", "9"),
    ("--model", "llava-1.5-7b", "--output", "/no/where/x.json"),
    ("--model", "qwen2-vl-7b", "--tokens", "9", "--tokens-at", "before-connector"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:2]))
def test_calculator_commands_start_light(words):
    assert not modules_after(*words) & (HEAVY | {"numpy"})
    for form in ("json", "csv", "markdown", "latex"):
        assert not modules_after(*words, "--format", form) & (HEAVY | {"numpy", "rich"})


@pytest.mark.parametrize("words", MISTAKES, ids=lambda words: " ".join(words[-2:]))
def test_a_mistake_is_told_before_torch_is_imported(words):
    assert not modules_after("validate", *words, status=2) & (HEAVY | {"numpy"})


def test_light_start_test_can_fail(tmp_path):
    figure = str(tmp_path / "x.png")
    words = ("plot", "layers", "--model", "llava-1.5-7b", "--output", figure)
    assert "matplotlib" in modules_after(*words)
    assert "rich" in modules_after(*COMMANDS[0])


def test_command_table_agrees_with_the_modules():
    import typer
    from vlm_tokencost.cli.main import COMMANDS as TABLE

    files = {path.stem for path in (ROOT / "cli" / "commands").glob("*.py")} - {"__init__"}
    assert {module for module, _ in TABLE.values()} == files
    for name, (module, line) in TABLE.items():
        app = importlib.import_module(f"vlm_tokencost.cli.commands.{module}").app
        command = typer.main.get_command(app)
        assert (command.help or "").strip().splitlines()[0] == line, name


def test_every_command_has_an_example_in_its_help():
    import typer

    for path in (ROOT / "cli" / "commands").glob("*.py"):
        if path.stem == "__init__":
            continue
        app = importlib.import_module(f"vlm_tokencost.cli.commands.{path.stem}").app
        command = typer.main.get_command(app)
        for leaf in getattr(command, "commands", {"": command}).values():
            assert "Example: tokencost " in (leaf.help or ""), leaf.name


def test_version_is_the_same_everywhere():
    from vlm_tokencost.costmodel import __version__

    assert f"version: {__version__}" in (ROOT / "CITATION.cff").read_text()
    assert __version__ in (ROOT / "CHANGELOG.md").read_text()
