"""Slow, obvious references for rules on the frames of a video, one video at a time."""

from __future__ import annotations

import math

from loops import Row, best, cosine, dot


def mean(rows: list[Row]) -> list[float]:
    return [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]


def slow_likeness(frames: list[list[Row]]) -> list[list[tuple[float, float]]]:
    """Return how like the video and its frame each token is."""
    flat = [row for frame in frames for row in frame]
    centre = mean(flat)
    variance = [
        math.fsum((row[channel] - centre[channel]) ** 2 for row in flat)
        for channel in range(len(centre))
    ]
    calm = sorted(range(len(centre)), key=lambda at: (variance[at], at))[: len(centre) // 2]
    units = []
    for frame in frames:
        units.append([])
        for row in frame:
            chosen = [row[channel] for channel in sorted(calm)]
            length = math.sqrt(math.fsum(value**2 for value in chosen))
            units[-1].append([value / length for value in chosen])
    video = mean([row for frame in units for row in frame])

    def kernels(row: Row, centre: Row) -> float:
        distance = math.fsum((a - b) ** 2 for a, b in zip(row, centre, strict=True))
        return math.fsum(math.exp(-distance / (2 * 2.0**power)) for power in range(-3, 2))

    return [[(kernels(row, video), kernels(row, mean(frame))) for row in frame] for frame in units]


def slow_vidcom2(frames: list[list[Row]], kept: int) -> list[int]:
    """Hand out one place after another, each to the frame whose share is exceeded least."""
    likenesses = slow_likeness(frames)
    tokens, base = len(frames[0]), kept / (len(frames) * len(frames[0]))
    unlike = [-math.fsum(video for video, _ in frame) / tokens for frame in likenesses]
    weights = [math.exp((value - max(unlike)) / 0.01) for value in unlike]
    parts = [weight / math.fsum(weights) for weight in weights]
    shares = [base * (1 + part - 1 / len(frames)) * tokens for part in parts]
    shares = [min(share, tokens) for share in shares]
    amounts = [0] * len(frames)
    for _ in range(kept):
        claims = [
            -math.inf if amount == tokens else math.inf if not amount else share - amount
            for share, amount in zip(shares, amounts, strict=True)
        ]
        amounts[claims.index(max(claims))] += 1
    chosen = []
    for index, (frame, amount) in enumerate(zip(likenesses, amounts, strict=True)):
        order = sorted(range(tokens), key=lambda at: (sum(frame[at]), at))
        chosen += [index * tokens + at for at in sorted(order[:amount])]
    return chosen


def slow_half(frame: list[Row]) -> list[int]:
    """Return the half of a frame at which most information gathers."""
    everyone = range(len(frame))
    shares = []
    for i in everyone:
        cosines = [cosine(frame[i], frame[j]) for j in everyone]
        weights = [math.exp((value - 1) / 0.03) if value >= 0.5 else 0.0 for value in cosines]
        shares.append([weight / math.fsum(weights) for weight in weights])
    held = [math.sqrt(dot(row, row)) for row in frame]
    for _ in range(5):
        held = [math.fsum(held[i] * shares[i][j] for i in everyone) for j in everyone]
    scores = [held[i] / sum(share > 0 for share in shares[i]) for i in everyone]
    return best(scores, len(frame) // 2)


def slow_forestprune(
    frames: list[list[Row]], kept: int, grid: tuple[int, int]
) -> tuple[list[int], list[int]]:
    """Return the tokens that stay, and their depths."""
    rows, columns = grid
    nodes = [(f, at, frame[at]) for f, frame in enumerate(frames) for at in slow_half(frame)]
    parent: list[int | None] = []
    trees: list[list[int]] = []  # each of them in the order of time
    for index, (f, at, row) in enumerate(nodes):
        found = []
        for number, tree in enumerate(trees):
            for one in tree:
                other_f, other, other_row = nodes[one]
                down = abs(at // columns - other // columns) / (rows - 1)
                across = abs(at % columns - other % columns) / (columns - 1)
                like = cosine(row, other_row)
                if other_f < f and like >= 0.9 and max(down, across) <= 0.2:
                    found.append((-like, max(down, across), number))
        if not found:
            trees.append([index])
            parent.append(None)
            continue
        tree = trees[min(found)[2]]
        parent.append([one for one in tree if nodes[one][0] < f][-1])
        tree.append(index)
    while sum(one is None for one in parent) > kept:
        roots = [index for index, one in enumerate(parent) if one is None]
        pairs = [(i, j) for i in roots for j in roots if i < j]
        i, j = max(pairs, key=lambda pair: cosine(nodes[pair[0]][2], nodes[pair[1]][2]))
        parent[j] = i
    depth: list[int] = []
    for one in parent:
        depth.append(0 if one is None else depth[one] + 1)
    order = sorted(range(len(nodes)), key=lambda index: (depth[index], nodes[index][0], index))
    chosen = sorted(order[:kept])
    return [nodes[i][0] * len(frames[0]) + nodes[i][1] for i in chosen], [depth[i] for i in chosen]


def slow_framefusion(frames: list[list[Row]], kept: int) -> tuple[list[int], dict[int, list[int]]]:
    """Return the tokens that are left, and of each the tokens that it is the mean of."""
    tokens, first = len(frames[0]), -2.0
    chain = [(f, place) for place in range(tokens) for f in range(len(frames))]
    cosines = [cosine(frames[f][place], frames[f - 1][place]) if f else first for f, place in chain]
    order = sorted(range(1, len(chain)), key=lambda at: (-cosines[at], at))
    merges = set(order[: len(chain) - kept])
    groups: list[list[int]] = []
    for at, (f, place) in enumerate(chain):
        if at not in merges:
            groups.append([])
        groups[-1].append(f * tokens + place)
    return sorted(group[0] for group in groups), {group[0]: group for group in groups}


def slow_dycoke(frames: list[list[Row]], left: int) -> list[int]:
    """Return the tokens that stay, group of four by group of four."""
    tokens, kept = len(frames[0]), []
    for f, frame in enumerate(frames):
        last_group = f // 4 == (len(frames) - 1) // 4
        with_frame = {0: None, 1: f - 1, 2: None if last_group else f - 2, 3: f - 1}[f % 4]
        stays = list(range(tokens))
        if with_frame is not None:
            unlike = [-cosine(frame[at], frames[with_frame][at]) for at in range(tokens)]
            stays = best(unlike, left)
        kept += [f * tokens + at for at in stays]
    return kept
