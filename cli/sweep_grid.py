"""The grid of a sweep: its cells, the stage schedules in each, its columns and its fingerprint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal, NamedTuple, get_args

from ..costmodel import InvalidInput, Model
from ..costmodel.flops import CONVENTIONS, UNITS
from ..costmodel.schedule import Rounding
from ..costmodel.sweeping.combinations import Combinations
from ..costmodel.sweeping.shares import common_denominator
from ..costmodel.version import __version__
from .asked import Question
from .options import flag, one_of
from .sweep_axes import names, ratios, sizes, stage_counts, wholes
from .sweep_options import BITS, Axes, Devices

#: Rows of one file; a larger grid is a slip, or work for several runs.
MOST_ROWS = 10**9
#: Axes of a workload that are whole numbers, with the least of each.
_COUNTS = {
    "images": 1,
    "frames": 1,
    "visual_tokens": 1,
    "text_tokens": 0,
    "new_tokens": 1,
    "batch": 1,
}
BOUNDS = ("lower", "central", "upper")
TIMES = ("time_to_first_token", "end_to_end")
SIDES = ("baseline", "scheduled")

Kind = Literal["text", "count", "total", "number"]


class Column(NamedTuple):
    """A column of the file.

    Attributes:
        kind: Text; a whole number of tokens, layers and the like; a whole number of FLOPs or bytes,
            which may be above 2⁵³ and has 64 bits of floating point in Parquet; any other number.
    """

    name: str
    kind: Kind


class Axis(NamedTuple):
    """One option, and its values as they would be typed one by one."""

    name: str
    values: tuple[str, ...]


class Grid(NamedTuple):
    """A sweep's rows: every cell with every stage schedule, in order.

    Attributes:
        models: By the value of the first axis.
        axes: What cells differ in, slowest first.
        fixed: Fields of the request that all cells share.
        stages: Stage schedules, by their count of stages; empty without any.
        denominator: Of the shares.
        rounding: Of stages.
    """

    models: dict[str, Model]
    axes: tuple[Axis, ...]
    fixed: dict[str, Any]
    stages: tuple[Combinations, ...]
    denominator: int
    rounding: Rounding

    @property
    def cells(self) -> int:
        """Number of cells."""
        return math.prod(len(axis.values) for axis in self.axes)

    @property
    def rows_per_cell(self) -> int:
        """Rows of each cell: its stage schedules, or its one schedule."""
        return sum(one.rows for one in self.stages) if self.stages else 1

    @property
    def rows(self) -> int:
        """All rows."""
        return self.cells * self.rows_per_cell

    @property
    def most_stages(self) -> int:
        """Stages of the longest schedule."""
        return max((one.stages for one in self.stages), default=0)

    def has(self, name: str) -> bool:
        """Tell whether an option was typed."""
        return any(axis.name == name for axis in self.axes)

    def cell(self, number: int) -> dict[str, str]:
        """Return the values of a cell, by option."""
        found = {}
        for axis in reversed(self.axes):
            number, place = divmod(number, len(axis.values))
            found[axis.name] = axis.values[place]
        return {axis.name: found[axis.name] for axis in self.axes}

    def request_fields(self, cell: dict[str, str]) -> dict[str, Any]:
        """Return the fields of a cell's request, but for its model, stages and device."""
        given: dict[str, Any] = {**self.fixed, **cell}
        for name in ("model", "device", *BITS):
            given.pop(name, None)
        if "image_size" in given:
            given["image_size"] = (given["image_size"],)
        return given

    def columns(self) -> tuple[Column, ...]:
        """Return the columns of the file, which depend on the options alone."""
        found = [Column("model", "text"), Column("model_status", "text")]
        if self.has("device"):
            found += [Column("device", "text"), Column("device_unverified", "text")]
            found += [Column(name, "count") for name in BITS if self.has(name)]
        found += [Column("image_size", "text")]
        workload = ("images", "frames", "visual_tokens", "structural_tokens", "text_tokens")
        found += [Column(name, "count") for name in (*workload, "new_tokens", "batch")]
        if self.has("method"):
            found += [Column("method", "text"), Column("budget", "count")]
            found += [Column("assumed_fields", "text")]
        if self.has("schedule"):
            found.append(Column("schedule", "text"))
        if self.has("tokens"):
            found.append(Column("tokens", "count"))
        for place in range(1, self.most_stages + 1):
            found += [Column(f"prune_layer_{place}", "count"), Column(f"keep_{place}", "number")]
        found.append(Column("entering_visual_tokens", "count"))
        found.append(Column("average_visual_tokens", "number"))
        for name in CONVENTIONS:
            found += [Column(f"{name}_{side}_{UNITS[name]}", "total") for side in SIDES]
            found.append(Column(f"{name}_ratio", "number"))
        found += [Column(f"kv_cache_{side}_bytes", "total") for side in SIDES]
        if self.has("device"):
            found += [Column(f"peak_memory_{side}_bytes", "total") for side in SIDES]
            for time in TIMES:
                for side in SIDES:
                    found += [Column(f"{time}_{side}_{b}_s", "number") for b in BOUNDS]
                found += [Column(f"{time}_speed_up_{b}", "number") for b in BOUNDS]
        return (*found, Column("reason", "text"))

    def counted(self) -> str:
        """Return how many rows there are, and why."""
        parts = [f"{len(axis.values):,} {flag(axis.name)}" for axis in self.axes]
        parts = [part for axis, part in zip(self.axes, parts, strict=True) if len(axis.values) > 1]
        if self.stages:
            counts = [one.stages for one in self.stages]
            span = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
            many = "stage" if span == "1" else "stages"
            few = f"{self.rows_per_cell:,} " if parts else ""
            plural = "" if self.rows_per_cell == 1 else "s"
            parts.append(f"{few}schedule{plural} of {span} {many}")
        rows = f"{self.rows:,} row{'s' * (self.rows != 1)}"
        return f"{rows}: {' × '.join(parts)}" if parts else rows

    def described(self) -> dict[str, Any]:
        """Return everything that decides what the rows are, for the file's record."""
        fixed = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.fixed.items()
            if value not in (None, False, ()) and name not in ("model", "config", "hf")
        }
        return {
            "axes": {axis.name: list(axis.values) for axis in self.axes},
            "options": fixed,
            "stages": [
                {
                    "stages": one.stages,
                    "layers": list(one.layers),
                    "keep": [
                        str(Fraction(numerator, self.denominator)) for numerator in one.numerators
                    ],
                }
                for one in self.stages
            ],
            "rounding": self.rounding if self.stages else None,
            "tokencost_version": __version__,
        }


def grid_of(axes: Axes, devices: Devices) -> Grid:
    """Return the grid that the options describe.

    Raises:
        InvalidInput: Options that are wrong or cannot go together, a layer that one of the models
            does not have, or more rows than a file holds.
    """
    models = _models(axes)
    chosen: list[Axis] = [Axis("model", tuple(models))]
    for name in ("images", "frames"):
        chosen += _axis(axes, name)
    if axes.image_size:
        typed = sizes(axes.image_size, "--image-size")
        chosen.append(Axis("image_size", tuple(f"{high}x{wide}" for high, wide in typed)))
    for name in ("visual_tokens", "text_tokens", "new_tokens", "batch"):
        chosen += _axis(axes, name)
    if axes.tokens:
        chosen.append(Axis("tokens", tuple(map(str, wholes(axes.tokens, "--tokens", 1)))))
    if axes.method:
        chosen.append(Axis("method", _methods(axes.method)))
    if axes.budget:
        chosen.append(Axis("budget", tuple(map(str, wholes(axes.budget, "--budget", 1)))))
    if axes.schedule:
        chosen.append(Axis("schedule", axes.schedule))  # type: ignore[arg-type]
    if devices.device:
        chosen.append(Axis("device", names(devices.device, "--device")))
        for name in BITS:
            if getattr(devices, name):
                typed_bits = wholes(getattr(devices, name), flag(name), 1)
                chosen.append(Axis(name, tuple(map(str, typed_bits))))
    stages, denominator = _stages(axes)
    _check_layers(models, stages)
    kept = ("processor", "tokens_at", "causal", "logits", "encoder_layers", "implementation")
    fixed = {name: getattr(axes, name) for name in kept}
    rounding: Rounding = "floor"
    if stages:
        rounding = one_of(axes.rounding or "floor", "--rounding", get_args(Rounding))
    else:
        fixed["rounding"] = axes.rounding
    return Grid(models, tuple(chosen), fixed, stages, denominator, rounding)


def check_size(grid: Grid, limit: int | None) -> None:
    """Refuse more rows than a file holds.

    Raises:
        InvalidInput: It is so, and no limit is given.
    """
    if min(grid.rows, limit or grid.rows) > MOST_ROWS:
        problem = f"has {grid.counted()}, above {MOST_ROWS:,}"
        hint = "give larger steps or fewer values, or --limit N"
        raise InvalidInput("the grid", None, problem, hint)


def _models(axes: Axes) -> dict[str, Model]:
    """Return the models by what names them."""
    files = {name: getattr(axes, name) for name in ("config", "hf") if getattr(axes, name)}
    if axes.model and files:
        problem = f"and {flag(next(iter(files)))} both name a model"
        raise InvalidInput("--model", None, problem, "give one of them")
    if axes.model:
        ids = names(axes.model, "--model")
        if ids == ("all",):
            from ..presets import list_models

            ids = tuple(list_models())
        return {name: Question(model=name).priced_model() for name in ids}
    model = Question(**files).priced_model()
    return {model.id: model}


def _methods(typed: Sequence[str]) -> tuple[str, ...]:
    ids = names(typed, "--method")
    if ids != ("all",):
        return ids
    from ..presets import list_methods

    return tuple(list_methods())


def _axis(axes: Axes, name: str) -> list[Axis]:
    typed: Sequence[str] = getattr(axes, name)
    if not typed:
        return []
    return [Axis(name, tuple(map(str, wholes(typed, flag(name), _COUNTS[name]))))]


def _stages(axes: Axes) -> tuple[tuple[Combinations, ...], int]:
    """Return the stage schedules of each cell, and the denominator of their shares."""
    for name, other in (("prune_layer", "keep"), ("keep", "prune_layer")):
        if getattr(axes, name) and not getattr(axes, other):
            problem, way_out = f"needs {flag(other)}", f"add {flag(other)} START:STOP:STEP"
            raise InvalidInput(flag(name), ",".join(getattr(axes, name)), problem, way_out)
    if not axes.keep:
        if axes.stages is not None:
            way_out = "add --prune-layer and --keep"
            raise InvalidInput("--stages", axes.stages, "has no layers and shares", way_out)
        return (), 1
    for name in ("method", "schedule"):
        if getattr(axes, name):
            problem, way_out = f"cannot go with {flag(name)}", "leave one of them out"
            raise InvalidInput("--prune-layer", None, problem, way_out)
    layers = tuple(sorted(wholes(axes.prune_layer, "--prune-layer")))
    shares = sorted(ratios(axes.keep, "--keep"))
    denominator = common_denominator(shares)
    numerators = tuple(int(share * denominator) for share in shares)
    found = []
    for count in stage_counts(axes.stages, "--stages"):
        for name, values in (("--prune-layer", layers), ("--keep", numerators)):
            if len(values) < count:
                several = "s" * (len(values) != 1)
                problem = f"is more than the {len(values):,} value{several} of {name}"
                way_out = "give more values, or fewer stages"
                raise InvalidInput("--stages", axes.stages or "1", problem, way_out)
        found.append(Combinations(layers, numerators, count))
    return tuple(found), denominator


def _check_layers(models: dict[str, Model], stages: tuple[Combinations, ...]) -> None:
    for name, model in models.items():
        count = model.decoder.num_hidden_layers
        if stages and stages[0].layers[-1] >= count:
            problem = f"is not a layer of {name}, which has {count}"
            way_out = f"give 0 to {count - 1}"
            raise InvalidInput("--prune-layer", stages[0].layers[-1], problem, way_out)
