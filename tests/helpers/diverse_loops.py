"""Slow, obvious references of the rules that choose tokens unlike one another, per sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from loops import Row, best, cosine, dot, first_of_largest


def mean_of(rows: Sequence[Row]) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def slow_dart(
    visual: Sequence[Row],
    text: Sequence[Row],
    visual_lengths: Row,
    text_lengths: Row,
    count: int,
) -> list[int]:
    own = best(visual_lengths, 4)
    pivots = [visual[place] for place in own]
    pivots += [text[place] for place in best(text_lengths, 4)]
    kept, free = list(own), [place for place in range(len(visual)) if place not in own]
    share, more = (count - 4) // 8, (count - 4) % 8
    for turn, pivot in enumerate(pivots):
        order = sorted(free, key=lambda place: (cosine(pivot, visual[place]), place))
        taken = order[: share + (turn < more)]
        kept += taken
        free = [place for place in free if place not in taken]
    return sorted(kept)


def slow_scope(features: Sequence[Row], attention: Row, count: int) -> list[int]:
    everyone = range(len(features))
    likeness = [[cosine(features[i], features[j]) for j in everyone] for i in everyone]
    picks: list[int] = []
    while len(picks) < count:
        covered = [max([0.0, *(likeness[i][j] for j in picks)]) for i in everyone]
        gains = [
            -1.0
            if j in picks
            else attention[j] * sum(max(0.0, likeness[i][j] - covered[i]) for i in everyone)
            for j in everyone
        ]
        picks.append(first_of_largest(gains))
    return sorted(picks)


def slow_gathered(tokens: Sequence[Row]) -> list[float]:
    everyone = range(len(tokens))
    handed: list[dict[int, float]] = []
    for one in everyone:
        likeness = {to: cosine(tokens[one], tokens[to]) for to in everyone}
        near = {to: value for to, value in likeness.items() if value >= 0.5}
        near = near or dict.fromkeys(everyone, 0.0)
        weights = {to: math.exp((value - 1) / 0.03) for to, value in near.items()}
        handed.append({to: weight / sum(weights.values()) for to, weight in weights.items()})
    held = [math.sqrt(dot(token, token)) for token in tokens]
    for _ in range(5):
        held = [sum(held[one] * handed[one].get(to, 0.0) for one in everyone) for to in everyone]
    return [held[one] / len(handed[one]) for one in everyone]


def slow_residuals(tokens: Any) -> list[float]:
    """Return what is left of each token without its part along four singular vectors."""
    import numpy

    centred = tokens.numpy() - tokens.numpy().mean(axis=0)
    _, _, vectors = numpy.linalg.svd(centred, full_matrices=False)
    left = []
    for row in centred:
        for vector in vectors[:4]:
            row = row - (row @ vector) * vector
        left.append(float(row @ row))
    return left


def slow_lrcp(rows: Sequence[Row], residuals: Row, count: int) -> dict[int, list[float]]:
    """Return what becomes of each token that stays."""
    stay = best(residuals, count)
    members = {place: [rows[place]] for place in stay}
    for place, row in enumerate(rows):
        if place not in stay:
            likeness = [cosine(row, rows[other]) for other in stay]
            members[stay[first_of_largest(likeness)]].append(row)
    return {place: mean_of(group) for place, group in members.items()}


def slow_contributions(states: Any) -> list[float]:
    import numpy

    left, values, _ = numpy.linalg.svd(states.numpy(), full_matrices=False)
    return [
        sum(abs(float(weight)) * float(value) for weight, value in zip(row, values, strict=True))
        for row in left
    ]


def order_of(scores: Row) -> list[int]:
    return sorted(range(len(scores)), key=lambda place: (-scores[place], place))


def slow_fused(attention: Row, contribution: Row) -> list[int]:
    tokens = len(attention)
    orders = order_of(attention), order_of(contribution)
    return [sum(tokens - order.index(place) for order in orders) for place in range(tokens)]


def slow_tokencarve(
    states: Sequence[Row], attention: Row, contribution: Row, count: int
) -> dict[int, list[float]]:
    """Return what becomes of each token that stays."""
    best = order_of(slow_fused(attention, contribution))[: int(1.5 * count)]
    ours, theirs = best[: len(best) // 2], best[len(best) // 2 :]
    nearest = {
        place: max(ours, key=lambda one: cosine(states[place], states[one]))
        for place in theirs
        if ours
    }
    by_likeness = sorted(nearest, key=lambda place: -cosine(states[place], states[nearest[place]]))
    merged = by_likeness[: count // 2]
    made = {}
    for place in [*ours, *(one for one in theirs if one not in merged)]:
        group = [states[place], *(states[one] for one in merged if nearest[one] == place)]
        made[place] = mean_of(group)
    return made
