"""`tokencost validate`: the closed form beside counters of real forward passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...costmodel import InvalidInput, MissingExtra
from ..comparison import document
from ..document import Document
from ..export import deliver
from ..options import Sink, Text, one_of, option, shares
from ..request import Request

if TYPE_CHECKING:
    from ...validation.compare import Comparison, Setting

app = typer.Typer(add_completion=False)

VALIDATION = "Validation"
COUNTERS, DEVICES, SCALES = (
    ("torch", "fvcore", "profiler"),
    ("meta", "cpu", "cuda"),
    ("full", "reduced"),
)


@app.command()
@shares(Request, Sink)
def validate(
    request: Request,
    sink: Sink,
    counter: Annotated[
        Text,
        option(
            VALIDATION,
            "--counter",
            "torch (FlopCounterMode), fvcore, profiler (torch.profiler) or all (default: torch).",
            "NAME",
        ),
    ] = None,
    scale: Annotated[
        Text,
        option(
            VALIDATION,
            "--scale",
            "full: the model as it is; reduced: all layers and tokens, small widths "
            "(default: full for torch, reduced for the others).",
            "full|reduced",
        ),
    ] = None,
    device: Annotated[
        Text,
        option(
            VALIDATION,
            "--device",
            "meta (shapes without weights), cpu or cuda (default: meta for torch at full scale, "
            "else cpu).",
            "NAME",
        ),
    ] = None,
    measure: Annotated[
        bool,
        option(
            VALIDATION,
            "--measure",
            "Measure time and memory of the suite instead (cuda if there is one, else reduced "
            "models on the cpu); --output FILE takes the results as they come, and a later run "
            "goes on from it.",
        ),
    ] = False,
    max_minutes: Annotated[
        Text,
        option(
            VALIDATION,
            "--max-minutes",
            "With --measure: begin no case that would end later (default: 8.5).",
            "MINUTES",
        ),
    ] = None,
) -> None:
    """Run the model in transformers, count its FLOPs, and compare with the closed form.

    Example: tokencost validate --model llava-1.5-7b --method fastv
    """
    request.refuse("does not change what runs", "leave it out", "causal", "encoder_layers")
    if measure:
        if counter is not None:
            raise InvalidInput("--counter", counter, "cannot go with --measure", "leave it out")
        from ..measuring import measure as run

        run(request, sink, device, scale, max_minutes)
        return
    if max_minutes is not None:
        raise InvalidInput("--max-minutes", max_minutes, "needs --measure", "add --measure")
    settings = _settings(counter, scale, device)

    def build() -> Document:
        report = request.report()
        from ...validation.compare import check, compare

        try:
            check(report)
        except InvalidInput as error:
            raise request.complaint(error, report) from None
        _require(settings)
        with _spinner() as progress:
            for setting in settings:
                results.extend(compare(report, setting, progress))
        return document(report, results)

    results: list[Comparison] = []
    deliver(sink, build, request.schedule, request.config)
    wrong = [row for result in results for row in result.rows if row.difference]
    if wrong:
        typer.echo(f"error: {len(wrong)} differences from the closed form; please report", err=True)
        raise typer.Exit(1)


def _settings(counter: str | None, scale: str | None, device: str | None) -> list[Setting]:
    """Return what each chosen counter runs on.

    Raises:
        InvalidInput: A choice that is none, or that the counter cannot run on.
    """
    chosen = one_of(counter or "torch", "--counter", (*COUNTERS, "all"))
    if scale is not None:
        one_of(scale, "--scale", SCALES)
    if device is not None:
        one_of(device, "--device", DEVICES)
    settings: list[Any] = []
    for name in COUNTERS if chosen == "all" else (chosen,):
        size = scale or ("full" if name == "torch" else "reduced")
        place = device or ("meta" if name == "torch" and size == "full" else "cpu")
        if place == "meta" and name != "torch":
            raise InvalidInput(
                "--device",
                "meta",
                f"cannot be used with --counter {name}, which needs values",
                "give --device cpu --scale reduced, or --counter torch",
            )
        settings.append((name, size, place))
    from ...validation.compare import Setting

    return [Setting(*setting) for setting in settings]


def _require(settings: Sequence[Setting]) -> None:
    """Make sure that devices and counters are there before anything runs.

    Raises:
        InvalidInput: A device that torch does not find.
        MissingExtra: torch or fvcore is not installed.
    """
    from importlib.util import find_spec

    from ...validation.build import require_device

    for setting in settings:
        require_device(setting.device)
        if setting.counter == "fvcore" and find_spec("fvcore") is None:
            raise MissingExtra("fvcore", "validation")


@contextmanager
def _spinner() -> Iterator[Any]:
    """Show what is being done on a terminal's error stream."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("") as status:
        yield status.update
