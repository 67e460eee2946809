"""`tokencost validate --measure`: which suite is asked for, its progress, and where results go."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from ..costmodel import InvalidInput
from ..costmodel.numeric import whole
from .files import writable
from .options import Sink
from .request import Request

if TYPE_CHECKING:
    from ..validation.measure import Options

#: Shared options that the suite does not take: it has its own workloads and schedules.
_FIXED = (
    "config",
    "hf",
    "images",
    "frames",
    "processor",
    "image_size",
    "visual_tokens",
    "text_tokens",
    "new_tokens",
    "prune_layer",
    "keep",
    "tokens",
    "tokens_at",
    "budget",
    "schedule",
    "rounding",
    "logits",
    "implementation",
)


def measure(
    request: Request, sink: Sink, device: str | None, scale: str | None, minutes: str | None
) -> None:
    """Run the measuring suite, and print its table.

    Raises:
        InvalidInput: An option that is wrong, missing, or fixed by the suite.
        MissingExtra: torch or transformers is not installed.
        KeyboardInterrupt: After what was measured was written.
    """
    request.refuse("is fixed by --measure", "leave it out", *_FIXED)
    if sink.output in (None, "-"):
        raise InvalidInput(
            "--output", None, "is missing", "name a file: results are written as they come"
        )
    if sink.format not in (None, "json"):
        raise InvalidInput("--format", sink.format, "cannot go with --measure", "leave it out")
    path = writable(str(sink.output))
    options = _options(request, device, scale, minutes)
    _refuse_misfit(request, options)
    from ..validation.measure import markdown, run_suite

    with _bar() as progress:
        document = run_suite(options, path, progress)
    typer.echo(markdown(document), nl=False)
    missing = document["not_measured"]
    if missing:
        reasons = "; ".join(dict.fromkeys(str(entry["reason"]) for entry in missing))
        typer.echo(f"{len(missing)} cases were not measured: {reasons}", err=True)
    typer.echo(f"wrote {sink.output}", err=True)


def _options(
    request: Request, device: str | None, scale: str | None, minutes: str | None
) -> Options:
    from ..validation.build import require_device
    from ..validation.measure import Options

    chosen = device or ("cuda" if _has_cuda() else "cpu")
    require_device(chosen)
    given: dict[str, Any] = {}
    if request.model is not None:
        given["models"] = (request.model,)
    if request.method is not None:
        given["methods"] = (request.method,)
    if request.batch is not None:
        given["batches"] = (whole(request.batch, "--batch", minimum=1),)
    if minutes is not None:
        given["max_minutes"] = _minutes(minutes)
    size = scale or ("full" if chosen == "cuda" else "reduced")
    return Options(device=chosen, scale=size, **given)  # type: ignore[arg-type]


def _refuse_misfit(request: Request, options: Options) -> None:
    """Refuse a model or a method that there is not, and a method that fits no model asked for."""
    from ..validation.measure import plan_suite

    try:
        cases = plan_suite(options)
    except InvalidInput as error:
        raise request.renamed(error) from None
    refusals = [case.refusal for case in cases if case.method is not None]
    if request.method is not None and all(refusals):
        hint = "choose another method or model"
        raise InvalidInput("--method", request.method, f"cannot run: {refusals[0]}", hint)


def _has_cuda() -> bool:
    from ..validation.build import require_device

    try:
        require_device("cuda")
    except InvalidInput:
        return False
    return True


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise InvalidInput(
            "--max-minutes", text, "is not a time in minutes", "give a number above 0"
        )
    return minutes


@contextmanager
def _bar() -> Iterator[Any]:
    """Show a progress bar on a terminal's error stream, lines elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total, label: typer.echo(f"{done}/{total} {label}", err=True)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("")
        yield lambda done, total, label: progress.update(
            task, completed=done, total=total, description=label
        )
