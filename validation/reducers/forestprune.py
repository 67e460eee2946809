"""ForestPrune: link the better half of each frame to trees through the frames, and keep roots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import check_count, inner_products, take, top_indices, unit
from .gprune import flowed

if TYPE_CHECKING:
    from torch import Tensor

#: Least cosine of a token and what it joins, and the part of a frame's side that may lie between.
LEAST_COSINE, REACH = 0.9, 5


def forestprune(frames: Tensor, kept: int, grid: tuple[int, int]) -> Tensor:
    """Return the indices [B, kept] of the tokens F·n that stay, ascending.

    First the ⌊n/2⌋ tokens of each frame stay at which most information gathers (`gprune`). Then,
    frame by frame, a token joins the tree of the token of any earlier frame that it is most like,
    if their cosine is 0.9 or more and neither rows nor columns differ by more than a fifth of the
    frame; its parent is the tree's latest token. Others are roots. If there are more roots than
    tokens to keep, the two most alike are linked, the later below the earlier, until there are not.
    Of all trees the tokens nearest to their roots stay, the earliest frames first.

    Of equally like tokens the nearest counts, then the tree of the earliest root; other ties go to
    the lowest index. The released code takes a frame's half in no order; here it is that of places.

    Per sequence F·n²·d MACs for cosines within frames, 5·F·n² for the flow, and
    F·(F − 1)/2·⌊n/2⌋²·d for cosines with earlier frames; cosines of roots are among them. The
    links take at most F·⌊n/2⌋ − kept steps of O(F²·n²) comparisons.
    Source: arXiv 2603.22911; luminousllsa/ForestPrune commit e2a2eb7.

    Args:
        frames: [B, F, n, d].
        kept: Tokens of the whole video.
        grid: Rows and columns of a frame's tokens.

    Raises:
        InvalidInput: The halves of all frames have fewer tokens.
    """
    import torch

    batch, count, tokens, width = frames.shape
    half = tokens // 2
    check_count("count", kept, count * half)
    flat = frames.reshape(batch * count, tokens, width)
    rows = unit(flat)
    within = inner_products(rows)
    best = top_indices(flowed(within, flat), half)
    alike = _alike(take(rows, best), take(take(within, best).mT, best), count)
    places = best.reshape(batch, count, half)
    parents, frame = grow(alike, places, grid), torch.arange(count, device=frames.device)
    parents = linked(alike, parents, kept)
    order = depths(parents) * count + frame.repeat_interleave(half)
    chosen = top_indices(-order, kept)
    return (places + tokens * frame[:, None]).flatten(1).gather(1, chosen)


def _alike(rows: Tensor, within: Tensor, count: int) -> Tensor:
    """Return cosines [B, T, T] of all frames' halves, 0 below the diagonal blocks.

    Args:
        rows: [B·F, h, d] at length 1.
        within: Their cosines in each frame, [B·F, h, h].
        count: F; T is F·h.
    """
    _, half, width = rows.shape
    rows = rows.reshape(-1, count, half, width)
    within = within.reshape(-1, count, half, half)
    alike = within.new_zeros(len(rows), count * half, count * half)
    for frame in range(count):
        here = slice(frame * half, (frame + 1) * half)
        alike[:, here, here] = within[:, frame]
        if frame:
            earlier = rows[:, :frame].flatten(1, 2)
            alike[:, : frame * half, here] = earlier @ rows[:, frame].mT
    return alike


def grow(alike: Tensor, places: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the parent of each token [B, T], −1 for a root, by joining earlier trees.

    Args:
        alike: Cosines [B, T, T], of earlier tokens (rows) with later ones.
        places: [B, F, h], where each token stands in its frame.
        grid: Rows and columns of a frame.
    """
    import torch

    batch, count, half = places.shape
    total = count * half
    apart = _apart(places.flatten(1), grid)
    own = torch.arange(total, device=places.device).expand(batch, -1)
    # A tree is called after its root; its tail is its latest token.
    root, parents = own[:, :half], torch.full_like(own[:, :half], -1)
    tail = torch.where(own < half, own, -1)
    for frame in range(1, count):
        before, here = frame * half, slice(frame * half, (frame + 1) * half)
        cosine, distance = alike[:, :before, here], apart[:, :before, here]
        may = (cosine >= LEAST_COSINE) & (REACH * distance <= _whole(grid))
        most = cosine.masked_fill(~may, -2.0).amax(dim=1, keepdim=True)
        may = may & (cosine == most)
        least = distance.masked_fill(~may, _whole(grid) + 1).amin(dim=1, keepdim=True)
        may = may & (distance == least)
        tree = torch.where(may, root[:, :, None], total).amin(dim=1)
        joins = tree < total
        root_here = torch.where(joins, tree, own[:, here])
        parent = torch.where(joins, tail.gather(1, tree.clamp(max=total - 1)), -1)
        tail = tail.scatter_reduce(1, root_here, own[:, here], "amax")
        root, parents = torch.cat([root, root_here], 1), torch.cat([parents, parent], 1)
    return parents


def linked(alike: Tensor, parents: Tensor, kept: int) -> Tensor:
    """Return parents [B, T] after linking roots, the most alike first, until `kept` are left.

    Args:
        alike: Cosines [B, T, T] of earlier tokens (rows) with later ones.
        parents: [B, T], −1 for a root.
        kept: Roots that may be left.
    """
    import torch

    batch, total = parents.shape
    is_root, place = parents < 0, torch.arange(total, device=parents.device)
    pairs = is_root[:, :, None] & is_root[:, None, :] & (place[:, None] < place)
    alike = alike.masked_fill(~pairs, -2.0)
    sequence = torch.arange(batch, device=parents.device)
    surplus = is_root.sum(dim=1) - kept
    parents = parents.clone()
    for step in range(total - kept):
        best = alike.flatten(1).argmax(dim=1)
        earlier, later = best // total, best % total
        links = step < surplus
        parents[sequence, later] = torch.where(links, earlier, parents[sequence, later])
        for rows in (alike, alike.mT):
            rows[sequence, later] = torch.where(links[:, None], -2.0, rows[sequence, later])
    return parents


def depths(parents: Tensor) -> Tensor:
    """Return how many steps above each token [B, T] its root is; a parent of −1 is none.

    Paths double in length at every step: O(T log T).
    """
    import torch

    total = parents.shape[1]
    above = torch.nn.functional.pad(torch.where(parents < 0, total, parents), (0, 1), value=total)
    depth = (above < total).to(torch.int64)
    for _ in range(total.bit_length()):
        depth = depth + depth.gather(1, above)
        above = above.gather(1, above)
    return depth[:, :total]


def _apart(places: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return how far places [B, T] of a grid lie apart, [B, T, T].

    The larger of the differences of rows and of columns, each as a part of the frame's side, times
    `_whole(grid)`: whole numbers, which compare exactly.
    """
    import torch

    rows, columns = (max(side - 1, 1) for side in grid)
    row, column = places // grid[1], places % grid[1]
    down = (row[:, :, None] - row[:, None, :]).abs() * columns
    across = (column[:, :, None] - column[:, None, :]).abs() * rows
    return torch.maximum(down, across)


def _whole(grid: tuple[int, int]) -> int:
    """Return the distance of opposite sides of a grid."""
    rows, columns = (max(side - 1, 1) for side in grid)
    return rows * columns
