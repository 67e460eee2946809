"""Every schedule of a small grid, priced one by one: what a frontier's search must agree with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

Stages = tuple[tuple[int, int], ...]
Priced = tuple[Any, Any, Stages]


def every_schedule(layers: Sequence[int], levels: int, stages: Sequence[int]) -> Iterator[Stages]:
    """Yield every row of stages (first layer, level): growing layers, shrinking levels."""
    for count in stages:
        for places in combinations(sorted(layers), count):
            for chosen in combinations(range(levels), count):
                yield tuple(zip(places, reversed(chosen), strict=True))


def per_layer(stages: Stages, depth: int, dense: int) -> list[int]:
    """Return the level of each layer, `dense` before the first stage."""
    found = [dense] * depth
    for first, level in stages:
        found[first:] = [level] * (depth - first)
    return found


def best_of(priced: list[Priced], budget: Any = None) -> list[tuple[Any, Any, Stages, int]]:
    """Return what no other beats within a budget: (cost, value, stages, how many others tie).

    One is beaten where another costs no more and is worth no less, and differs in either.
    """
    left = [one for one in priced if budget is None or one[0] <= budget]
    found: dict[tuple[Any, Any], list[Stages]] = {}
    for cost, value, stages in left:
        beaten = any(c <= cost and v >= value and (c, v) != (cost, value) for c, v, _ in left)
        if not beaten:
            found.setdefault((cost, value), []).append(stages)
    return [
        (cost, value, min(ties, key=lambda one: (len(one), one)), len(ties) - 1)
        for (cost, value), ties in sorted(found.items())
    ]
