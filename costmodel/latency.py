"""Wall-clock time of a request on a device: stages, intervals, and what pruning cannot exceed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from .architecture.model import Model
from .clock import BACKENDS, RUNTIMES, Arithmetic, Clock, Running, StageTime, arithmetic
from .device import Device
from .errors import InvalidInput, UnknownName
from .gains import possible_speed_up as possible_speed_up
from .gains import speed_up as speed_up
from .kernels import STAGES, Kernel, Stage
from .report import Report
from .schedule import Schedule
from .timing import ZERO, Interval
from .tokenplan import TokenPlan
from .traffic import (
    decode_kernels,
    decode_selection_kernels,
    prefill_kernels,
    selection_kernels,
)

#: Decode forwards that are priced one by one; of more, so many, with straight lines between them.
PRICED_FORWARDS = 33


class Side(NamedTuple):
    """Times of a run.

    Attributes:
        stages: Every stage; "decode" is all decode forwards.
        first, mean, last: Decode forwards; None without any.
        forwards: How many decode forwards there are.
    """

    stages: dict[Stage, StageTime]
    first: StageTime | None
    mean: StageTime | None
    last: StageTime | None
    forwards: int

    @property
    def ttft(self) -> Interval:
        """Time to the first token: everything but the decode forwards."""
        return _summed(one.time for name, one in self.stages.items() if name != "decode")

    @property
    def end_to_end(self) -> Interval:
        """Time to the last token."""
        return _summed(one.time for one in self.stages.values())

    @property
    def device(self) -> Interval:
        """Time of all kernels, without host or loading."""
        return _summed(one.device for one in self.stages.values())


class Latency(NamedTuple):
    """A report's times on a device.

    Attributes:
        report, device, running: What was asked.
        arithmetic: What the baseline's and the schedule's products run at.
        ways: The same of a mixture's ways that run, where some have bits of their own.
        dense, scheduled: Both runs.
        text_only: The scheduled run without visual tokens in the LLM and without selection: what
            no pruning inside the LLM can go below.
    """

    report: Report
    device: Device
    running: Running
    arithmetic: tuple[Arithmetic, Arithmetic]
    dense: Side
    scheduled: Side
    text_only: Side
    ways: tuple[Arithmetic, ...] = ()

    @property
    def energy_joules(self) -> tuple[Interval, Interval] | None:
        """Board power times time of both runs, an upper bound of each; None without a TDP."""
        if self.device.tdp_w is None:
            return None
        watts = float(self.device.tdp_w)
        return self.dense.end_to_end.scaled(watts), self.scheduled.end_to_end.scaled(watts)


class Ceiling(NamedTuple):
    """What no pruning inside the LLM can exceed.

    Attributes:
        speed_up: Baseline over the run without visual tokens in the LLM, end to end; its upper
            bound is what holds whatever software runs on either side.
        stage: The stage that such a run spends most of its time in.
        share: Its time in that run over the baseline's whole time.
        limit: What the stage waits for; see `StageTime.limit`.
    """

    speed_up: Interval
    stage: Stage
    share: float
    limit: str


def ceiling(found: Latency) -> Ceiling:
    """Return the end-to-end speed-up that is left when all visual tokens of the LLM are gone.

    What a schedule does to encoder, channels and bits stays. One that skips whole runs or drops
    generated tokens does more than prune, and may exceed it.
    """
    plain = found.text_only
    stage = max(STAGES, key=lambda name: plain.stages[name].time.central)
    whole = found.dense.end_to_end
    share = plain.stages[stage].time.central / whole.central if whole.central else 0.0
    reason = "loading" if stage == "load" else plain.stages[stage].limit
    return Ceiling(speed_up(whole, plain.end_to_end), stage, share, reason)


def latency(report: Report, device: Device, running: Running | None = None) -> Latency:
    """Return the times of a report on a device.

    T = max(T_device, T_host) of the LLM + vision + connector + selection + loading. In the upper
    bound host and device take turns, T_device + T_host, and eager Python launches the encoder's
    layers as slowly as the LLM's.

    Raises:
        InvalidInput: Bits, a backend or a runtime that there is not, bits that the schedule states
            too, or a device without 16-bit or fp32 units.
    """
    running = running or Running()
    for name, value, known in (
        ("runtime", running.runtime, RUNTIMES),
        ("attention", running.attention, BACKENDS),
    ):
        if value not in known:
            raise UnknownName(name, value, known, "tokencost latency --help")
    arithmetics = (
        arithmetic(device, report.dense, running),
        arithmetic(device, report.scheduled, running),
    )
    clocks = [Clock(device, one, running) for one in arithmetics]
    dense = _side(report, report.dense, None, clocks[0])
    scheduled = dense
    if report.schedule is not None:
        scheduled = _side(report, report.scheduled, report.schedule, clocks[1])
    plain, rest = report.scheduled.without_visual(), report.schedule
    if rest is not None:
        rest = rest.model_copy(update={"selection": None})  # its channels stay
    text_only = _side(report, plain, rest, clocks[1])
    branches = [way for _, way in report.scheduled.branches if way is not None]
    ways = tuple(arithmetic(device, way, running) for way in branches)
    if set(ways) == {arithmetics[1]}:
        ways = ()
    return Latency(report, device, running, arithmetics, dense, scheduled, text_only, ways)


def dense_side(report: Report, device: Device, running: Running) -> Side:
    """Return the times of a report's dense run alone, as `latency` has them."""
    clock = Clock(device, arithmetic(device, report.dense, running), running)
    return _side(report, report.dense, None, clock)


def timed_kernels(found: Latency, *, scheduled: bool = True) -> list[tuple[Kernel, StageTime]]:
    """Return every kernel of a prefill and of the first decode forward, with its time.

    Raises:
        InvalidInput: A schedule of several ways, whose kernels are no one run's.
    """
    report, running = found.report, found.running
    plan, schedule = report.dense, None
    if scheduled:
        plan, schedule = report.scheduled, report.schedule
    if plan.branches:
        problem = "has several ways, whose kernels are no one run's"
        raise InvalidInput("mixture", None, problem, "price one of its ways")
    own = found.arithmetic[scheduled]
    clock = Clock(found.device, own, running)
    kernels = [
        *_prefill(report, plan, schedule, clock),
        *(_forward(report, plan, schedule, clock, 1) if report.workload.new_tokens > 1 else ()),
    ]
    return [(kernel, clock.time(kernel)) for kernel in kernels]


def _side(report: Report, plan: TokenPlan, schedule: Schedule | None, clock: Clock) -> Side:
    """Return the times of a run; of a mixture, the expectation and the router's own."""
    if not plan.branches:
        return _run(report, plan, schedule, clock)
    from .mixing import ways  # few schedules have several ways

    assert schedule is not None
    total: Side | None = None
    for (share, way), (_, own) in zip(plan.branches, ways(schedule), strict=True):
        if way is None:
            continue
        numbers = arithmetic(clock.device, way, clock.running)  # a way may have bits of its own
        timed = _run(report, way, own, Clock(clock.device, numbers, clock.running))
        side = _scaled(timed, float(share))
        total = side if total is None else _joined(total, side)
    assert total is not None, "some way of a mixture runs"
    rule = clock.stages(
        selection_kernels(
            report.model, report.dense, schedule, report.counting, clock.running.attention
        )
    )
    stages: dict[Stage, StageTime] = {**total.stages, **rule}
    stages["load"] = _loading(clock.running)
    return total._replace(stages=stages, forwards=report.workload.new_tokens - 1)


def _run(report: Report, plan: TokenPlan, schedule: Schedule | None, clock: Clock) -> Side:
    model = report.model
    stages = clock.stages(_prefill(report, plan, schedule, clock))
    layers = model.decoder.num_hidden_layers
    stages["prefill"] = clock.hosted(stages.get("prefill", StageTime()), layers)
    encoder = sum(tower.num_hidden_layers for tower in model.towers)
    if "vision" in stages:
        stages["vision"] = clock.hosted(stages["vision"], encoder, upper_only=True)
    stages["load"] = _loading(clock.running)
    forwards = report.workload.new_tokens - 1
    generating = sum(layout.generates for layout in plan.layout)

    def forward(step: int) -> StageTime:
        found = clock.stages(_forward(report, plan, schedule, clock, step))
        return clock.hosted(found["decode"], generating)

    first = last = mean = None
    if forwards:
        priced = {step: forward(step) for step in _steps(forwards)}
        first, last = priced[1], priced[forwards]
        stages["decode"] = _total(priced)
        mean = stages["decode"].scaled(1 / forwards)
    ordered = {name: stages.get(name, StageTime()) for name in STAGES}
    return Side(ordered, first, mean, last, forwards)


def _prefill(
    report: Report, plan: TokenPlan, schedule: Schedule | None, clock: Clock
) -> Iterator[Kernel]:
    """Yield the kernels of everything until the first token."""
    model, counting, backend = _narrowed(report, schedule), report.counting, clock.running.attention
    yield from prefill_kernels(model, plan, counting, clock.arithmetic.numbers, backend)
    yield from selection_kernels(model, plan, schedule, counting, backend)


def _forward(
    report: Report, plan: TokenPlan, schedule: Schedule | None, clock: Clock, step: int
) -> Iterator[Kernel]:
    """Yield the kernels of a decode forward."""
    model, running = _narrowed(report, schedule), clock.running
    yield from decode_kernels(
        model,
        plan,
        step,
        report.counting,
        clock.arithmetic.numbers,
        running.attention,
        running.runtime == "eager",
    )
    yield from decode_selection_kernels(model, plan, schedule, step, report.counting)


def _narrowed(report: Report, schedule: Schedule | None) -> Model:
    """Return the model that runs under a schedule, whose channels may be fewer."""
    if schedule is None or schedule.channels is None:
        return report.model
    from .narrowing import narrowed

    return narrowed(report.model, schedule.channels)


def _loading(running: Running) -> StageTime:
    seconds = float(running.load_ms) * 1e-3
    return StageTime(time=Interval(seconds, seconds, seconds))


def _steps(forwards: int) -> list[int]:
    """Return the forwards to price: all, or as many as suffice for straight lines between them."""
    if forwards <= PRICED_FORWARDS:
        return list(range(1, forwards + 1))
    last = PRICED_FORWARDS - 1
    return [1 + (forwards - 1) * index // last for index in range(PRICED_FORWARDS)]


def _total(priced: dict[int, StageTime]) -> StageTime:
    """Return the sum over all forwards, of which some are priced."""
    steps = sorted(priced)
    total = priced[steps[0]]
    for before, after in pairwise(steps):
        # (before, after] as a straight line: its end weighs (gap + 1)/2, its start the rest.
        gap = after - before
        total += priced[after].scaled((gap + 1) / 2)
        total += priced[before].scaled((gap - 1) / 2)
    return total


def _summed(times: Iterable[Interval]) -> Interval:
    total = ZERO
    for one in times:
        total += one
    return total


def _scaled(side: Side, share: float) -> Side:
    def part(one: StageTime | None) -> StageTime | None:
        return None if one is None else one.scaled(share)

    stages = {name: one.scaled(share) for name, one in side.stages.items()}
    return Side(stages, part(side.first), part(side.mean), part(side.last), side.forwards)


def _joined(mine: Side, its: Side) -> Side:
    def both(one: StageTime | None, other: StageTime | None) -> StageTime | None:
        return one if one is None or other is None else one + other

    return Side(
        {name: mine.stages[name] + its.stages[name] for name in STAGES},
        both(mine.first, its.first),
        both(mine.mean, its.mean),
        both(mine.last, its.last),
        mine.forwards,
    )


def bounded(side: Side) -> Iterator[Interval]:
    """Yield every time of a run, for checks of lower ≤ central ≤ upper."""
    yield side.ttft
    yield side.end_to_end
    yield side.device
    for one in side.stages.values():
        yield one.time
        yield one.device
