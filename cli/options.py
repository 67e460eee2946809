"""The options that commands share, and how they become specs.

Options arrive as text and are converted here, so that every mistake ends in the same kind of
sentence: option, value, problem, way out.
"""

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from ..costmodel import Counting, InvalidInput, Report, Schedule, Stage, Workload, evaluate
from ..costmodel.errors import suggestion
from ..costmodel.flops import CONVENTIONS, Convention
from ..costmodel.numeric import ratio, whole
from ..costmodel.schedule import Compress, Rounding
from ..costmodel.workload import DEFAULT_TEXT_TOKENS, MOST_IMAGES, image_size
from ..presets import load_model, read_schedule
from ..presets.schedule_file import in_file

Format = Literal["table", "json", "csv", "markdown", "latex"]
#: Formats that a file's ending stands for when --format is not given.
ENDINGS: dict[str, Format] = {".json": "json", ".csv": "csv", ".md": "markdown", ".tex": "latex"}


def option(panel: str, flag: str, text: str, metavar: str | None = None) -> Any:
    """Return a typer option in a help panel."""
    return typer.Option(flag, help=text, metavar=metavar, rich_help_panel=panel)


_WORK, _PLAN, _COUNT, _OUT = "Model and workload", "Schedule", "Counting", "Output"
Text = str | None
Texts = list[str]


@dataclass(eq=False, repr=False)
class Request:
    """The shared options as they were typed; `report` answers them."""

    model: Annotated[
        Text, option(_WORK, "--model", "Model preset; see `tokencost models list`.", "ID")
    ] = None
    images: Annotated[
        Text, option(_WORK, "--images", "Images in the prompt (default: 1).", "N")
    ] = None
    image_size: Annotated[
        Texts,
        option(
            _WORK,
            "--image-size",
            "Image size in pixels; repeat it for images of different sizes (default: the model's).",
            "HxW",
        ),
    ] = ()  # type: ignore[assignment]
    visual_tokens: Annotated[
        Text,
        option(
            _WORK,
            "--visual-tokens",
            "Dense visual tokens M, instead of those derived from the images.",
            "V",
        ),
    ] = None
    text_tokens: Annotated[
        Text,
        option(
            _WORK,
            "--text-tokens",
            f"Text tokens N: system prompt and question (default: {DEFAULT_TEXT_TOKENS}).",
            "N",
        ),
    ] = None
    new_tokens: Annotated[
        Text,
        option(
            _WORK,
            "--new-tokens",
            "Tokens generated; the prefill gives the first (default: 1).",
            "M",
        ),
    ] = None
    batch: Annotated[
        Text, option(_WORK, "--batch", "Equal requests in a batch (default: 1).", "B")
    ] = None
    prune_layer: Annotated[
        Texts,
        option(
            _PLAN,
            "--prune-layer",
            "First layer (0-based) that sees the reduced sequence; repeatable, with --keep.",
            "K",
        ),
    ] = ()  # type: ignore[assignment]
    keep: Annotated[
        Texts,
        option(
            _PLAN,
            "--keep",
            "Share of the visual tokens kept from that layer on, in (0, 1].",
            "R",
        ),
    ] = ()  # type: ignore[assignment]
    tokens: Annotated[
        Text, option(_PLAN, "--tokens", "Visual tokens left between encoder and LLM.", "V")
    ] = None
    tokens_at: Annotated[
        Text,
        option(
            _PLAN,
            "--tokens-at",
            "Whether the connector runs on all tokens or on the kept ones "
            "(default: after-connector).",
            "after-connector|before-connector",
        ),
    ] = None
    schedule: Annotated[
        Text, option(_PLAN, "--schedule", "Schedule file (TOML) with explicit stages.", "FILE")
    ] = None
    rounding: Annotated[
        Text,
        option(
            _PLAN,
            "--rounding",
            "How a share becomes whole tokens (default: floor).",
            "floor|round|ceil|float-floor",
        ),
    ] = None
    causal: Annotated[
        bool,
        option(_COUNT, "--causal", "Count only pairs whose key is not later than the query."),
    ] = False
    logits: Annotated[
        Text,
        option(_COUNT, "--logits", "Positions that the head prices (default: last).", "last|all"),
    ] = None
    encoder_layers: Annotated[
        Text,
        option(
            _COUNT,
            "--encoder-layers",
            "Encoder layers that run, or only those whose output is used (default: computed).",
            "computed|contributing",
        ),
    ] = None

    def report(self) -> Report:
        """Answer the request.

        Raises:
            InvalidInput: An option that is wrong, named as it was typed.
        """
        if self.model is None:
            raise InvalidInput("--model", None, "is missing", "see `tokencost models list`")
        try:
            model = load_model(self.model)
            schedule, workload = self._schedule(), self._workload()
            return evaluate(model, workload, schedule, self._counting())
        except InvalidInput as error:
            raise self._renamed(error) from None

    def _workload(self) -> Workload:
        sizes = tuple(image_size(text, "--image-size") for text in self.image_size)
        if self.images is not None:
            count = whole(self.images, "--images", minimum=1, maximum=MOST_IMAGES)
            if len(sizes) not in (0, 1, count):
                raise InvalidInput(
                    "--images",
                    self.images,
                    f"does not agree with {len(sizes)} image sizes",
                    "give --image-size once, or once per image",
                )
            if len(sizes) < 2:
                model = load_model(self.model or "")
                sizes = (sizes or (model.visual_tokens.default_image,)) * count
        counts = {
            name: whole(getattr(self, name), flag(name), minimum=minimum)
            for name, minimum in _COUNTS.items()
            if getattr(self, name) is not None
        }
        return Workload(images=sizes, **counts)

    def _counting(self) -> Counting:
        chosen = {
            name: one_of(getattr(self, name), flag(name), choices)
            for name, choices in (
                ("logits", ("last", "all")),
                ("encoder_layers", ("computed", "contributing")),
            )
            if getattr(self, name) is not None
        }
        return Counting(causal=self.causal, **chosen)

    def _schedule(self) -> Schedule | None:
        rounding = self.rounding and one_of(self.rounding, "--rounding", get_args(Rounding))
        if self.schedule is not None:
            for name in ("prune_layer", "keep", "tokens"):
                if getattr(self, name):
                    raise InvalidInput(
                        flag(name), None, "cannot go with --schedule", "put it into the file"
                    )
            schedule = read_schedule(Path(self.schedule), "--schedule")
            return schedule.model_copy(update={"rounding": rounding}) if rounding else schedule
        if len(self.prune_layer) != len(self.keep):
            raise InvalidInput(
                "--keep" if self.prune_layer else "--prune-layer",
                None,
                f"must be given as often as its partner: --prune-layer {len(self.prune_layer)} "
                f"times, --keep {len(self.keep)} times",
                "pair each --prune-layer K with one --keep R",
            )
        stages = tuple(
            Stage(first_layer=whole(layer, "--prune-layer"), ratio=ratio(keep, "--keep"))
            for layer, keep in zip(self.prune_layer, self.keep, strict=True)
        )
        compress = self._compress()
        if not stages and compress is None:
            return None
        return Schedule(stages=stages, compress=compress, rounding=rounding or "floor")

    def _compress(self) -> Compress | None:
        if self.tokens is None:
            if self.tokens_at is not None:
                raise InvalidInput(
                    "--tokens-at", self.tokens_at, "needs --tokens", "add --tokens V"
                )
            return None
        at = one_of(
            self.tokens_at or "after-connector",
            "--tokens-at",
            ("after-connector", "before-connector"),
        )
        return Compress(tokens=whole(self.tokens, "--tokens", minimum=1), at=at)

    def _renamed(self, error: InvalidInput) -> InvalidInput:
        """Name a spec's field by the option that set it."""
        name, value = error.field, error.value
        if self.schedule is not None and name.startswith(("stages.", "compress.")):
            return in_file(error, Path(self.schedule), "--schedule")
        name = re.sub(r"^stages\.\d+\.first_layer$", "--prune-layer", name)
        name = re.sub(r"^stages\.\d+\.ratio$", "--keep", name)
        name = name.replace("compress.tokens", "--tokens")
        if name in {field.name for field in fields(self)}:
            name = flag(name)
        return InvalidInput(name, value, error.problem, error.way_out)


_COUNTS = {"visual_tokens": 1, "text_tokens": 0, "new_tokens": 1, "batch": 1}


@dataclass(eq=False, repr=False)
class Sink:
    """Where output goes, and in which form."""

    format: Annotated[
        Text,
        option(
            _OUT,
            "--format",
            "Form of the output (default: table, or what --output ends in).",
            "table|json|csv|markdown|latex",
        ),
    ] = None
    output: Annotated[
        Text, option(_OUT, "--output", "Write to this file instead of standard output.", "FILE")
    ] = None

    def chosen(self) -> tuple[Format, Path | None]:
        """Return the format and the file, which can be written (checked before any work)."""
        path = None if self.output in (None, "-") else writable(str(self.output))
        if self.format is None:
            return ENDINGS.get(path.suffix.lower() if path else "", "table"), path
        return one_of(self.format, "--format", get_args(Format)), path


def writable(name: str) -> Path:
    """Return the path of an output file that can be created or replaced.

    Raises:
        InvalidInput: It is a directory, or its directory is missing or closed to us.
    """
    from .export import problem_of

    path = Path(name)
    problem = problem_of(path)
    if problem:
        raise InvalidInput("--output", name, problem, "give a file in a directory you can write to")
    return path


def conventions(text: str | None) -> tuple[Convention, ...]:
    """Return the conventions that --convention names; all of them by default."""
    if text is None or text == "all":
        return CONVENTIONS
    return (one_of(text, "--convention", (*CONVENTIONS, "all")),)


ConventionOption = Annotated[
    Text,
    option(
        _COUNT,
        "--convention",
        "Convention of the figures (default: all).",
        "survey|gated|exact|all",
    ),
]


def one_of(text: str, name: str, choices: Sequence[str]) -> Any:
    """Return `text` if it is one of the choices.

    Raises:
        InvalidInput: It is none of them.
    """
    if text not in choices:
        hint = suggestion(text, choices).replace("known keys:", "choose from")
        raise InvalidInput(name, text, "is not a choice", hint)
    return text


def flag(name: str) -> str:
    """Return the option of a field.

    >>> flag("text_tokens")
    '--text-tokens'
    """
    return "--" + name.replace("_", "-")


def shares(*groups: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of the groups; it receives one object per group, in order."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters = list(inspect.signature(command, eval_str=True).parameters.values())
        own = parameters[len(groups) :]
        shared = [
            parameter
            for group in groups
            for parameter in inspect.signature(group, eval_str=True).parameters.values()
        ]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            asked = [
                group(**{field.name: _given(values.pop(field.name)) for field in fields(group)})
                for group in groups
            ]
            command(*asked, **values)

        keyword_only = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in [*shared, *own]
        ]
        run.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in keyword_only}
        del run.__wrapped__  # typer would look through it to the undecorated signature
        return run

    return decorate


def _given(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
