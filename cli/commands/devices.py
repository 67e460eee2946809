"""`tokencost devices`: which devices are known, and what each can do."""

from __future__ import annotations

from typing import Annotated

import typer

from ...costmodel import InvalidInput
from ..document import Document
from ..export import deliver
from ..options import OUTPUT, Sink, Text, option, shares

app = typer.Typer(
    help="List devices, show their figures, check and calibrate them on measured times.",
    add_completion=False,
)


@app.command("list")
@shares(Sink)
def list_command(
    sink: Sink,
    pattern: Annotated[
        str, typer.Argument(help="Part of an id or alias, or a pattern such as 'a100*'.")
    ] = "",
) -> None:
    """List the devices that are known: dense peaks, memory, bandwidth, how they are known.

    Example: tokencost devices list a100
    """
    deliver(sink, lambda: _listing(pattern))


@app.command("show")
@shares(Sink)
def show_command(
    sink: Sink,
    device: Annotated[
        str, typer.Argument(metavar="ID|FILE", help="Device id or alias, or a TOML file.")
    ],
) -> None:
    """Show a device: peaks, ridge points, memory, efficiency, sources; or check a TOML file.

    Example: tokencost devices show a100-80gb
    """
    deliver(sink, lambda: _card(device, sink.output))


MEASURED = "Measurements"
File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="CSV of measured times: tokens,operator,in_features,out_features,median_us.",
    ),
]
DeviceOption = Annotated[
    Text,
    option(MEASURED, "--device", "Device that was measured: id, alias or TOML file.", "ID|FILE"),
]
BitsOption = Annotated[
    Text,
    option(MEASURED, "--bits", "Bits of the products' numbers: 32, 16, 8 or 4 (default: 16).", "N"),
]


@app.command("check")
@shares(Sink)
def check_command(
    sink: Sink, file: File, device: DeviceOption = None, bits: BitsOption = None
) -> None:
    """Compare measured times with the predicted ones: errors by operator and size, no refitting.

    Example: tokencost devices check measured.csv --device a100-80gb
    """
    from ..device_check import answer, refuse_overwriting

    refuse_overwriting(sink.output, file, device)
    deliver(sink, lambda: answer(file, device, bits))


@app.command("calibrate")
def calibrate_command(
    file: File,
    device: DeviceOption = None,
    bits: BitsOption = None,
    model: Annotated[
        Text,
        option(
            MEASURED,
            "--model",
            "Model whose whole prefills (tokens,ms) were measured: one or two fit the share of the "
            "peak rate.",
            "ID",
        ),
    ] = None,
    form: Annotated[
        Text,
        option(OUTPUT, "--format", "table, json, csv, markdown or latex (default: table).", "FORM"),
    ] = None,
    output: Annotated[
        Text,
        option(OUTPUT, "--output", "Device file to write, for --device of other commands.", "TOML"),
    ] = None,
) -> None:
    """Refit a device's efficiency to measured times, report the errors, write a device file.

    Example: tokencost devices calibrate measured.csv --device a100-80gb --output mine.toml
    """
    from ..device_calibration import calibrate

    calibrate(Sink(form), file, device, bits, model, output)


def _listing(pattern: str) -> Document:
    from ..device_card import listing

    return listing(pattern)


def _card(device: str, output: str | None) -> Document:
    from ...presets.device import is_file, load_device
    from ..device_card import card

    if is_file(device) and output and same_file(device, output):
        raise InvalidInput("--output", output, "is the device's file", "name another file")
    return card(load_device(device, "ID"))


def same_file(one: str, other: str) -> bool:
    """Tell whether two names are of one file."""
    from pathlib import Path

    return Path(one).exists() and Path(other).exists() and Path(one).samefile(other)
