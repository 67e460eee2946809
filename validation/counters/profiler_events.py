"""FLOPs of a real run from the events of torch.profiler.

Its formulas cover `mm`, `addmm`, `bmm`, `baddbmm` and `conv2d`, and additions and multiplications
elementwise, which are left out here. Other convolutions and fused attention are unseen.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...costmodel import MissingExtra
from .kinds import computes, is_product, kind_of, torch_name
from .result import Booked, Count, Owner, followed

if TYPE_CHECKING:
    from torch.nn import Module


def count_by_events(run: Callable[[], object], owners: Mapping[Module, Owner]) -> Count[Owner]:
    """Return the FLOPs of a call by owner and kind.

    Unseen are the outermost operators in which nothing has a formula: `aten.layer_norm`, not the
    kernel below it. Events do not tell number formats, so arithmetic on integers is among them.

    Raises:
        MissingExtra: torch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingExtra("torch", "validation") from None
    from torch.profiler import ProfilerActivity, profile, record_function

    ranges = {f"vlm-tokencost owner {place}": owner for place, owner in enumerate(owners.values())}
    opened: list[Any] = []

    def enter(name: str) -> None:
        opened.append(record_function(name))
        opened[-1].__enter__()

    def leave() -> None:
        opened.pop().__exit__(None, None, None)

    # On the host alone: kernels of a device would be events beside the operators that launch them.
    profiler: Any = profile(
        activities=[ProfilerActivity.CPU], record_shapes=True, with_flops=True, acc_events=True
    )
    named = dict(zip(owners, ranges, strict=True))
    with followed(named, enter, leave), torch.no_grad():
        with _silent():
            profiler.start()
        try:
            run()
        finally:
            with _silent():
                profiler.stop()
    booked: Booked[Owner] = defaultdict(Counter)
    unseen: Counter[str] = Counter()
    outermost = [event for event in profiler.events() if event.cpu_parent is None]
    _book(outermost, ranges, None, booked, unseen)
    return Count.of(booked, unseen)


@contextmanager
def _silent() -> Iterator[None]:
    """Drop what native code prints: on start and stop, Kineto writes to the error stream."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _book(
    events: Iterable[Any],
    ranges: Mapping[str, Owner],
    owner: Owner | None,
    booked: Booked[Owner],
    unseen: Counter[str],
) -> None:
    """Book events, each with what it called: an operator with a formula covers all below it."""
    for event in events:
        name = torch_name(event.name)
        if event.flops:
            if is_product(name):
                booked[owner][kind_of(name)] += event.flops
        elif event.name in ranges:
            _book(event.cpu_children, ranges, ranges[event.name], booked, unseen)
        elif "::" not in event.name or _has_formula_below(event):
            _book(event.cpu_children, ranges, owner, booked, unseen)
        elif computes(name):
            unseen[name] += 1


def _has_formula_below(event: Any) -> bool:
    return any(child.flops or _has_formula_below(child) for child in event.cpu_children)
