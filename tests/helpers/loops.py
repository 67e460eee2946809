"""Slow, obvious references for what several reduction rules do, on one sequence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

Row = Sequence[float]


def normal(*shape: int, seed: int = 0) -> Any:
    """Draw a float64 tensor; another seed draws another."""
    import torch

    made = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=made, dtype=torch.float64)


def dot(one: Row, other: Row) -> float:
    return math.fsum(left * right for left, right in zip(one, other, strict=True))


def cosine(one: Row, other: Row) -> float:
    lengths = math.sqrt(dot(one, one)) * math.sqrt(dot(other, other))
    return dot(one, other) / lengths if lengths else 0.0


def first_of_largest(values: Sequence[float]) -> int:
    return min(range(len(values)), key=lambda index: (-values[index], index))


def best(scores: Sequence[float], count: int) -> list[int]:
    """Return the indices of the highest scores, ties to the lowest index, ascending."""
    return sorted(sorted(range(len(scores)), key=lambda index: (-scores[index], index))[:count])


def attention(
    query: Any, key: Any, scaling: float, seen: Callable[[int, int], bool] = lambda row, at: True
) -> list[list[list[float]]]:
    """Return rows [h][r][n] of an attention map, query [h, r, d_h] and key [h_kv, n, d_h]."""
    shared = len(query) // len(key)
    made: list[list[list[float]]] = []
    for head, rows in enumerate(query.tolist()):
        made.append([])
        for place, row in enumerate(rows):
            weights = [
                math.exp(scaling * dot(row, one)) if seen(place, at) else 0.0
                for at, one in enumerate(key[head // shared].tolist())
            ]
            made[-1].append([weight / math.fsum(weights) for weight in weights])
    return made
