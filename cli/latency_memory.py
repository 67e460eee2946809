"""Whether what is timed fits the device's memory: weights, cache and the peak of every phase."""

from __future__ import annotations

from typing import NamedTuple

from ..costmodel.capacity import Remedy, peaks_with_context, remedies
from ..costmodel.latency import Latency
from ..costmodel.peak import Asking, Peak
from ..costmodel.transients import Running
from ..costmodel.weights import Storage
from .memory_words import gib
from .rows import Row

SIDES = ("baseline", "scheduled")


class Fitting(NamedTuple):
    """The peaks of both runs beside the memory of the device they are timed on.

    Attributes:
        capacity: Bytes of the device.
        peaks: Of baseline and schedule, the CUDA context included.
        changes: Changes that make the schedule, or else the baseline, fit.
    """

    capacity: int
    peaks: tuple[Peak, Peak]
    changes: tuple[Remedy, ...]

    def excess(self, side: str) -> int:
        """Return the bytes that a run lacks; negative where some are left."""
        return self.peaks[SIDES.index(side)].total - self.capacity

    @property
    def lacking(self) -> tuple[str, ...]:
        """The runs that do not fit."""
        return tuple(side for side in SIDES if self.excess(side) > 0)

    def payload(self) -> Row:
        """Return the figures as JSON gives them."""
        return {
            "unit": "byte",
            "capacity": self.capacity,
            **{
                side: {
                    "peak": peak.total,
                    "phase": peak.phase.name,
                    "fits": self.excess(side) <= 0,
                    "excess": self.excess(side),
                }
                for side, peak in zip(SIDES, self.peaks, strict=True)
            },
            "remedies": [one._asdict() for one in self.changes],
        }


def fitting(found: Latency) -> Fitting:
    """Return how the timed request goes with the device's memory.

    As transformers allocates, by `tokencost memory --overhead device` with the same options; an
    engine that pages its cache needs less beside weights and cache.
    """
    running, capacity = found.running, found.device.memory_bytes
    storage = Storage() if running.bits is None else Storage(running.bits)
    asking = Asking(storage, running.kv_bits, Running(running.attention), context=True)
    peaks = peaks_with_context(found.report, asking)
    changes: tuple[Remedy, ...] = ()
    if max(peak.total for peak in peaks) > capacity:
        pruned = peaks[1].total > capacity
        changes = remedies(found.report, asking, capacity, scheduled=pruned)
    return Fitting(capacity, peaks, changes)


def memory_notes(found: Latency, where: str = "") -> list[str]:
    """Return a warning where a run does not fit: by how much, and what would.

    Args:
        found: The request and its times.
        where: What is said before it, of one request among several.
    """
    own, name = fitting(found), found.device.id
    if not own.lacking:
        return []
    alike = found.report.schedule is None or own.peaks[0].total == own.peaks[1].total
    parts = []
    for side in own.lacking[:1] if alike else own.lacking:
        peak = own.peaks[SIDES.index(side)]
        who = "the request" if alike else f"the {side} run"
        parts.append(
            f"{who} needs {gib(peak.total)} GiB ({peak.phase.name}), {gib(own.excess(side))} GiB "
            f"more than {name} has"
        )
    whole = alike or len(own.lacking) == len(SIDES)
    whose = "these times are" if whole else f"the time of the {own.lacking[0]} run is"
    changes = ", ".join(f"{one.change} ({gib(one.total)} GiB)" for one in own.changes)
    would = f"what would fit: {changes}" if changes else "no change that is tried would fit"
    lines = [
        f"memory{where}: {'; '.join(parts)}: {whose} of a device that has them; {would}; see "
        "`tokencost memory`"
    ]
    if "memory_gb" in found.device.unverified:
        lines.append(f"unverified: the memory of {name}")
    return lines
