"""The public names: exported on purpose, shown by example, and typed as a user can check.

`python tests/test_public_names.py` writes their list into docs/library.md.
"""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "library.md"
PACKAGES = ("vlm_tokencost.costmodel", "vlm_tokencost.presets")
NAMES = [
    pytest.param(package, name, id=f"{package.rpartition('.')[2]}.{name}")
    for package in PACKAGES
    for name in importlib.import_module(package).__all__
]
#: Constants and types, which have no docstring of their own.
PLAIN = {
    "CONVENTIONS": "The conventions, in order: `survey`, `gated`, `exact`.",
    "Convention": "The type of their names.",
    "Operator": "A `Linear`, an `Attention` or a `Convolution`.",
    "__version__": "The version of the package.",
}

SCRIPT = """
from fractions import Fraction

from vlm_tokencost.costmodel import (
    Counting,
    InvalidInput,
    Report,
    Schedule,
    Stage,
    Target,
    Workload,
    evaluate,
    solve,
)
from vlm_tokencost.costmodel.latency import latency
from vlm_tokencost.costmodel.peak import peak
from vlm_tokencost.presets import list_models, load_device, load_method, load_model


def cheapest(models: list[str], budget: int) -> dict[str, float]:
    ratios: dict[str, float] = {}
    for name in models:
        model = load_model(name)
        try:
            schedule = load_method("fastv").schedule(model, Workload(), budget)
        except InvalidInput as error:
            print(error.field, error.way_out)
            continue
        report: Report = evaluate(model, Workload(text_tokens=32), schedule, Counting())
        ratios[name] = report.ratio("exact")
    return ratios


report = evaluate(load_model(list_models()[0]), schedule=Schedule.keep(0.5, layer=2))
total: int = report.total("survey")
answer: dict[str, object] = report.to_dict("exact")
seconds: float = latency(report, load_device("a100")).scheduled.ttft.central
held: int = peak(report).total
found = solve(lambda n: Fraction(n), 1, 9, Target("flops", Fraction(4)).amount)
within: int | None = found.within if found else None
stage: Stage = Stage(first_layer=2, ratio=Fraction(1, 2))
"""


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_every_public_name_has_an_example(package, name):
    value = getattr(importlib.import_module(package), name)
    if name not in PLAIN:
        assert ">>> " in (inspect.getdoc(value) or ""), "its own docstring shows it in use"
        assert value.__doc__


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_exported_is_what_is_listed(package):
    module = importlib.import_module(package)
    source = Path(module.__file__ or "").read_text(encoding="utf-8")
    exported = set(re.findall(r"import (\w+) as \1$", source, re.MULTILINE))
    assert exported == set(module.__all__) == set(dir(module))
    assert set(module._LATER) < exported


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_there_is_not(package):
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = importlib.import_module(package).nothing


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_documented(package):
    assert listed(package) in PAGE.read_text(encoding="utf-8")


def listed(package: str) -> str:
    """Return the page's list of a package: names, and the first lines of their docstrings."""
    module = importlib.import_module(package)
    lines = [f"<!-- names: {package.rpartition('.')[2]} -->", f"| `{package}` | |", "|---|---|"]
    for name in module.__all__:
        text = PLAIN.get(name) or (inspect.getdoc(getattr(module, name)) or "").splitlines()[0]
        lines.append(f"| `{name}` | {text.replace('|', chr(92) + '|')} |")
    return "\n".join([*lines, "<!-- end of names -->"])


def rewrite() -> None:
    """Write the present names into the page."""
    text = PAGE.read_text(encoding="utf-8")
    for package in PACKAGES:
        kind = package.rpartition(".")[2]
        block = re.compile(rf"<!-- names: {kind} -->.*?<!-- end of names -->", re.DOTALL)
        text = block.sub(lambda _, package=package: listed(package), text)
    PAGE.write_text(text, encoding="utf-8")


def test_a_users_script_is_strictly_typed(tmp_path):
    right, wrong = tmp_path / "right.py", tmp_path / "wrong.py"
    right.write_text(SCRIPT)
    exec(compile(SCRIPT, "script.py", "exec"), {})
    wrong.write_text("from vlm_tokencost.costmodel import Schedule\nSchedule.keep(0.5)\n")
    complaints = checked(right, wrong)
    assert "right.py" not in complaints
    assert 'wrong.py:2: error: Missing positional argument "layer"' in complaints


def checked(*scripts: Path) -> str:
    """Return what mypy --strict complains of in scripts of the package's users."""
    environment = {"MYPYPATH": str(ROOT / ".typing"), "PATH": "/usr/bin"}
    words = ("--strict", "--no-error-summary", "--namespace-packages", "--explicit-package-bases")
    run = subprocess.run(
        [sys.executable, "-m", "mypy", *words, "--follow-imports=silent", *map(str, scripts)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=scripts[0].parent,
        check=False,
    )
    assert run.stderr == ""
    return run.stdout


if __name__ == "__main__":
    rewrite()
