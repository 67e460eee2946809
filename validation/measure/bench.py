"""A built model on a machine, and one case measured on it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

from ...costmodel import Model
from ..attention import choose_attention
from ..build import build
from ..compare import crops_per_image
from ..forward import Driver
from ..layers import Prefilled
from ..prompt import Request
from ..reduction import Reduction
from .machine import Host, machine_of
from .options import Case, Effort, Options
from .phases import OUTSIDE, clocked, components
from .spread import spread

if TYPE_CHECKING:
    from torch import Tensor


class Runs(NamedTuple):
    """What is run again and again: prefills of several input sets, and decode forwards on ids."""

    driver: Driver
    reduction: Reduction
    requests: Iterator[Request]
    ids: Tensor

    def prefill(self) -> Prefilled:
        """Run a prefill on the next input set."""
        return self.driver.prefill(next(self.requests), self.reduction)

    def decode(self, prefilled: Prefilled) -> Tensor:
        """Run one decode forward; which token it processes changes no time."""
        return self.driver.decode(prefilled, self.ids)


class Bench:
    """Builds models one at a time and measures cases on them."""

    def __init__(self, options: Options) -> None:
        """Find the machine.

        Raises:
            InvalidInput: The device is not there.
            MissingExtra: A package is missing.
        """
        self.options = options
        self.machine: Host = machine_of(options.device)
        self._model: Any = None
        self._driver: Driver | None = None
        self._weights: int | None = None
        # The first profile loads what stays loaded: all cases are to find the same state.
        self.machine.kernels(lambda: None)

    def prepare(self, model: Model, headroom: int = 0) -> None:
        """Build a model; the one before is given back first."""
        self.release()
        before = self.machine.allocated()
        options = self.options
        self._model = build(
            model, options.device, options.dtype, seed=options.seed, headroom=headroom
        )
        now = self.machine.allocated()
        self._weights = None if now is None or before is None else now - before

    def release(self) -> None:
        """Give a model back."""
        self._model = self._driver = None
        gc.collect()
        self.machine.release()

    def measure(self, case: Case) -> dict[str, Any]:
        """Return what the clocks say about a case.

        Raises:
            InvalidInput: A schedule that the driver cannot run, or attention that the model lacks.
        """
        if self._driver is None or self._driver.attention != case.attention:
            choose_attention(self._model, case.attention)
            self._driver = Driver(self._model)
        runs = self._runs(self._driver, case)
        effort, repeats = self.options.effort, self.options.repeats
        warm_ups, memory = warmed_up(runs, self.machine, effort, self._weights)
        return {
            "warm_ups": warm_ups,
            "wall_seconds": wall_clock(runs, self.machine, effort, repeats),
            "phase_seconds": by_phase(runs, self.machine, effort),
            "kernels": in_kernels(runs, self.machine),
            "memory_bytes": memory,
        }

    def _runs(self, driver: Driver, case: Case) -> Runs:
        import torch

        assert case.report is not None
        plan = case.report.scheduled
        crops = crops_per_image(plan)
        requests = [
            driver.request(plan.images, crops, plan.text_tokens, plan.batch, self.options.seed + n)
            for n in range(self.options.effort.input_sets)
        ]
        ids = torch.zeros(plan.batch, 1, dtype=torch.int64, device=driver.model.device)
        return Runs(driver, Reduction.of(case.report.schedule, plan), cycle(requests), ids)


def warmed_up(
    runs: Runs, machine: Host, effort: Effort, weights: int | None
) -> tuple[int, dict[str, Any]]:
    """Run without a clock, the last time for the memory; return how often, and the peaks."""
    begin, count = time.perf_counter(), 1
    while count < effort.warm_ups and time.perf_counter() - begin < effort.seconds:
        runs.decode(runs.prefill())
        machine.synchronise()
        count += 1
    return count, peaks(runs, machine, weights)


def wall_clock(runs: Runs, machine: Host, effort: Effort, repeats: int) -> dict[str, Any]:
    """Time whole prefills and single decode forwards, the machine idle at both ends of each."""
    prefills: list[float] = []
    decodes: list[float] = []

    def timed(run: Callable[[], Any], seconds: list[float]) -> Any:
        machine.synchronise()
        begin = time.perf_counter()
        result = run()
        machine.synchronise()
        seconds.append(time.perf_counter() - begin)
        return result

    def repeat() -> None:
        # A function of its own, so that one cache is freed before the next one grows.
        prefilled = timed(runs.prefill, prefills)
        for _ in range(effort.decode_forwards):
            timed(lambda: runs.decode(prefilled), decodes)

    begin = time.perf_counter()
    least = min(effort.least, repeats)
    while len(prefills) < least or (
        len(prefills) < repeats and time.perf_counter() - begin < effort.seconds
    ):
        repeat()
    return {"prefill": spread(prefills), "decode_forward": spread(decodes)}


def by_phase(runs: Runs, machine: Host, effort: Effort) -> dict[str, Any]:
    """Time components, by marks at their modules' borders, in runs of their own."""
    owned = components(runs.driver)
    seconds: dict[str, list[dict[str, float]]] = {"prefill": [], "decode_forward": []}

    def watched(phase: str, run: Callable[[], Any]) -> Any:
        machine.synchronise()
        with clocked(owned, machine.mark) as clock:
            result = run()
        machine.synchronise()
        seconds[phase].append(clock.seconds(machine.between))
        return result

    def repeat() -> None:
        prefilled = watched("prefill", runs.prefill)
        watched("decode_forward", lambda: runs.decode(prefilled))

    begin = time.perf_counter()
    repeat()
    while len(seconds["prefill"]) < effort.watched and (
        time.perf_counter() - begin < effort.seconds
    ):
        repeat()
    return {phase: _spreads(found) for phase, found in seconds.items()}


def in_kernels(runs: Runs, machine: Host) -> dict[str, Any]:
    """Sum the kernels of one prefill and of one decode forward."""
    if not machine.has_kernels:
        return {"reason": machine.kernel_reason}
    last: list[Prefilled] = []
    prefill = machine.kernels(lambda: last.append(runs.prefill()))
    decode = machine.kernels(lambda: runs.decode(last[0]))
    if prefill is None or decode is None:
        return {"reason": machine.kernel_reason}
    return {"prefill": prefill._asdict(), "decode_forward": decode._asdict()}


def peaks(runs: Runs, machine: Host, weights: int | None) -> dict[str, Any]:
    """Run once, and return the most memory of each phase, weights included.

    The first phase ends where the first decoder layer begins.
    """
    found: dict[str, Any] = {"weights": weights}

    def entering(*_: object) -> None:
        found["encode"] = machine.peak()
        machine.reset_peak()

    machine.reset_peak()
    handle = runs.driver.adapter.layers[0].register_forward_pre_hook(entering)
    try:
        prefilled = runs.prefill()
    finally:
        handle.remove()
    found["prefill"] = machine.peak()
    machine.reset_peak()
    runs.decode(prefilled)
    found["decode"] = machine.peak()
    machine.synchronise()
    return {"reason": machine.memory_reason} if None in found.values() else found


def _spreads(found: list[dict[str, float]]) -> dict[str, Any]:
    names = sorted({name for one in found for name in one}, key=_order)
    return {name: spread([one.get(name, 0.0) for one in found]) for name in names}


def _order(name: str) -> int:
    from ...costmodel.operators import COMPONENTS

    return [*COMPONENTS, OUTSIDE].index(name)
