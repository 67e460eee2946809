"""Options of `tokencost sweep`: those of one request, of which many may have many values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from ..costmodel import InvalidInput
from ..costmodel.numeric import whole
from .asked import Question
from .files import not_an_input, writable
from .options import OUTPUT, Text, Texts, one_of, option
from .request import SCHEDULE, WORK
from .timing_options import DEVICE, Timing

if TYPE_CHECKING:
    from ..costmodel.clock import Running

Form = Literal["csv", "jsonl", "parquet"]
ENDINGS: dict[str, Form] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_RANGE = "VALUES"
#: Options of a device that may have several values.
BITS = ("bits", "activation_bits", "kv_bits")


@dataclass(eq=False, repr=False)
class Axes(Question):
    """The shared options, with several values where a sweep may have them."""

    model: Annotated[
        Texts,
        option(WORK, "--model", "Model presets, or all; see `tokencost models list`.", "IDS"),
    ] = ()  # type: ignore[assignment]
    images: Annotated[
        Texts, option(WORK, "--images", "Images in the prompt (default: 1).", _RANGE)
    ] = ()  # type: ignore[assignment]
    frames: Annotated[
        Texts, option(WORK, "--frames", "Frames of one video, instead of images.", _RANGE)
    ] = ()  # type: ignore[assignment]
    image_size: Annotated[
        Texts,
        option(
            WORK,
            "--image-size",
            "Sizes of all images of a prompt, HEIGHTxWIDTH or SIDE of squares, in pixels (default: "
            "the model's).",
            _RANGE,
        ),
    ] = ()  # type: ignore[assignment]
    visual_tokens: Annotated[
        Texts,
        option(
            WORK,
            "--visual-tokens",
            "Dense visual tokens M, instead of those derived from the images.",
            _RANGE,
        ),
    ] = ()  # type: ignore[assignment]
    text_tokens: Annotated[
        Texts, option(WORK, "--text-tokens", "Text tokens N (default: 64).", _RANGE)
    ] = ()  # type: ignore[assignment]
    new_tokens: Annotated[
        Texts, option(WORK, "--new-tokens", "Tokens generated (default: 1).", _RANGE)
    ] = ()  # type: ignore[assignment]
    batch: Annotated[
        Texts, option(WORK, "--batch", "Equal requests in a batch (default: 1).", _RANGE)
    ] = ()  # type: ignore[assignment]
    prune_layer: Annotated[
        Texts,
        option(
            SCHEDULE,
            "--prune-layer",
            "First layers (0-based) that see a reduced sequence, with --keep.",
            _RANGE,
        ),
    ] = ()  # type: ignore[assignment]
    keep: Annotated[
        Texts,
        option(
            SCHEDULE,
            "--keep",
            "Shares of the visual tokens kept from those layers on, in (0, 1].",
            _RANGE,
        ),
    ] = ()  # type: ignore[assignment]
    stages: Annotated[
        Text,
        option(
            SCHEDULE,
            "--stages",
            "Stages of a schedule, as in 3 or 1..3: every choice of so many layers that grow and "
            "shares that shrink (default: 1).",
            "COUNT",
        ),
    ] = None
    tokens: Annotated[
        Texts,
        option(SCHEDULE, "--tokens", "Visual tokens left between encoder and LLM.", _RANGE),
    ] = ()  # type: ignore[assignment]
    method: Annotated[
        Texts,
        option(
            SCHEDULE, "--method", "Published methods, or all; see `tokencost methods list`.", "IDS"
        ),
    ] = ()  # type: ignore[assignment]
    budget: Annotated[
        Texts,
        option(
            SCHEDULE,
            "--budget",
            "Visual tokens that methods may use, as each counts them (default: its own setting).",
            _RANGE,
        ),
    ] = ()  # type: ignore[assignment]
    schedule: Annotated[
        Texts,
        option(
            SCHEDULE,
            "--schedule",
            "A TOML or LightCompress file, or one line such as 'compress 64 | keep 0.5 @ 16'; "
            "repeatable.",
            "FILE|TEXT",
        ),
    ] = ()  # type: ignore[assignment]


@dataclass(eq=False, repr=False)
class Devices(Timing):
    """How and on what requests run, if times are asked for."""

    device: Annotated[
        Texts,
        option(
            DEVICE,
            "--device",
            "Devices whose memory and times are added, or TOML files of your own; see `tokencost "
            "devices list`.",
            "IDS",
        ),
    ] = ()  # type: ignore[assignment]
    bits: Annotated[
        Texts,
        option(
            DEVICE,
            "--bits",
            "Bits of the LLM's weights: 16, 8, 4 (default: the schedule's, 16).",
            _RANGE,
        ),
    ] = ()  # type: ignore[assignment]
    activation_bits: Annotated[
        Texts,
        option(
            DEVICE,
            "--activation-bits",
            "Bits of what enters the LLM's products: 16, 8, 4 (default: as `latency` has it).",
            _RANGE,
        ),
    ] = ()  # type: ignore[assignment]
    kv_bits: Annotated[
        Texts,
        option(
            DEVICE,
            "--kv-bits",
            "Bits of cached keys and values: 16, 8, 4 (default: the schedule's, 16).",
            _RANGE,
        ),
    ] = ()  # type: ignore[assignment]

    def running_at(self, values: Mapping[str, str]) -> Running:
        """Return how requests run in a cell.

        Raises:
            InvalidInput: A value that is no choice.
        """
        chosen = {name: values.get(name) for name in BITS}
        return Timing(
            runtime=self.runtime, attention=self.attention, load_ms=self.load_ms, **chosen
        ).running()


@dataclass(eq=False, repr=False)
class Destination:
    """Where rows go, and how far."""

    format: Annotated[
        Text,
        option(
            OUTPUT,
            "--format",
            "csv, jsonl or parquet (default: csv, or what --output ends in).",
            "FORM",
        ),
    ] = None
    output: Annotated[
        Text,
        option(OUTPUT, "--output", "Write to this file instead of standard output.", "FILE"),
    ] = None
    limit: Annotated[
        Text, option(OUTPUT, "--limit", "Write no more than the first rows.", "INT")
    ] = None
    resume: Annotated[
        bool,
        option(OUTPUT, "--resume", "Go on behind the last complete row of --output."),
    ] = False
    quiet: Annotated[
        bool, option(OUTPUT, "--quiet", "Say nothing on standard error while all goes well.")
    ] = False

    def chosen(self) -> tuple[Form, Path | None]:
        """Return the form and the file, which can be written (checked before any work).

        Raises:
            InvalidInput: A file that cannot be written, or options that do not go together.
        """
        path = None if self.output in (None, "-") else writable(str(self.output))
        form: Form
        if self.format is None:
            form = ENDINGS.get(path.suffix.lower() if path else "", "csv")
        else:
            form = one_of(self.format, "--format", ("csv", "jsonl", "parquet"))
        if path is None and self.resume:
            raise InvalidInput("--resume", None, "needs a file to go on with", "add --output FILE")
        if path is None and form == "parquet":
            problem = "cannot go to standard output"
            raise InvalidInput("--format", "parquet", problem, "add --output FILE")
        return form, path

    def most(self) -> int | None:
        """Return the limit of rows."""
        return None if self.limit is None else whole(self.limit, "--limit", minimum=1)

    def spare_inputs(self, path: Path, axes: Axes, devices: Devices) -> None:
        """Refuse to write over a file that is read.

        Raises:
            InvalidInput: The file is a schedule, a model's configuration or a device.
        """
        for schedule in axes.schedule or (None,):
            not_an_input(path, self.output, schedule, axes.config)
        for device in devices.device:
            given = Path(device)
            if path.exists() and given.is_file() and path.samefile(given):
                problem = "is the device file"
                raise InvalidInput("--output", self.output, problem, "name another file")
