"""The share of the peak rate that whole prefills show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from ..costmodel import Model, Workload, evaluate
from ..costmodel.agreement import Agreement
from ..costmodel.calibration import WORST_MAPE, fit_compute, with_efficiency
from ..costmodel.clock import HOST_SECONDS, Clock, Running, StageTime, arithmetic
from ..costmodel.device import Device, Efficiency
from ..costmodel.errors import InvalidInput
from ..costmodel.kernels import Kernel
from ..costmodel.measured import PrefillRow
from ..costmodel.traffic import prefill_kernels
from ..presets import load_model
from .device_check import Asked
from .document import Column, Table
from .latency_tables import milliseconds

#: Prefills of a file; one or two suffice.
MOST = 200
#: An engine or a CUDA graph: what constants of kernels are about.
RUNNING = Running(runtime="graph", attention="sdpa")


class Point(NamedTuple):
    """A measured prefill beside its device time before and after; seconds."""

    line: int
    tokens: int
    measured: float
    before: float
    after: float


class PrefillFit(NamedTuple):
    """A fit to prefills."""

    model: str
    layers: int
    compute: Fraction
    points: tuple[Point, ...]

    @property
    def before(self) -> Agreement:
        """Errors with the old constants."""
        return _agreement([one.before / one.measured - 1 for one in self.points])

    @property
    def after(self) -> Agreement:
        """Errors with the new share."""
        return _agreement([one.after / one.measured - 1 for one in self.points])

    def table(self) -> Table:
        """Return every point."""
        return Table(
            f"Prefills of {self.model}, text alone, batch 1",
            (
                Column("line"),
                Column("tokens"),
                Column("measured\n[ms]"),
                Column("before\n[ms]"),
                Column("after\n[ms]"),
            ),
            tuple(
                (str(one.line), f"{one.tokens:,}", *map(milliseconds, one[2:]))
                for one in self.points
            ),
        )

    def payload(self) -> list[dict[str, Any]]:
        """Return every point as JSON."""
        return [
            {
                "line": one.line,
                "tokens": one.tokens,
                "measured_ms": 1e3 * one.measured,
                "before_ms": 1e3 * one.before,
                "after_ms": 1e3 * one.after,
            }
            for one in self.points
        ]

    def notes(self) -> tuple[str, ...]:
        """Return what the reader must know."""
        told = [
            "predicted: kernels of the LLM's prefill with its head at the last token, fused "
            "attention; no encoder, no host"
        ]
        if len(self.points) == 1:
            told.append("one prefill is fitted exactly: its error says nothing of others")
        floor = self.layers * HOST_SECONDS.upper
        if any(one.measured < floor for one in self.points):
            told.append(
                f"eager Python alone may take {1e3 * floor:.0f} ms for {self.layers} layers: if it "
                "ran the model, shorter measurements say nothing of the device"
            )
        return tuple(told)


def fit_prefills(question: Asked, name: str) -> PrefillFit:
    """Return the share of the peak rate that prefills of a model show.

    Raises:
        InvalidInput: No such model; prefills that no share explains (field "rows").
    """
    try:
        model = load_model(name)
    except InvalidInput as error:
        raise InvalidInput("--model", name, error.problem, error.way_out) from None
    points, start = question.measured.prefills, question.constants
    if len(points) > MOST:
        raise InvalidInput("rows", None, f"are more than {MOST} prefills", "give the medians")
    kernels = {tokens: _kernels(model, question.device, tokens) for _, tokens, _ in points}

    def stage(tokens: int, efficiency: Efficiency) -> StageTime:
        device = with_efficiency(question.device, question.precision, efficiency)
        clock = Clock(device, arithmetic(device, kernels[tokens][1], RUNNING), RUNNING)
        return clock.stages(kernels[tokens][0])["prefill"]

    def predict(tokens: int, efficiency: Efficiency) -> float:
        return float(stage(tokens, efficiency).device.central)

    # A row that waits for the bandwidth can be explained by any share that is small enough to make
    # it wait for arithmetic, so that the share before the fit decides; the one after it, too.
    _refuse_short(points, lambda tokens: stage(tokens, start))
    constants = fit_compute(points, predict, start)
    after = start.model_copy(update=constants)
    _refuse_short(points, lambda tokens: stage(tokens, after))
    fit = PrefillFit(
        model.id,
        model.decoder.num_hidden_layers,
        constants["compute"],
        tuple(
            Point(
                point.line,
                point.tokens,
                point.seconds,
                predict(point.tokens, start),
                predict(point.tokens, after),
            )
            for point in points
        ),
    )
    off = fit.after.mape
    if off is not None and off > WORST_MAPE:
        problem = f"contradict each other: the best fit is off by {off:.0%} on average"
        raise InvalidInput("rows", None, problem, "check the times, --device and --model")
    return fit


def _refuse_short(points: Sequence[PrefillRow], stage: Callable[[int], StageTime]) -> None:
    """Refuse prefills whose arithmetic takes less time than their reading.

    Raises:
        InvalidInput: There is one; the field is "rows".
    """
    for point in points:
        found = stage(point.tokens)
        if found.compute < found.memory:
            problem = (
                f"say nothing of the peak rate: at line {point.line}, {point.tokens} tokens wait "
                "for the bandwidth"
            )
            raise InvalidInput("rows", None, problem, "measure longer prefills")


def _kernels(model: Model, device: Device, tokens: int) -> tuple[list[Kernel], Any]:
    """Return the kernels of the LLM's prefill of so many text tokens, and their plan."""
    report = evaluate(model, Workload(text_tokens=tokens))
    plan = report.dense.without_visual()
    numbers = arithmetic(device, plan, RUNNING).numbers
    found = prefill_kernels(model, plan, report.counting, numbers, RUNNING.attention)
    return [one for one in found if one.stage == "prefill"], plan


def _agreement(errors: list[float]) -> Agreement:
    sizes = [abs(error) for error in errors]
    return Agreement(len(errors), sum(sizes) / len(sizes), sum(errors) / len(errors), max(sizes))
