"""Time to the first token as a cost of a frontier: kernels of the LLM's layers, and the rest."""

from __future__ import annotations

import math
from fractions import Fraction

from ..clock import Clock, Running
from ..device import Device
from ..latency import Side, dense_side, latency
from ..report import Report
from ..tokenplan import TokenPlan
from ..traffic import prefill_kernels

#: Units that the dense run's kernels take: fewer than 64 bits hold, more than doubles tell apart.
_FINENESS = 17
#: Share by which times of the search and of `latency` may differ: sums of doubles in other orders.
TOLERANCE = 1e-12


class FirstToken:
    """The central estimate of the time to the first token.

    max(Σ kernels of the prefill, host) + all other stages, of which none depends on what a schedule
    of stages does. Kernels of the prefill add up over layers.
    """

    def __init__(self, report: Report, device: Device, running: Running) -> None:
        """Time the dense run; decode forwards, which come later, are left out."""
        self._device, self._running = device, running
        found = latency(prefill_only(report), device, running)
        self._clock = Clock(device, found.arithmetic[0], running)
        self.found, prefill = found, found.dense.stages["prefill"]
        # So many units to a second that rounding is finer than the doubles it rounds.
        self._per_second: int = 10 ** (_FINENESS - math.ceil(math.log10(prefill.device.central)))
        self._host = Fraction(prefill.host.central)
        self._known: tuple[TokenPlan, Side] | None = None
        self._rest = Fraction(found.dense.ttft.central) - Fraction(prefill.time.central)

    def layers(self, report: Report) -> int:
        """Return the time of the kernels of a prefill, in units."""
        kernels = prefill_kernels(
            report.model,
            report.scheduled,
            report.counting,
            self._clock.arithmetic.numbers,
            self._running.attention,
        )
        own = (kernel for kernel in kernels if kernel.stage == "prefill")
        seconds = self._clock.stages(own)["prefill"].device.central
        return round(Fraction(seconds) * self._per_second)

    def passes(self, amount: int) -> Fraction:
        """Return the seconds that pass."""
        return max(Fraction(amount, self._per_second), self._host) + self._rest

    def most(self, budget: Fraction) -> int | None:
        """Return the units that the kernels may take; None where the host alone takes longer."""
        left = budget - self._rest
        return None if left < self._host else math.floor(left * self._per_second)

    def side(self, report: Report) -> Side:
        """Return the times of a report's scheduled side, as `tokencost latency` prices them."""
        plan = report.scheduled
        if self._known is None or self._known[0] is not plan:  # asked for twice in a row
            alone = prefill_only(report)._replace(dense=plan, schedule=None)
            self._known = plan, dense_side(alone, self._device, self._running)
        return self._known[1]

    def scalar(self, report: Report) -> Fraction:
        """Return the seconds until the first token of a report's scheduled side."""
        return Fraction(self.side(report).ttft.central)

    def agrees(self, amount: int, scalar: Fraction) -> bool:
        """Tell whether both differ by no more than sums in another order do."""
        return abs(self.passes(amount) - scalar) <= Fraction(TOLERANCE) * scalar


def prefill_only(report: Report) -> Report:
    """Return the report of the same request until its first token."""
    return report._replace(workload=report.workload.model_copy(update={"new_tokens": 1}))
