"""A training step as flat rows, and the GPU hours that it explains."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from ..costmodel import InvalidInput, Report
from ..costmodel.flops import UNITS, Convention
from ..costmodel.operators import COMPONENTS
from ..costmodel.primitives.layers import share
from ..costmodel.primitives.training import Training
from ..costmodel.training import (
    PASSES,
    TrainingStep,
    explaining_share,
    gpu_hour_ratio,
    training_step,
)
from .rows import Row

#: Forward pass, and twice as much backward.
_PUBLISHED_PASSES = 3


class Hours(NamedTuple):
    """What was said of GPU hours; None is what was not.

    Attributes:
        fixed_share: Share of the dense time that no visual token changes.
        dense, scheduled: Published hours of both trainings.
    """

    fixed_share: Fraction | None = None
    dense: Fraction | None = None
    scheduled: Fraction | None = None

    @classmethod
    def typed(cls, fixed_share: str | None, dense: str | None, scheduled: str | None) -> Hours:
        """Return what the options say.

        Raises:
            InvalidInput: A value that is no share or no number of hours.
        """
        if scheduled is not None and dense is None:
            hint = "add --dense-hours HOURS"
            raise InvalidInput("--scheduled-hours", scheduled, "needs the dense hours", hint)
        kept = None
        if fixed_share is not None:
            try:
                kept = share(fixed_share)
            except InvalidInput as error:
                field = "--fixed-share"
                raise InvalidInput(field, error.value, error.problem, error.way_out) from None
        return cls(kept, _hours("--dense-hours", dense), _hours("--scheduled-hours", scheduled))


def _hours(name: str, text: str | None) -> Fraction | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", text.strip()) or not Fraction(text):
        raise InvalidInput(name, text, "is not a number of hours", "give hours such as 366 or 0.5")
    return Fraction(text)


class Priced(NamedTuple):
    """A training step under one convention.

    Attributes:
        convention: Which.
        amounts: Baseline and scheduled cost of the step.
        ratio: Scheduled over baseline.
    """

    convention: Convention
    amounts: tuple[int, int]

    @property
    def ratio(self) -> Fraction:
        """Scheduled over baseline."""
        return Fraction(self.amounts[1], self.amounts[0]) if self.amounts[0] else Fraction(1)


def steps_of(report: Report, training: Training) -> tuple[TrainingStep, TrainingStep]:
    """Return the exact training step, baseline and scheduled."""
    dense = training_step(report, training, scheduled=False)
    return dense, training_step(report, training)


def priced_step(
    report: Report,
    name: Convention,
    training: Training,
    steps: tuple[TrainingStep, TrainingStep],
) -> Priced:
    """Return what the step costs under a convention that has a figure for the model.

    A published formula of the LLM's layers is three times the prefill's, four with recomputation:
    their every product has the same gradients.
    """
    if name == "exact":
        return Priced(name, (steps[0].total, steps[1].total))
    passes = _PUBLISHED_PASSES + training.recompute
    dense, scheduled = (report.bill(name, scheduled=side).total for side in (False, True))
    return Priced(name, (passes * dense, passes * scheduled))


def step_rows(priced: list[Priced], steps: tuple[TrainingStep, TrainingStep]) -> list[Row]:
    """Return totals, and under exact the components and what products are computed for."""
    rows = []
    for one in priced:
        rows.append(_row(one.convention, "training step", "total", *one.amounts))
        if one.convention != "exact":
            continue
        dense, scheduled = (step.by_component() for step in steps)
        rows += [
            _row("exact", "training step", component, dense[component], scheduled[component])
            for component in COMPONENTS
        ]
        before, after = (step.passes for step in steps)
        rows += [
            _row("exact", name.replace("_", " "), "total", before[name].total, after[name].total)
            for name in PASSES
        ]
    return rows


def _row(convention: Convention, phase: str, component: str, baseline: int, scheduled: int) -> Row:
    return {
        "convention": convention,
        "phase": phase,
        "component": component,
        "unit": UNITS[convention],
        "baseline": baseline,
        "scheduled": scheduled,
        "ratio": scheduled / baseline if baseline else None,
    }


def hour_figures(one: Priced, training: Training, hours: Hours) -> Row:
    """Return what a convention's step ratio says about GPU hours; None is what is not known."""
    ratio = hour_ratio = scheduled = explained = None
    ratio = one.ratio
    if training.fixed_share is not None:
        hour_ratio = gpu_hour_ratio(ratio, training.fixed_share)
        if hours.dense is not None:
            scheduled = hour_ratio * hours.dense
    if hours.dense is not None and hours.scheduled is not None:
        explained = explaining_share(ratio, hours.scheduled / hours.dense)
    figures = {
        "step_ratio": ratio,
        "gpu_hour_ratio": hour_ratio,
        "gpu_hours": scheduled,
        "explaining_fixed_share": explained,
    }
    return {name: None if value is None else float(value) for name, value in figures.items()}


def hour_rows(priced: list[Priced], training: Training, hours: Hours) -> list[Row]:
    """Return the rows of CSV for GPU hours: ratios, and hours where the dense ones are known."""
    rows = []
    for one in priced:
        figures = hour_figures(one, training, hours)
        if figures["gpu_hour_ratio"] is not None:
            rows.append(
                {
                    "convention": one.convention,
                    "phase": "training",
                    "component": "GPU hours",
                    "unit": "hour",
                    "baseline": None if hours.dense is None else float(hours.dense),
                    "scheduled": figures["gpu_hours"],
                    "ratio": figures["gpu_hour_ratio"],
                }
            )
    return rows
