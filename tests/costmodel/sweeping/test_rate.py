"""The benchmark of sweeps runs, and its grid is as large as it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from math import comb
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own figures")
def test_the_benchmark_prints_its_rates():
    words = ("--rows", "300000", "--parquet-rows", "2000", "--counts", "0")
    run = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "sweep_rate.py"), *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    found = dict(re.findall(r"^\| ([a-zA-Z ]+) \| ([0-9.,e+]+) \|", run.stdout, re.MULTILINE))
    rates = {name: float(rate.replace(",", "")) for name, rate in found.items()}
    assert set(rates) == {"arrays", "reports", "to Parquet", "memory bandwidth"}
    assert rates["arrays"] > 100 * rates["reports"], "arrays are what is fast"
    assert comb(31, 3) * comb(60, 3) > 10**8
    assert "300,000 schedules" in run.stdout
