"""Where a schedule comes from: options, a file or a method; each words complaints about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

from ..costmodel import InvalidInput, Model, Schedule, Stage, Workload
from ..costmodel.errors import clip
from ..costmodel.numeric import whole
from ..costmodel.schedule import PRIMITIVES, Compress, Rounding
from .keep_ratios import keep_ratio
from .options import one_of

if TYPE_CHECKING:
    from ..presets.language import Written
    from .request import Request

#: Fields of a schedule, as errors name them.
SCHEDULE_FIELDS = PRIMITIVES


class Origin:
    """A schedule, and how its author is told that it does not fit.

    Attributes:
        schedule: The schedule; None is the dense model.
    """

    def __init__(self, schedule: Schedule | None) -> None:
        """Keep the schedule."""
        self.schedule = schedule

    def complaint(self, error: InvalidInput) -> InvalidInput:
        """Return an error about a field of the schedule in the words of where it was given.

        Options, as here, name the field by the option that set it.
        """
        name = re.sub(r"^stages\.\d+\.first_layer$", "--prune-layer", error.field)
        name = re.sub(r"^stages\.\d+\.ratio$", "--keep", name)
        name = name.replace("compress.tokens", "--tokens").replace("compress.at", "--tokens-at")
        return InvalidInput(name, error.value, error.problem, error.way_out)


class WrittenOrigin(Origin):
    """--schedule: a file or a line, whose schedule --rounding may have changed."""

    def __init__(self, written: Written, schedule: Schedule | None) -> None:
        """Keep what was written beside what became of it."""
        super().__init__(schedule)
        self.written = written

    def complaint(self, error: InvalidInput) -> InvalidInput:
        """Name the file and its line, or the line and its column."""
        return self.written.complaint(error, "--schedule")


class MethodOrigin(Origin):
    """--method and --budget."""

    def __init__(
        self, method: str, budget: str | None, schedule: Schedule | None, video: bool
    ) -> None:
        """Keep what was typed, and whether it is about a video."""
        super().__init__(schedule)
        self.method, self.budget, self.video = method, budget, video

    def complaint(self, error: InvalidInput) -> InvalidInput:
        """Name the method, and what it led to; the user typed none of the schedule's fields."""
        asked = self.method if self.budget is None else f"{self.method} --budget {self.budget}"
        value = "" if error.value is None else f" {clip(error.value, 40)}"
        way_out = error.way_out
        if error.field.startswith("encoder") and not isinstance(error.value, int):
            # Video models with a plain tower pool their frames: another model alone is no help.
            fits = "images with a LLaVA model" if self.video else "a LLaVA model"
            value, way_out = "", f"choose another method, or {fits}"
        elif error.field != "selection" and "tokencost" not in way_out:
            others = "method or model" if self.budget is None else "method, model or --budget"
            way_out = f"choose another {others}"
        problem = f"leads to {error.field}{value}, which {error.problem}"
        return InvalidInput("--method", asked, problem, way_out)


def origin_of(request: Request, model: Model, workload: Workload) -> Origin:
    """Return the schedule that the options ask for.

    Raises:
        InvalidInput: Options that are wrong, or that cannot go together.
    """
    if request.method is not None:
        return _from_method(request, model, workload)
    if request.budget is not None:
        raise InvalidInput("--budget", request.budget, "needs --method", "add --method ID")
    if request.schedule is not None:
        return _from_written(request, model, workload)
    return Origin(_typed(request))


def _from_method(request: Request, model: Model, workload: Workload) -> MethodOrigin:
    others = ("prune_layer", "keep", "tokens", "tokens_at", "schedule", "rounding")
    request.refuse("cannot go with --method", "leave one of them out", *others)
    from ..presets import load_method  # a method's data is read only when one is named

    assert request.method is not None
    method = load_method(request.method)
    budget = None if request.budget is None else whole(request.budget, "--budget", minimum=1)
    schedule = method.schedule(model, workload, budget)
    video = bool(workload.frames or (model.token_rule.default_frames and not workload.images))
    return MethodOrigin(request.method, request.budget, schedule, video)


def _from_written(request: Request, model: Model, workload: Workload) -> WrittenOrigin:
    others = ("prune_layer", "keep", "tokens", "tokens_at")
    request.refuse("cannot go with --schedule", "put it into the schedule", *others)
    from ..presets.language import open_written  # few commands are given one

    written = open_written(str(request.schedule), "--schedule")
    schedule = written.fitted(model, workload, "--schedule")
    rounding = _rounding(request, has_ratio(schedule))
    changed = {"rounding": rounding} if rounding else {}
    return WrittenOrigin(written, schedule.model_copy(update=changed))


def has_ratio(schedule: Schedule) -> bool:
    """Tell whether a schedule has a share of tokens, which `rounding` makes a whole number."""
    amounts = [schedule.compress, *schedule.stages, *getattr(schedule.encoder, "stages", ())]
    if any(one is not None and one.ratio is not None for one in amounts):
        return True
    cache = schedule.cache
    stored = cache is not None and (cache.stored is not None or cache.read is not None)
    return bool(schedule.layers or schedule.input or stored)


def _typed(request: Request) -> Schedule | None:
    if len(request.prune_layer) != len(request.keep):
        raise InvalidInput(
            "--keep" if request.prune_layer else "--prune-layer",
            None,
            f"does not pair up: {len(request.prune_layer)} × --prune-layer, "
            f"{len(request.keep)} × --keep",
            "pair each --prune-layer K with one --keep R",
        )
    stages = tuple(
        Stage(first_layer=whole(layer, "--prune-layer"), ratio=keep_ratio(keep, "--keep"))
        for layer, keep in zip(request.prune_layer, request.keep, strict=True)
    )
    compress, rounding = _compress(request), _rounding(request, bool(stages))
    if not stages and compress is None:
        return None
    return Schedule(stages=stages, compress=compress, rounding=rounding or "floor")


def _compress(request: Request) -> Compress | None:
    if request.tokens is None:
        if request.tokens_at is not None:
            raise InvalidInput("--tokens-at", request.tokens_at, "needs --tokens", "add --tokens V")
        return None
    at = one_of(
        request.tokens_at or "after-connector",
        "--tokens-at",
        ("after-connector", "before-connector"),
    )
    return Compress(tokens=whole(request.tokens, "--tokens", minimum=1), at=at)


def _rounding(request: Request, has_ratio: bool) -> Rounding | None:
    if request.rounding is None:
        return None
    rounding: Rounding = one_of(request.rounding, "--rounding", get_args(Rounding))
    if not has_ratio:
        request.refuse("has no ratio to round", "add --prune-layer and --keep", "rounding")
    return rounding
