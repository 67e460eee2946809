"""How many schedules a second a sweep prices, beside counting one and beside moving its numbers.

`python benchmarks/sweep_rate.py [--rows N] [--parquet-rows N] [--counts N]` takes a grid of three
stages of LLaVA-1.5-7B, by default 10⁸ schedules of it. One evaluation turns (K1, r1, K2, r2, K3,
r3) into the totals of all conventions, encoder, connector and head included, into the bytes of the
KV cache and the sum of visual tokens; rounding is done each time, and no figure of another row is
looked up. Beside it:

- the scalar path, a `Report` for each schedule;
- torch's `FlopCounterMode` over transformers' model on the meta device, built once (`--counts 0`
  leaves it out);
- what `numpy.copyto` moves between arrays larger than any cache, as schedules a second if all
  columns came from memory and went there.

Wall time is what a user waits for; CPU time is what is left of a busy machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
from vlm_tokencost.costmodel import (
    CONVENTIONS,
    Report,
    Schedule,
    Stage,
    Workload,
    evaluate,
    kv_cache_bytes,
)
from vlm_tokencost.costmodel.sweeping import Combinations, StagePricer
from vlm_tokencost.costmodel.sweeping.block import BLOCK
from vlm_tokencost.presets import load_model

MODEL = "llava-1.5-7b"
#: Shares of n/60: C(31, 3) · C(60, 3) = 153,818,900 schedules.
SHARES = 60


def peak_rss() -> float:
    """Return the most memory that this process has held, in megabytes (Linux)."""
    text = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+)", text)
    assert found is not None
    return int(found[1]) * 1024 / 1e6


class Watch:
    """Wall and CPU time since it was made."""

    def __init__(self) -> None:
        """Begin."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def rates(self, count: int) -> tuple[float, float]:
        """Return how many a second, by wall and by CPU time."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return count / wall, count / cpu


def show(what: str, wall: float, cpu: float | None, note: str = "") -> None:
    spent = "" if cpu is None else f"{cpu:,.4g}"
    print(f"| {what} | {wall:,.4g} | {spent} | {note} |", flush=True)


def over_arrays(rows: int) -> None:
    """Price a grid block by block, from the numbers of its rows."""
    pricer = StagePricer(load_model(MODEL))
    grid = Combinations(tuple(range(1, 32)), tuple(range(1, SHARES + 1)), 3)
    rows, reader = min(rows, grid.rows), grid.reader()
    out = {name: np.empty(BLOCK) for name in pricer.outputs}
    sums = dict.fromkeys(pricer.outputs, 0.0)
    million_rss, watch = 0.0, Watch()
    for first in range(0, rows, BLOCK):
        count = min(BLOCK, rows - first)
        layers, shares = reader.read(first, count)
        figures = {name: values[:count] for name, values in out.items()}
        pricer.price_into(figures, layers, shares, SHARES, known_whole=True)
        sums["exact"] += float(figures["exact"].sum())  # every figure is used
        if first < 1_000_000 <= first + count:
            million_rss = peak_rss()
    wall, cpu = watch.rates(rows)
    note = f"{rows:,} schedules, peak {peak_rss():.0f} MB ({million_rss:.0f} MB after a million)"
    show("arrays", wall, cpu, note)


def one_by_one(count: int = 200) -> None:
    """Price schedules as reports."""
    model, watch = load_model(MODEL), Watch()
    for row in range(count):
        report = evaluate(model, Workload(), schedule(2 + row % 7, row % 20))
        _ = [report.total(name) for name in CONVENTIONS]
        kv_cache_bytes(model, report.scheduled)
    show("reports", *watch.rates(count), f"{count} schedules")


def schedule(layer: int, step: int) -> Schedule:
    ratios = [Fraction(SHARES - step - 5 * place, SHARES) for place in range(3)]
    stages = [Stage(first_layer=layer + 7 * n, ratio=ratio) for n, ratio in enumerate(ratios)]
    return Schedule(stages=tuple(stages))


def counted(count: int) -> None:
    """Count the same figures by running the model on meta."""
    import torch
    from vlm_tokencost.validation.build import build
    from vlm_tokencost.validation.compare import crops_per_image
    from vlm_tokencost.validation.counters.flop_counter import count_flops
    from vlm_tokencost.validation.forward import Driver
    from vlm_tokencost.validation.reduction import Reduction

    model = load_model(MODEL)
    driver = Driver(build(model, "meta", dtype="float32"))
    watch = Watch()
    for row in range(count):
        report: Report = evaluate(model, Workload(), schedule(2, row))
        plan = report.scheduled
        request = driver.request(plan.images, crops_per_image(plan), plan.text_tokens)
        reduction = Reduction.of(report.schedule, plan)
        with torch.no_grad():
            flops = sum(count_flops(lambda: driver.prefill(request, reduction)).values())  # noqa: B023
        assert flops == report.total("exact"), "the counter and the closed form differ"
    show(
        "FlopCounterMode", *watch.rates(count), f"{count} schedules, meta device, exact FLOPs alone"
    )


def to_parquet(rows: int) -> None:
    """Write a grid by the command, in a process of its own."""
    code = (
        "import re, sys, time\n"
        "from pathlib import Path\n"
        "from vlm_tokencost.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(time.process_time(), int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) * 1024 / 1e6)"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid.parquet"
        words = ["sweep", "--model", MODEL, "--prune-layer", "1:31", "--keep", "0.02:1:0.02"]
        words += ["--stages", "3", "--limit", str(rows), "--quiet", "--output", str(path)]
        watch = Watch()
        run = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
        )
        wall, _ = watch.rates(rows)
        cpu, rss = map(float, run.stdout.split())
        size = path.stat().st_size / rows
        note = f"{rows:,} rows of {size:.0f} bytes, peak {rss:.0f} MB, start-up included"
        show("to Parquet", wall, rows / cpu, note)


def bandwidth() -> None:
    """Copy arrays that no cache holds: eight bytes are read and eight written for each number."""
    source = np.ones(2**25)  # 256 MB
    target = np.empty_like(source)
    np.copyto(target, source)
    times = []
    for _ in range(7):
        begin = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - begin)
    rate = 2 * source.nbytes / min(times)
    # Six numbers in and five out of each schedule.
    note = f"copy of 256 MB at {rate / 1e9:.1f} GB/s; 11 numbers of 8 bytes for each schedule"
    show("memory bandwidth", rate / (11 * 8), None, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--parquet-rows", type=int, default=5_000_000)
    parser.add_argument("--counts", type=int, default=3)
    asked = parser.parse_args()
    print(f"Python {platform.python_version()}, numpy {np.__version__}, {os.cpu_count()} cores")
    print("| way | per second (wall) | per second (CPU) | |")
    print("| --- | ---: | ---: | --- |")
    over_arrays(asked.rows)
    one_by_one()
    if asked.parquet_rows:
        to_parquet(asked.parquet_rows)
    if asked.counts:
        counted(asked.counts)
    bandwidth()


if __name__ == "__main__":
    main()
