"""Time by component: the innermost running component pays, by marks at its modules' borders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..counters.result import followed
from ..forward import ROTARY, component_of

if TYPE_CHECKING:
    from torch.nn import Module

    from ..forward import Driver

#: What runs in no component: embedding, assembling the prompt, masks, rotary tables, last norm.
OUTSIDE = "outside"


class PhaseClock:
    """Takes a mark whenever another component begins to run.

    A mark is whatever `mark` returns: a time, or an event in a device's queue whose time is known
    once the device has reached it.
    """

    def __init__(self, mark: Callable[[], Any]) -> None:
        """Take what makes a mark."""
        self._mark = mark
        self._running = [OUTSIDE]
        self._marks: list[tuple[str, Any]] = []

    def start(self) -> None:
        """Take the first mark, outside all components."""
        self._marks.append((OUTSIDE, self._mark()))

    def enter(self, component: str) -> None:
        """Let a component run; modules of one component inside each other are one."""
        if component != self._running[-1]:
            self._marks.append((component, self._mark()))
        self._running.append(component)

    def leave(self) -> None:
        """Go back to the component that was running before."""
        left = self._running.pop()
        if self._running[-1] != left:
            self._marks.append((self._running[-1], self._mark()))

    def stop(self) -> None:
        """Take the last mark."""
        self._marks.append((OUTSIDE, self._mark()))

    def seconds(self, between: Callable[[Any, Any], float]) -> dict[str, float]:
        """Return the time of each component that ran, `OUTSIDE` included.

        Args:
            between: Seconds from one mark to another.
        """
        sums: dict[str, float] = defaultdict(float)
        for (component, begin), (_, end) in zip(self._marks, self._marks[1:], strict=False):
            sums[component] += between(begin, end)
        return dict(sums)


def components(driver: Driver) -> dict[Module, str]:
    """Return the component of every owned module; rotary tables belong to whatever makes them."""
    return {
        module: component_of(place) for module, place in driver.owners().items() if place != ROTARY
    }


@contextmanager
def clocked(owned: dict[Module, str], mark: Callable[[], Any]) -> Iterator[PhaseClock]:
    """Follow owned modules with a clock that runs from start to end of the block."""
    clock = PhaseClock(mark)
    with followed(owned, clock.enter, clock.leave):
        # Between the marks there is no time of putting hooks on modules and taking them off.
        clock.start()
        yield clock
        clock.stop()
