"""Slow, obvious references for rules that rank the tokens of an encoder's crops."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from loops import Row, best, cosine, dot, first_of_largest


def slow_vispruner(
    features: list[Row], scores: list[float], count: int, important: int
) -> list[int]:
    """Follow the released rounds: of every other token, those most like one between go."""
    ranked = sorted(range(len(scores)), key=lambda token: -scores[token])
    left = ranked[important:]
    while len(left) > count - important:
        compared, between = left[0::2], left[1::2]
        likeness = {
            token: max(cosine(features[token], features[other]) for other in between)
            for token in compared
        }
        most_alike = sorted(compared, key=lambda token: -likeness[token])  # sorting is stable
        left = most_alike[min(8, len(left) - (count - important)) :] + between
    return sorted(ranked[:important] + left)


def slow_prumerge(
    states: list[Row], scores: list[float], keys: list[Row], kept: list[int]
) -> list[list[float]]:
    tokens, width = range(len(states)), range(len(states[0]))
    made = []
    for own in kept:
        others = [token for token in tokens if token != own]
        nearest = sorted(others, key=lambda other: -cosine(keys[own], keys[other]))[:32]
        made.append(
            [
                states[own][c] + sum(scores[other] * states[other][c] for other in nearest)
                for c in width
            ]
        )
    rest = [token for token in tokens if token not in kept]
    return [*made, [sum(scores[token] * states[token][c] for token in rest) for c in width]]


def hired_shares(early: list[float], parts: int, budget: int) -> list[int]:
    tokens = len(early)
    marked = best(early, tokens // 2)
    ends = [part * tokens // parts for part in range(parts + 1)]
    return [
        sum(start <= token < end for token in marked) * budget // len(marked)
        for start, end in pairwise(ends)
    ]


def slow_hired(early: list[float], late: list[list[float]], whole: int, count: int) -> list[int]:
    crops, tokens = len(late), len(late[0])
    flat = [score for crop in late for score in crop]
    if crops == 1:
        return best(flat, count)
    own = min(count // 2, tokens)
    shares = hired_shares(early, crops - 1, count - own)
    shares.insert(whole, own)
    kept = [
        crop * tokens + token
        for crop, share in enumerate(shares)
        for token in best(late[crop], min(share, tokens))
    ]
    left = [token for token in range(crops * tokens) if token not in kept]
    kept += [left[at] for at in best([flat[token] for token in left], count - len(kept))]
    return sorted(kept)


def slow_vscan(
    deep: list[float], shallow: list[float], rows: int, columns: int, count: int
) -> list[int]:
    local: list[int] = []
    edges = [[side * part // 4 for part in range(5)] for side in (rows, columns)]
    for down in range(4):
        for across in range(4):
            window = [
                token
                for token in range(rows * columns)
                if edges[0][down] <= token // columns < edges[0][down + 1]
                and edges[1][across] <= token % columns < edges[1][across + 1]
            ]
            share = min(count // 2 // 16, len(window))
            local += [window[at] for at in best([shallow[token] for token in window], share)]
    left = [token for token in range(rows * columns) if token not in local]
    chosen = best([deep[token] for token in left], count - len(local))
    return sorted(local + [left[at] for at in chosen])


def merged_into_nearest(tokens: list[Row], kept: list[int]) -> list[list[float]]:
    groups = {own: [own] for own in kept}
    for token in range(len(tokens)):
        if token not in kept:
            likeness = [cosine(tokens[token], tokens[own]) for own in kept]
            groups[kept[first_of_largest(likeness)]].append(token)
    return [
        [sum(tokens[token][c] for token in group) / len(group) for c in range(len(tokens[0]))]
        for group in groups.values()
    ]


def holov_score(tokens: list[Row], attention: list[float]) -> float:
    """Return a run's score."""
    everyone = range(len(tokens))
    lengths = [math.sqrt(dot(row, row)) + 1e-6 for row in tokens]
    variances = []
    for i in everyone:
        row = [
            0.0 if i == j else dot(tokens[i], tokens[j]) / lengths[i] / lengths[j] for j in everyone
        ]
        mean = sum(row) / (len(row) - 1)
        variances.append(sum((one - mean) ** 2 for one in row) / (len(row) - 1))
    scaled = [1e3 * one for one in attention]
    factor = (sum(scaled) / len(scaled)) / (sum(variances) / len(variances) + 1e-6)
    scores = [a + 0.09 * v * factor for a, v in zip(scaled, variances, strict=True)]
    return sum(scores) / len(scores)


def holov_shares(scores: list[float], count: int) -> list[int]:
    weights = [score / (sum(scores) + 1e-6) for score in scores]
    share = [math.floor(weight * count) for weight in weights]
    best = sorted(range(len(scores)), key=lambda run: -weights[run])
    for run in best[: count - sum(share)]:
        share[run] += 1
    return share


def slow_holov(tokens: list[Row], attention: list[float], count: int) -> list[int]:
    """Return what goes on; fewer than `count` where zero vectors follow."""
    runs, start = [], 0
    for run in range(16):
        length = len(tokens) // 16 + (run < len(tokens) % 16)
        runs.append(list(range(start, start + length)))
        start += length
    scores = [holov_score([tokens[t] for t in run], [attention[t] for t in run]) for run in runs]
    kept = []
    for run, share in zip(runs, holov_shares(scores, count), strict=True):
        ranked = sorted(run, key=lambda token: -attention[token])
        kept += run if share >= len(run) else ranked[:share]
    return kept


def hawk_scores(query: Any, key: Any, raters: list[int], weights: tuple[float, ...]) -> list[float]:
    """Return the scores of one sequence's visual tokens, query [h, N, d], key [h_kv, V, d]."""
    shared = len(query) // len(key)
    total = [0.0] * key.shape[1]
    for head, weight in enumerate(weights):
        rows, columns = query[head].tolist(), key[head // shared].tolist()
        scores = [
            sum(dot(rows[rater], column) for rater in raters) / math.sqrt(len(column)) / len(raters)
            for column in columns
        ]
        length = math.sqrt(dot(scores, scores))
        total = [
            so_far + weight * score / length for so_far, score in zip(total, scores, strict=True)
        ]
    return total
