"""Rows of a sweep in blocks: over arrays where stages allow it, one by one elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from ..costmodel import InvalidInput, Model, Schedule, Stage
from .asked import Asked, Question
from .options import flag
from .origins import SCHEDULE_FIELDS, Origin, origin_of
from .sweep_arrays import Arrays
from .sweep_block import Block, joined, parts
from .sweep_figures import Figures, Timed
from .sweep_grid import Grid
from .sweep_options import BITS

if TYPE_CHECKING:
    from ..costmodel.sweeping import StagePricer

#: Schedules of a cell from which on arrays pay: compiling a cell costs as much as ten schedules.
FEWEST = 32
#: Axes that leave the workload as it is.
_OWN = ("tokens", "method", "budget", "schedule", "device", *BITS)
#: A block of what is priced one by one: so many rows, or what so many seconds give.
SMALL_BLOCK, SECONDS = 1024, 0.25


@dataclass(eq=False, repr=False)
class CellQuestion(Question):
    """The request of a cell, whose model is loaded already."""

    known: Model | None = None

    def priced_model(self) -> Model:
        """Return the model."""
        assert self.known is not None
        return self.known

    def check(self, has_rules: bool) -> None:
        """Refuse options that are wrong whatever the images; `has_rules` of selection, or may.

        Raises:
            InvalidInput: Such options, named as they were typed.
        """
        try:
            self._workload(self.priced_model())
            counting = self._counting(self.priced_model())
        except InvalidInput as error:
            raise self.renamed(error) from None
        if counting.selection != "ideal" and not has_rules:
            problem = "changes nothing: no schedule names a selection rule"
            way_out = "leave it out, or name methods"
            shown = f"selection={counting.selection}"
            raise InvalidInput("--implementation", shown, problem, way_out)


class Cell(NamedTuple):
    """One cell of the grid, planned.

    Attributes:
        asked: Its request without a schedule; None where the model refuses the workload.
        origin: Its schedule besides stages.
        figures: What is known of all its rows.
        reason: Why none of its rows has figures, or None.
    """

    asked: Asked | None
    origin: Origin
    figures: Figures | None
    values: dict[str, Any]
    reason: str | None


class Rows:
    """The rows of a grid."""

    def __init__(self, grid: Grid, timed: Timed) -> None:
        """Keep the grid, and what times are asked for."""
        self.grid, self.timed = grid, timed
        self._last: tuple[Any, Any] = (None, None)
        self._arrays = Arrays(grid)
        self._counts = {one.name for one in grid.columns() if one.kind == "count"}
        self._columns = {one.name for one in grid.columns()}
        #: Why stages are not priced over arrays, and whether some figures are rounded; for remarks.
        self.one_by_one: str | None = None
        self.rounded = False

    def check_requests(self) -> None:
        """Refuse options that are wrong for a model, and a model's only workload if it is.

        One workload among several that a model refuses gives rows without figures instead.

        Raises:
            InvalidInput: One of these.
        """
        grid = self.grid
        own = ("model", *_OWN)
        workloads = math.prod(len(axis.values) for axis in grid.axes if axis.name not in own)
        for place, model in enumerate(grid.models.values()):
            cell = grid.cell(place * (grid.cells // len(grid.models)))
            question = CellQuestion(known=model, **grid.request_fields(cell))
            question.check(grid.has("method") or grid.has("schedule"))
            self.timed.setting(cell)
            for axis in grid.axes:
                if axis.name in BITS:
                    for value in axis.values:
                        self.timed.setting({**cell, axis.name: value})
            if workloads == 1:
                question.asked()

    def blocks(self, first: int, last: int) -> Iterator[Block]:
        """Yield rows `first` to `last`, the latter excluded."""
        each = self.grid.rows_per_cell
        gathered: list[dict[str, Any]] = []
        began = time.monotonic()
        while first < last:
            number, inner = divmod(first, each)
            count = min(each - inner, last - first)
            cell = self._cell(number)
            pricer = self._pricer(cell)
            if pricer is not None or (cell.reason and each >= FEWEST):
                if gathered:
                    yield joined(gathered)
                    gathered = []

                def refusal(share: int, cell: Cell = cell) -> str | None:
                    return self._staged(cell, (0,), (share,))[1]

                known = {**cell.values, "reason": cell.reason}
                yield from self._arrays.blocks(known, pricer, refusal, inner, count)
                first, began = first + count, time.monotonic()
                continue
            for row in self._one_by_one(cell, inner, count):
                gathered.append(row)
                if len(gathered) >= SMALL_BLOCK or time.monotonic() - began > SECONDS:
                    yield joined(gathered)
                    gathered, began = [], time.monotonic()
            first += count
        if gathered:
            yield joined(gathered)

    def _cell(self, number: int) -> Cell:
        """Return a cell; the request is planned anew where it differs from the last one's."""
        grid = self.grid
        values = grid.cell(number)
        model = grid.models[values["model"]]
        question = CellQuestion(known=model, **grid.request_fields(values))
        shown: dict[str, Any] = {"model": model.id, "model_status": model.status}
        for name, value in values.items():
            if name in self._columns and name not in shown:
                shown[name] = int(value) if name in self._counts else value
        try:
            asked, dense = self._asked(values, question)
        except InvalidInput as error:
            return Cell(None, Origin(None), None, shown, str(question.renamed(error)))
        figures = dense.on(self.timed.setting(values))
        shown.update(figures.constants)
        origin = Origin(None)
        try:
            origin = origin_of(question, asked.model, asked.workload)
            if grid.stages:
                asked.report(origin.schedule)  # refuses what no stage would mend
        except InvalidInput as error:
            if error.field.startswith(SCHEDULE_FIELDS):
                error = origin.complaint(error)
            return Cell(asked, origin, figures, shown, str(question.renamed(error)))
        return Cell(asked, origin, figures, shown, None)

    def _asked(self, values: dict[str, str], question: CellQuestion) -> tuple[Asked, Figures]:
        key = tuple((name, value) for name, value in values.items() if name not in _OWN)
        if self._last[0] != key:
            asked = question.asked()
            self._last = (key, (asked, Figures(asked)))
        found: tuple[Asked, Figures] = self._last[1]
        return found

    def _pricer(self, cell: Cell) -> StagePricer | None:
        """Return what prices the cell's stages over arrays; None where one by one is the way."""
        grid = self.grid
        if not grid.stages or grid.rows_per_cell < FEWEST or cell.asked is None or cell.reason:
            return None
        if grid.has("device"):
            self.one_by_one = "times on a device are not priced over arrays"
            return None
        from ..costmodel.sweeping.pricer import StagePricer
        from ..costmodel.sweeping.shares import EXACT, exact_shares

        asked = cell.asked
        base = (cell.origin.schedule or Schedule()).model_copy(update={"rounding": grid.rounding})
        try:
            pricer = StagePricer(asked.model, asked.workload, asked.counting, base)
        except InvalidInput as error:
            self.one_by_one = str(error)
            return None
        if not exact_shares(grid.denominator, pricer.entering_visual_tokens):
            self.one_by_one = "the shares have no common denominator that floats divide by exactly"
            return None
        self.rounded |= max(pricer.dense.values()) >= EXACT
        return pricer

    def _one_by_one(self, cell: Cell, inner: int, count: int) -> Iterator[dict[str, Any]]:
        if not self.grid.stages:
            if cell.reason:
                yield {**cell.values, "reason": cell.reason}
            else:
                figures, reason = self._figures(cell, cell.origin.schedule)
                yield {**cell.values, **figures, "reason": reason}
            return
        for group, start, rows in parts(self.grid.stages, inner, count):
            chosen = group.stages_from(start)
            for _ in range(rows):
                layers, shares = next(chosen)
                row = dict(cell.values)
                for place, (layer, share) in enumerate(zip(layers, shares, strict=True), start=1):
                    row[f"prune_layer_{place}"] = layer
                    row[f"keep_{place}"] = share / self.grid.denominator
                if cell.reason:
                    yield {**row, "reason": cell.reason}
                    continue
                figures, reason = self._staged(cell, layers, shares)
                yield {**row, **figures, "reason": reason}

    def _staged(
        self, cell: Cell, layers: tuple[int, ...], shares: tuple[int, ...]
    ) -> tuple[dict[str, Any], str | None]:
        """Return the figures of a stage schedule, or why it has none."""
        stages = tuple(
            Stage(first_layer=layer, ratio=Fraction(share, self.grid.denominator))
            for layer, share in zip(layers, shares, strict=True)
        )
        base = cell.origin.schedule or Schedule()
        changed = {"stages": stages, "rounding": self.grid.rounding}
        return self._figures(cell, base.model_copy(update=changed))

    def _figures(self, cell: Cell, schedule: Schedule | None) -> tuple[dict[str, Any], str | None]:
        assert cell.asked is not None and cell.figures is not None
        try:
            return cell.figures.of(cell.asked.report(schedule)), None
        except InvalidInput as error:
            if error.field.startswith(SCHEDULE_FIELDS) and error.field not in BITS:
                error = cell.origin.complaint(error)
            return {}, error.sentence(flag(error.field) if error.field in BITS else error.field)
