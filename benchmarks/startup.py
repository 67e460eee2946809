"""Times `tokencost ratio` against the floor program, and checks what a command imports.

Whole processes, started alike, in alternation (floor, ratio, floor, ratio, …) after warm-up
runs that also write the compiled files. The exit code is 0 when the median of the pairwise
ratios is within the limit and no command imports what it must not, else 1.

    python benchmarks/startup.py [--pairs N]
    python benchmarks/startup.py --instructions

The second form counts the instructions of one run each under valgrind, which no other program on
the machine disturbs; loading pages from disk and the kernel's own work are not in it.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

LIMIT = 1.15
WARM_UPS = 3
HERE = Path(__file__).resolve().parent

FLOOR = ("floor",)
COMMAND = ("vlm_tokencost.cli",)
SCHEDULE = ("--model", "llava-1.5-7b", "--prune-layer", "2", "--keep", "0.5")
RATIO = (*COMMAND, "ratio", *SCHEDULE)

DATA_COMMANDS = {
    "ratio": SCHEDULE,
    "cost": SCHEDULE,
    "models list": (),
    "models show": ("llava-1.5-7b",),
}
COUNTER = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
FORMATS = ("table", "json", "csv", "markdown", "latex")
HEAVY = frozenset({"torch", "transformers", "fvcore", "matplotlib"})
#: Imported where they are used; JSON uses neither.
LAZY = frozenset({"numpy", "rich"})
#: Without compiled files every start compiles its sources, which is not what a user waits for.
UNWANTED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPROFILEIMPORTTIME")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=_pairs, default=30, help="timed pairs (default: 30)")
    parser.add_argument("--instructions", action="store_true", help="count, with valgrind")
    options = parser.parse_args()
    pairs = options.pairs

    libraries = ", ".join(f"{name} {version(name)}" for name in ("typer", "pydantic", "rich"))
    print(f"Python {platform.python_version()}, {libraries}; {os.cpu_count()} CPUs")
    if options.instructions:
        return 0 if report_instructions() else 1
    fast = report_times(*time_pairs(pairs))
    lean = report_imports()
    return 0 if fast and lean else 1


def _pairs(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text} is not a number of pairs; give 2 or more")
    return int(text)


def run(arguments: Sequence[str], *flags: str, keep_output: bool = True) -> tuple[str, str]:
    """Run a module in a fresh interpreter and return its stdout and stderr.

    Both programs start by `python -m` from this folder, so that both pay for the same launcher
    and both are read from compiled files.
    """
    environment = {key: value for key, value in os.environ.items() if key not in UNWANTED}
    result = subprocess.run(
        [sys.executable, *flags, "-m", *arguments],
        cwd=HERE,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if keep_output else subprocess.DEVNULL,
        stderr=subprocess.PIPE if keep_output else None,
        encoding="utf-8",
        check=False,
    )
    if result.returncode:
        sys.stderr.write((result.stderr or "")[-4000:])
        raise SystemExit(f"python -m {' '.join(arguments)} exited with {result.returncode}")
    return result.stdout or "", result.stderr or ""


def time_pairs(pairs: int) -> tuple[list[float], list[float]]:
    """Return the wall seconds of `pairs` floor runs and of the `ratio` runs that follow each."""
    for arguments in (FLOOR, RATIO) * WARM_UPS:
        stdout, _ = run(arguments)
        if not stdout.strip():
            raise SystemExit(f"python -m {' '.join(arguments)} printed nothing")
    floor_seconds, ratio_seconds = [], []
    for _ in range(pairs):
        floor_seconds.append(wall_seconds(FLOOR))
        ratio_seconds.append(wall_seconds(RATIO))
    return floor_seconds, ratio_seconds


def wall_seconds(arguments: Sequence[str]) -> float:
    """Return how long a whole process takes, from its start to its end."""
    start = time.perf_counter()
    run(arguments, keep_output=False)
    return time.perf_counter() - start


def report_times(floor_seconds: list[float], ratio_seconds: list[float]) -> bool:
    """Print medians and pairwise ratios; return whether the median ratio is within the limit."""
    for name, seconds in (("floor", floor_seconds), ("tokencost ratio", ratio_seconds)):
        lower, median, upper = statistics.quantiles(seconds, n=4, method="inclusive")
        spread = f"(quartiles {lower * 1e3:.1f}–{upper * 1e3:.1f})"
        print(f"{name:<16}{median * 1e3:7.1f} ms  {spread}")
    ratios = [ratio / floor for floor, ratio in zip(floor_seconds, ratio_seconds, strict=True)]
    lower, median, upper = statistics.quantiles(ratios, n=4, method="inclusive")
    within = median <= LIMIT
    print(
        f"{'ratio of pairs':<16}{median:7.3f}     (quartiles {lower:.3f}–{upper:.3f}, "
        f"{len(ratios)} pairs): {'within' if within else 'ABOVE'} {LIMIT}"
    )
    return within


def report_instructions() -> bool:
    """Print the instructions of both programs; return whether their ratio is within the limit."""
    counts = {}
    for name, arguments in (("floor", FLOOR), ("tokencost ratio", RATIO)):
        run(arguments, keep_output=False)  # writes the compiled files
        counts[name] = instructions(arguments)
        print(f"{name:<16}{counts[name] / 1e6:9.1f} million instructions")
    ratio = counts["tokencost ratio"] / counts["floor"]
    within = ratio <= LIMIT
    print(f"{'ratio':<16}{ratio:9.3f}  {'within' if within else 'ABOVE'} {LIMIT}")
    return within


def instructions(arguments: Sequence[str]) -> int:
    """Return the instructions that a run executes, which differ by a few thousand between runs."""
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is needed: install Debian's package of that name")
    kept = {key: value for key, value in os.environ.items() if key not in UNWANTED}
    result = subprocess.run(
        [*COUNTER, sys.executable, "-m", *arguments],
        cwd=HERE,
        env={**kept, "PYTHONHASHSEED": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    counted = re.search(r"Collected : (\d+)", result.stderr)
    if counted is None:
        raise SystemExit(f"valgrind counted nothing: {result.stderr[-2000:]}")
    return int(counted[1])


def report_imports() -> bool:
    """Print what each data command imports in each format; return whether all of it is allowed."""
    allowed = True
    for name, arguments in DATA_COMMANDS.items():
        for format_name in FORMATS:
            loaded = imported((*COMMAND, *name.split(), *arguments, "--format", format_name))
            banned = HEAVY | LAZY if format_name == "json" else HEAVY
            wrong = loaded & banned
            allowed = allowed and not wrong
            found = ", ".join(sorted(loaded & (HEAVY | LAZY))) or "none of those watched"
            verdict = f"; MUST NOT import {', '.join(sorted(wrong))}" if wrong else ""
            print(f"{name:<12}--format {format_name:<9} imports {found}{verdict}")
    return allowed


def imported(arguments: Sequence[str]) -> set[str]:
    """Return the top-level packages that a run imports, from `-X importtime`."""
    _, stderr = run(arguments, "-X", "importtime")
    names = [line.split("|")[-1].strip() for line in stderr.splitlines() if "import time:" in line]
    if "vlm_tokencost" not in {name.partition(".")[0] for name in names}:
        raise SystemExit("-X importtime did not report vlm_tokencost: the check sees nothing")
    return {name.partition(".")[0] for name in names}


if __name__ == "__main__":
    sys.exit(main())
