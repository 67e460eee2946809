"""`tokencost sweep`: a grid of models, workloads, schedules and devices, a row each."""

from __future__ import annotations

import sys

import typer

from ..options import shares
from ..sweep_options import Axes, Destination, Devices

app = typer.Typer(add_completion=False)


@app.command()
@shares(Axes, Devices, Destination)
def sweep(axes: Axes, devices: Devices, destination: Destination) -> None:
    """Price a grid of schedules, models, workloads and devices: CSV, JSON lines or Parquet.

    VALUES are numbers, lists such as 8,16 and ranges START:STOP:STEP, which have their STOP.

    Example: tokencost sweep --model llava-1.5-7b --prune-layer 1:31 --keep 0.05:1:0.05
    """
    from ..sweep_run import run

    status = run(axes, devices, destination)
    if status:
        sys.exit(status)
