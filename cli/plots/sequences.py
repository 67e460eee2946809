"""Counts that grow: what a figure over the length of the sequence is drawn for."""

from __future__ import annotations

from ...costmodel import Report


def sequence_tokens(report: Report) -> int:
    """Return the length of the dense sequence, keys of cross-attention included."""
    plan = report.dense
    return plan.dense_visual_tokens + plan.structural_tokens + plan.text_tokens


def growing(last: int, most: int = 40) -> list[int]:
    """Return 1, …, `last`: all of few numbers, else about `most` of them, evenly by ratio.

    >>> growing(4)
    [1, 2, 3, 4]
    """
    if last <= most:
        return list(range(1, last + 1))
    found = {round(last ** (place / (most - 1))) for place in range(most)}
    return sorted(found)
