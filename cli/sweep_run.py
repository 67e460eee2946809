"""Runs a sweep: what goes before the first row, the loop, progress, and an orderly interrupt."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ..costmodel import InvalidInput
from .options import flag
from .sweep_figures import Timed
from .sweep_files import (
    check_last_row,
    check_unfinished,
    present_rows,
    record_of,
    sink_of,
)
from .sweep_grid import Grid, check_size, grid_of
from .sweep_options import BITS, Axes, Destination, Devices, Form
from .sweep_rows import Rows


def run(axes: Axes, devices: Devices, destination: Destination) -> int:
    """Write a sweep; return the exit code.

    Raises:
        InvalidInput: Anything that is wrong, before the first row.
    """
    form, path = destination.chosen()
    limit = destination.most()
    _check_options(axes, devices)
    grid = grid_of(axes, devices)
    check_size(grid, limit)
    timed = Timed(devices)
    _check_requests(axes, grid, timed)
    if path:
        destination.spare_inputs(path, axes, devices)
    if form == "parquet":
        from .sweep_parquet import check_installed

        check_installed()
    record, rows = record_of(grid, timed), Rows(grid, timed)
    wanted = min(grid.rows, limit or grid.rows)
    present = 0
    if path and destination.resume:
        present = present_rows(path, form, record)
        if present and form != "parquet":
            check_last_row(path, form, grid, rows.blocks(present - 1, present))
    elif path:
        check_unfinished(path, form, record, wanted)
    if not destination.quiet:
        _say(_opening(grid, wanted, present))
    if present >= wanted:
        return 0
    return _write(rows, path, form, record, (present, wanted), destination.quiet)


def _write(
    rows: Rows, path: Path | None, form: Form, record: Any, span: tuple[int, int], quiet: bool
) -> int:
    """Write rows of a span; return the exit code."""
    present, wanted = span
    done, told, unpriced = present, quiet, 0
    with _interruptible() as stopped:
        sink = sink_of(form, path, rows.grid, record, present)
        try:
            with _progress(wanted, present, quiet) as advance:
                for block in rows.blocks(present, wanted):
                    sink.write(block)
                    done, unpriced = done + block.rows, unpriced + block.unpriced
                    if rows.one_by_one and not told and rows.grid.rows_per_cell > 1:
                        told = True
                        _say(f"priced one by one, not over arrays: {rows.one_by_one}")
                    advance(block.rows)
                    if stopped():
                        break
        except BrokenPipeError:
            # The reader left (`| head`): fine, but Python would complain at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        finally:
            sink.close()
    if done < wanted and stopped():
        go_on = "; the same command with --resume goes on" if path else ""
        _say(f"interrupted after {done:,} of {wanted:,} rows, all complete{go_on}")
        return 128 + stopped()
    if rows.rounded and not quiet:
        _say("totals from 2^53 on are rounded, within 1e-14 of the exact ones")
    if unpriced and not quiet:
        few = f"{unpriced:,} row{'s have' if unpriced > 1 else ' has'}"
        _say(f"{few} no figures: the column reason tells why")
    return 0


def _opening(grid: Grid, wanted: int, present: int) -> str:
    text = grid.counted()
    if wanted < grid.rows:
        text += f"; the first {wanted:,} are wanted"
    if present >= wanted:
        return f"{text}; all are there, nothing is left to do"
    return f"{text}; {present:,} are there" if present else text


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@contextmanager
def _interruptible() -> Iterator[Callable[[], int]]:
    """Note SIGINT and SIGTERM instead of dying of them; a second one interrupts at once."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                before[number] = signal.signal(number, note)
            except ValueError:
                break  # not in the main thread: nobody interrupts us
        yield lambda: caught[0] if caught else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(wanted: int, present: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show progress on a terminal: share, rows a second, time left."""
    if quiet or not sys.stderr.isatty():
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} rows/s,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    began, done = time.monotonic(), 0
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=wanted, completed=present, rate="…")

        def advance(rows: int) -> None:
            nonlocal done
            done += rows
            rate = done / max(time.monotonic() - began, 1e-9)
            bar.update(task, advance=rows, rate=f"{rate:,.0f}")

        yield advance


def _check_options(axes: Axes, devices: Devices) -> None:
    """Refuse options that do not go together, whatever the model.

    Raises:
        InvalidInput: Such options.
    """
    if axes.method:
        others = ("tokens", "tokens_at", "schedule", "rounding")
        axes.refuse("cannot go with --method", "leave one of them out", *others)
    if axes.schedule:
        axes.refuse("cannot go with --schedule", "put it into the schedule", "tokens", "tokens_at")
    if not axes.method:
        axes.refuse("needs --method", "add --method IDS", "budget")
    if not axes.tokens:
        axes.refuse("needs --tokens", "add --tokens START:STOP:STEP", "tokens_at")
    if not (axes.keep or axes.schedule):
        axes.refuse("has no ratio to round", "add --prune-layer and --keep", "rounding")
    if devices.device:
        reason = "is of counting FLOPs: fused attention leaves out masked pairs in times anyway"
        axes.refuse(reason, "leave it out, or leave --device out", "causal")
        return
    for name in ("runtime", "attention", *BITS, "load_ms"):
        value = getattr(devices, name)
        if value not in (None, ()):
            shown = ",".join(value) if isinstance(value, tuple) else value
            problem = "changes nothing without --device"
            raise InvalidInput(flag(name), shown, problem, "add --device IDS")


def _check_requests(axes: Axes, grid: Grid, timed: Timed) -> None:
    """Refuse what no cell can be asked with: methods, files, settings, a single workload.

    Raises:
        InvalidInput: One of these, named as it was typed.
        MissingExtra: A schedule file that needs what is not installed.
    """
    if axes.method:
        from ..presets import load_method

        for axis in grid.axes:
            if axis.name == "method":
                try:
                    _ = [load_method(name) for name in axis.values]
                except InvalidInput as error:
                    raise axes.renamed(error) from None
    if axes.schedule:
        from ..presets.language import open_written

        for text in axes.schedule:
            open_written(text, "--schedule")
    Rows(grid, timed).check_requests()
