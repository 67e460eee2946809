"""What fits a device: the largest batch and context, and what would make a model fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from .errors import InvalidInput
from .peak import Asking, Peak, peak
from .plan import plan
from .report import Report
from .tokenplan import TokenPlan

#: No batch and no context comes near.
MOST = 10**7
#: Devices that tensor parallelism is tried with.
TRIED_DEVICES = (2, 4, 8, 16)


class Remedy(NamedTuple):
    """A change that makes a request fit.

    Attributes:
        change: What to change, as options.
        total: Bytes at the peak then, on the fullest device.
    """

    change: str
    total: int


class Fit(NamedTuple):
    """How a request and a device's memory go together.

    Attributes:
        peak: The peak, context of the device included.
        capacity: Bytes of the device.
        batch: The largest batch; 0 where not even one fits.
        context: The largest sequence (visual, structural and text tokens), with more text than was
            asked for; 0 where no text fits. None where the schedule does not go with every length.
        context_batch: The batch that it is for: the one asked for, or 1 where that is too large for
            any text.
    """

    peak: Peak
    capacity: int
    batch: int
    context: int | None
    context_batch: int = 1

    @property
    def fits(self) -> bool:
        """Whether the request fits as it is."""
        return self.peak.total <= self.capacity

    @property
    def excess(self) -> int:
        """Bytes that are missing; negative where some are left."""
        return self.peak.total - self.capacity


def fit(report: Report, asking: Asking, capacity: int, *, scheduled: bool = True) -> Fit:
    """Return whether one side of a report fits a device, and the most that would.

    Bytes outside torch's allocator count, because they take the device's memory too.
    """
    asking = asking._replace(context=True)

    def fits(asked: Report) -> bool:
        return peak(asked, asking, scheduled=scheduled).total <= capacity

    own = peak(report, asking, scheduled=scheduled)
    batch = _largest(lambda count: fits(with_batch(report, count)))
    context: int | None = None
    asked = report.workload.batch
    try:
        if asked > 1 and not fits(with_text(report, 1)):
            asked, report = 1, with_batch(report, 1)
        text = _largest(lambda count: fits(with_text(report, count)))
        dense = report.dense
        context = 0
        if text:
            sequence = 0 if report.model.decoder.crosses else dense.dense_visual_tokens
            context = sequence + dense.structural_tokens + text
    except InvalidInput:
        context = None
    return Fit(own, capacity, batch, context, asked)


def peaks_with_context(report: Report, asking: Asking) -> tuple[Peak, Peak]:
    """Return the peaks of both sides with what lies outside torch's allocator, baseline first."""
    asking = asking._replace(context=True)
    return peak(report, asking, scheduled=False), peak(report, asking)


def remedies(
    report: Report, asking: Asking, capacity: int, *, scheduled: bool = True
) -> tuple[Remedy, ...]:
    """Return single changes, each of which makes the request fit, or else all of them together.

    Of batches the largest that does, of several devices the fewest.
    """
    asking = asking._replace(context=True)

    def fits(batch: int) -> bool:
        return peak(with_batch(report, batch), asking, scheduled=scheduled).total <= capacity

    batch = _largest(fits, report.workload.batch)
    single = list(_singles(report, asking, batch)), list(_spread("", report, asking))
    found = [
        *_fitting(single[0], capacity, scheduled),
        *_fitting(single[1], capacity, scheduled)[:1],
    ]
    if found:
        return tuple(found)
    names, smallest = [], (report, asking)
    if report.workload.batch > 1:
        names, smallest = ["--batch 1"], (with_batch(report, 1), asking)
    if asking.storage.bits > 4:
        names.append("--bits 4")
        smallest = (smallest[0], asking._replace(storage=asking.storage._replace(bits=4)))
    together = [(" ".join(names), smallest), *_spread(" ".join(names), *smallest)]
    return tuple(_fitting(together, capacity, scheduled)[:1])


_Change = tuple[str, tuple[Report, Asking]]


def _fitting(changes: list[_Change], capacity: int, scheduled: bool) -> list[Remedy]:
    """Return the changes that make the request fit."""
    found = []
    for change, (report, asking) in changes:
        try:
            total = peak(report, asking, scheduled=scheduled).total
        except InvalidInput:  # devices that do not divide the heads
            continue
        if total <= capacity:
            found.append(Remedy(change, total))
    return found


def _singles(report: Report, asking: Asking, batch: int) -> Iterator[_Change]:
    """Yield the changes on one device; `batch` is the largest that fits, if any does."""
    if asking.running.attention == "eager" and not asking.running.output_attentions:
        fused = asking.running._replace(attention="sdpa")
        yield "--attention sdpa", (report, asking._replace(running=fused))
    if asking.running.old:
        last = asking.running._replace(old=False)
        yield "--transformers new", (report, asking._replace(running=last))
    if 0 < batch < report.workload.batch:
        yield f"--batch {batch}", (with_batch(report, batch), asking)
    for bits in (8, 4):
        if bits < asking.storage.bits:
            yield (
                f"--bits {bits}",
                (report, asking._replace(storage=asking.storage._replace(bits=bits))),
            )


def _spread(others: str, report: Report, asking: Asking) -> Iterator[_Change]:
    """Yield more devices, beside other changes."""
    for devices in TRIED_DEVICES:
        if devices > asking.sharding.tp:
            spread = asking.sharding._replace(tp=devices)
            yield f"{others} --tp {devices}".strip(), (report, asking._replace(sharding=spread))


def with_batch(report: Report, batch: int) -> Report:
    """Return the report of another batch: plans hold the tokens of one sequence."""
    return report._replace(
        workload=report.workload.model_copy(update={"batch": batch}),
        dense=_batched(report.dense, batch),
        scheduled=_batched(report.scheduled, batch),
    )


def _batched(one: TokenPlan, batch: int) -> TokenPlan:
    branches = tuple(
        (share, None if way is None else _batched(way, batch)) for share, way in one.branches
    )
    return one._replace(batch=batch, branches=branches)


def with_text(report: Report, text: int) -> Report:
    """Return the report of another number of text tokens."""
    workload = report.workload.model_copy(update={"text_tokens": text})
    dense = plan(report.model, workload)
    same = report.schedule is None
    scheduled = dense if same else plan(report.model, workload, report.schedule)
    return report._replace(workload=workload, dense=dense, scheduled=scheduled)


def _largest(fits: Callable[[int], bool], most: int = MOST) -> int:
    """Return the largest number in [0, `most`] that fits; 0 where 1 does not."""
    if not fits(1):
        return 0
    high = 1
    while high < most and fits(min(2 * high, most)):
        high = min(2 * high, most)
    if high >= most:
        return most
    low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
