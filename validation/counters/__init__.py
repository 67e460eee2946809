"""FLOPs of a real run by three independent counters: FlopCounterMode, fvcore, torch.profiler.

All of them count matrix products, convolutions and attention at 2 FLOP per multiply–accumulate
(fvcore's MACs are doubled), charge them to the innermost owned module that runs, and name what they
have no formula for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from .flop_counter import UncountedOperator, count_by_dispatch, count_by_module, count_flops
from .fvcore_trace import count_by_trace
from .kinds import Kind
from .profiler_events import count_by_events
from .result import Count, Owner

if TYPE_CHECKING:
    from torch.nn import Module

__all__ = [
    "COUNTERS",
    "Count",
    "CounterName",
    "Kind",
    "Owner",
    "UncountedOperator",
    "count",
    "count_by_module",
    "count_flops",
]

CounterName = Literal["torch", "fvcore", "profiler"]
#: The names that `count` accepts.
COUNTERS: tuple[CounterName, ...] = ("torch", "fvcore", "profiler")


def count(
    run: Callable[[], object], owners: Mapping[Module, Owner], counter: CounterName = "torch"
) -> Count[Owner]:
    """Return the FLOPs of one call of `run`, without gradients, and what the counter did not see.

    Prepare outside `run` what is not to be counted. For fvcore, `run` returns every tensor that
    matters (in tuples, lists or mappings): tracing drops what no returned tensor depends on.

    Args:
        run: The call.
        owners: The owner of a module; the innermost running one pays, None what runs outside all.
        counter: `torch` is FlopCounterMode, on any device and on meta; `fvcore` traces the run
            and needs eager attention; `profiler` is torch.profiler's estimate per operator.

    Raises:
        MissingExtra: torch or fvcore is not installed.
        UncountedOperator: The run used a product without formula in FlopCounterMode; the other
            counters report it as unseen.
        InvalidInput: fvcore cannot trace the run: a convolution on meta, or a run that goes on
            after an error in a module.
    """
    if counter == "fvcore":
        return count_by_trace(run, owners)
    if counter == "profiler":
        return count_by_events(run, owners)
    return count_by_dispatch(run, owners)
