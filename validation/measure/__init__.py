"""Real clocks: what baselines and methods take on a machine, by phase, as a resumable suite.

plan_suite(options)                   the cases, the most telling of each model first
run_suite(options, path, progress)    measures them and writes the file after every case
markdown(document)                    the file as a table
"""

from __future__ import annotations

from .options import Case, Options, plan_suite
from .suite import run_suite
from .table import markdown

__all__ = ["Case", "Options", "markdown", "plan_suite", "run_suite"]
