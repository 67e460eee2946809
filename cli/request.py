"""The question that most commands take as options, and how it becomes specs."""

import re
from dataclasses import dataclass, fields
from typing import Annotated, get_args

from ..costmodel import Counting, InvalidInput, Report, Schedule, Stage, Workload, evaluate
from ..costmodel.flops import Convention
from ..costmodel.numeric import ratio, whole
from ..costmodel.schedule import Compress, Rounding
from ..costmodel.workload import DEFAULT_TEXT_TOKENS, MOST_IMAGES, image_size
from ..presets import load_model
from ..presets.schedule_file import ScheduleFile, open_schedule
from .options import COUNTING, Text, Texts, flag, one_of, option

WORK, SCHEDULE = "Model and workload", "Schedule"
#: Fields that are whole numbers, with the least that each may be.
_COUNTS = {"visual_tokens": 1, "text_tokens": 0, "new_tokens": 1, "batch": 1}


@dataclass(eq=False, repr=False)
class Request:
    """The shared options as they were typed; `report` answers them."""

    model: Annotated[
        Text, option(WORK, "--model", "Model preset; see `tokencost models list`.", "ID")
    ] = None
    images: Annotated[
        Text, option(WORK, "--images", "Images in the prompt (default: 1).", "INT")
    ] = None
    image_size: Annotated[
        Texts,
        option(
            WORK,
            "--image-size",
            "Image size in pixels; repeat it for images of different sizes (default: the model's).",
            "HEIGHTxWIDTH",
        ),
    ] = ()  # type: ignore[assignment]
    visual_tokens: Annotated[
        Text,
        option(
            WORK,
            "--visual-tokens",
            "Dense visual tokens M, instead of those derived from the images.",
            "INT",
        ),
    ] = None
    text_tokens: Annotated[
        Text,
        option(
            WORK,
            "--text-tokens",
            f"Text tokens N: system prompt and question (default: {DEFAULT_TEXT_TOKENS}).",
            "INT",
        ),
    ] = None
    new_tokens: Annotated[
        Text,
        option(
            WORK,
            "--new-tokens",
            "Tokens generated; the prefill gives the first (default: 1).",
            "INT",
        ),
    ] = None
    batch: Annotated[
        Text, option(WORK, "--batch", "Equal requests in a batch (default: 1).", "INT")
    ] = None
    prune_layer: Annotated[
        Texts,
        option(
            SCHEDULE,
            "--prune-layer",
            "First layer (0-based) that sees the reduced sequence; repeatable, with --keep.",
            "LAYER",
        ),
    ] = ()  # type: ignore[assignment]
    keep: Annotated[
        Texts,
        option(
            SCHEDULE,
            "--keep",
            "Share of the visual tokens kept from that layer on, in (0, 1], such as 0.5 or 1/3.",
            "RATIO",
        ),
    ] = ()  # type: ignore[assignment]
    tokens: Annotated[
        Text, option(SCHEDULE, "--tokens", "Visual tokens left between encoder and LLM.", "INT")
    ] = None
    tokens_at: Annotated[
        Text,
        option(
            SCHEDULE,
            "--tokens-at",
            "after-connector: the connector runs on all tokens; before-connector: on the kept "
            "ones (default: after-connector).",
            "PLACE",
        ),
    ] = None
    schedule: Annotated[
        Text, option(SCHEDULE, "--schedule", "Schedule file (TOML) with explicit stages.", "FILE")
    ] = None
    rounding: Annotated[
        Text,
        option(
            SCHEDULE,
            "--rounding",
            "How a share becomes whole tokens: floor, round, ceil or float-floor (default: floor).",
            "RULE",
        ),
    ] = None
    causal: Annotated[
        bool,
        option(COUNTING, "--causal", "Count only pairs whose key is not later than the query."),
    ] = False
    logits: Annotated[
        Text,
        option(COUNTING, "--logits", "Positions that the head prices (default: last).", "last|all"),
    ] = None
    encoder_layers: Annotated[
        Text,
        option(
            COUNTING,
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
        file = None
        try:
            model = load_model(self.model)
            file = self._schedule_file()
            schedule = self._replaced_rounding(file.schedule) if file else self._typed_schedule()
            return evaluate(model, self._workload(), schedule, self._counting())
        except InvalidInput as error:
            if file and error.field.startswith(("stages.", "compress.")):
                raise file.complaint(error, "--schedule") from None
            raise self._renamed(error) from None

    def refuse(self, reason: str, way_out: str, *names: str) -> None:
        """Refuse options that would be taken and have no effect.

        Raises:
            InvalidInput: One of the options was given.
        """
        for name in names:
            if getattr(self, name) not in (None, False, ()):
                raise InvalidInput(flag(name), None, reason, way_out)

    def refuse_unused(self, chosen: tuple[Convention, ...]) -> None:
        """Refuse options that change `exact` alone when another convention is asked for.

        Raises:
            InvalidInput: Such an option was given.
        """
        if "exact" not in chosen:
            reason, way_out = "changes exact figures alone", "leave it out, or price exact too"
            self.refuse(reason, way_out, "causal", "logits", "encoder_layers")

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
                sizes = (sizes or (model.token_rule.default_image,)) * count
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

    def _schedule_file(self) -> ScheduleFile | None:
        if self.schedule is None:
            return None
        others = ("prune_layer", "keep", "tokens", "tokens_at")
        self.refuse("cannot go with --schedule", "put it into the file", *others)
        return open_schedule(self.schedule, "--schedule")

    def _rounding(self, has_ratio: bool) -> Rounding | None:
        if self.rounding is None:
            return None
        rounding: Rounding = one_of(self.rounding, "--rounding", get_args(Rounding))
        if not has_ratio:
            self.refuse("has no ratio to round", "add --prune-layer and --keep", "rounding")
        return rounding

    def _replaced_rounding(self, schedule: Schedule) -> Schedule:
        amounts = (schedule.compress, *schedule.stages)
        rounding = self._rounding(any(one and one.ratio is not None for one in amounts))
        return schedule.model_copy(update={"rounding": rounding}) if rounding else schedule

    def _typed_schedule(self) -> Schedule | None:
        if len(self.prune_layer) != len(self.keep):
            raise InvalidInput(
                "--keep" if self.prune_layer else "--prune-layer",
                None,
                f"does not pair up: {len(self.prune_layer)} × --prune-layer, "
                f"{len(self.keep)} × --keep",
                "pair each --prune-layer K with one --keep R",
            )
        stages = tuple(
            Stage(first_layer=whole(layer, "--prune-layer"), ratio=ratio(keep, "--keep"))
            for layer, keep in zip(self.prune_layer, self.keep, strict=True)
        )
        compress, rounding = self._compress(), self._rounding(bool(stages))
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
        name = re.sub(r"^stages\.\d+\.first_layer$", "--prune-layer", name)
        name = re.sub(r"^stages\.\d+\.ratio$", "--keep", name)
        name = name.replace("compress.tokens", "--tokens")
        if name in {field.name for field in fields(self)}:
            name = flag(name)
        return InvalidInput(name, value, error.problem, error.way_out)
