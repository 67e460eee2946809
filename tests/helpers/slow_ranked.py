"""Slow, obvious references for rules that rank tokens inside the LLM."""

from __future__ import annotations

import math

from loops import Row, best, cosine, first_of_largest


def slow_merge(rows: list[Row], count: int, width: int) -> tuple[list[int], list[Row]]:
    """Halve in rounds; a token is (its place, its row)."""
    tokens = list(enumerate(rows))
    while len(tokens) > count:
        even, odd = tokens[::2], tokens[1::2]
        alike = [[cosine(a[:width], b[:width]) for _, b in odd] for _, a in even]
        partner = [first_of_largest(row) for row in alike]
        joining = best([max(row) for row in alike], min(len(tokens) - count, len(tokens) // 2))
        left = [even[at] for at in range(len(even)) if at not in joining]
        for place, (token, row) in enumerate(odd):
            group = [row, *(even[at][1] for at in joining if partner[at] == place)]
            left.append((token, [math.fsum(one) / len(group) for one in zip(*group, strict=True)]))
        tokens = sorted(left, key=lambda token: token[0])
    return [place for place, _ in tokens], [row for _, row in tokens]


def slow_entropy(scores: list[float]) -> float:
    if len(scores) == 1:
        return 0.0
    shares = [max(score / sum(scores), 1e-10) for score in scores]
    return -sum(share * math.log(share) for share in shares) / math.log(len(scores))


def slow_coast(states: list[Row], largest: list[float], last: list[float], count: int) -> list[int]:
    tokens = len(states)
    many = max(1, int(0.8 * count + 1e-9))
    rest = count - many
    chosen = best(last, many)
    size = max(1, min(tokens // 10, tokens - many - count))
    reference = best([-score for score in largest], size)
    others = [token for token in range(tokens) if token not in chosen]
    worth = {}
    for token in others:
        like = max(cosine(states[token], states[anchor]) for anchor in chosen)
        unlike = sum(cosine(states[token], states[one]) for one in reference) / size
        worth[token] = like - unlike
    order = sorted(others, key=lambda token: (-worth[token], token))
    if rest == 0:
        context = 0
    elif rest == 1:
        context = 1
    else:
        share = 0.05 + 0.1 * slow_entropy(largest)
        context = max(1, min(int(rest * share), rest - 1))
    lowest = order[len(order) - context :] if context else []
    return sorted([*chosen, *order[: rest - context], *lowest])


def slow_centres(distance: list[list[float]], count: int, cutoff: float) -> list[int]:
    """Choose from the densest on what is far from all before, then the densest of the others."""
    everyone = range(len(distance))
    density = [sum(math.exp(-((far / 2) ** 2)) for far in row) for row in distance]
    order = sorted(everyone, key=lambda token: (-density[token], token))
    found: list[int] = []
    for token in order:
        if all(distance[token][other] > cutoff for other in found):
            found.append(token)
    found += [token for token in order if token not in found]
    return sorted(found[:count])


def slow_pact(
    states: list[Row], scores: list[float], keys: list[Row], count: int, cutoff: float
) -> tuple[list[int], list[list[float]], list[int]]:
    alive = best(scores, 55 * len(states) // 100)
    far = [[max(0.0, 1 - cosine(one, other)) for other in keys] for one in keys]
    for token in range(len(keys)):
        far[token][token] = 0
    inside = [[far[one][other] for other in alive] for one in alive]
    chosen = [alive[place] for place in slow_centres(inside, count, cutoff)]
    members: dict[int, list[int]] = {centre: [centre] for centre in chosen}
    for token in range(len(states)):
        nearest = min(chosen, key=lambda centre: (far[token][centre], centre))
        if token not in chosen and far[token][nearest] <= 1.5 * cutoff:
            members[nearest].append(token)
    means = [
        [
            math.fsum(states[token][at] for token in group) / len(group)
            for at in range(len(states[0]))
        ]
        for group in members.values()
    ]
    return chosen, means, [len(group) for group in members.values()]


def slow_diverse(features: list[Row], ranked: list[float], count: int) -> list[int]:
    """Keep the best, and one by one what is least like anything kept."""
    kept = best(ranked, count - count // 10)
    for _ in range(count // 10):
        others = [token for token in range(len(features)) if token not in kept]
        alike = [max(cosine(features[token], features[one]) for one in kept) for token in others]
        kept.append(others[first_of_largest([-value for value in alike])])
    return sorted(kept)
