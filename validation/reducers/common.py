"""What several reduction rules share: choosing, gathering and adding rows, rows of attention.

Shapes: B batch, n tokens, d width, h query heads, h_kv key heads, d_h head size. Indices are int64,
one row per sequence. Nothing here waits for the device: shapes follow from shapes alone, so that
every rule also runs on torch's `meta` device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...costmodel import InvalidInput

if TYPE_CHECKING:
    from torch import Tensor


def check_count(field: str, count: int, limit: int, least: int = 0) -> None:
    """Refuse a number of tokens that is not there.

    Raises:
        InvalidInput: `count` is not in least … limit.
    """
    if not least <= count <= limit:
        raise InvalidInput(
            field, count, f"is impossible with {limit} tokens", f"give {least} to {limit}"
        )


def widen(values: Tensor) -> Tensor:
    """Return values in float32 when they are narrower, unchanged otherwise."""
    return values.float() if values.dtype.itemsize < 4 else values


def unit(rows: Tensor) -> Tensor:
    """Return rows [..., d] at length 1, in float32 or wider; a row of zeros stays one."""
    import torch

    rows = widen(rows)
    length: Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return rows / length.clamp(min=1e-12)


def inner_products(rows: Tensor) -> Tensor:
    """Return the products [B, n, n] of rows [B, n, d] with one another; n²·d MACs per sequence.

    They are symmetric to the last bit, which a matrix product need not be: two tokens that are each
    other's nearest are then equally far, and the lowest index decides, not the rounding.
    """
    products = rows @ rows.mT
    return (products + products.mT) / 2


def top_indices(scores: Tensor, count: int) -> Tensor:
    """Return the indices [B, count] of the highest scores [B, n], ascending.

    Equal scores go to the lowest index. O(n log n).

    Raises:
        InvalidInput: There are fewer than `count` tokens.
    """
    check_count("count", count, scores.shape[1])
    order = scores.sort(dim=1, descending=True, stable=True).indices
    return order[:, :count].sort(dim=1).values


def other_indices(index: Tensor, tokens: int) -> Tensor:
    """Return the indices [B, n − k] of n tokens that are not in index [B, k], ascending.

    The k indices of a sequence are distinct. O(n log n).
    """
    batch, taken = index.shape
    left = index.new_ones(batch, tokens).scatter(1, index, 0)
    return top_indices(left, tokens - taken)


def take(rows: Tensor, index: Tensor) -> Tensor:
    """Return of rows [B, n, …] those at index [B, k]: [B, k, …]."""
    import torch

    sequence = torch.arange(len(rows), device=rows.device)
    return rows[sequence[:, None], index]


def add_rows(target: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """Return target [B, n, d] with rows [B, r, d] added at index [B, r], which may repeat.

    The sums run in the same order every time, on the CPU and on CUDA. O(B·r·d).
    """
    import torch

    batch, tokens, width = target.shape
    first = torch.arange(batch, device=index.device)[:, None] * tokens
    place = (first + index).reshape(-1)
    total = target.reshape(batch * tokens, width).clone()
    added = rows.reshape(len(place), width)
    if total.is_cuda:  # index_add_ adds atomically there, index_put_ sorts first; not so on the CPU
        total.index_put_((place,), added, accumulate=True)
    else:
        total.index_add_(0, place, added)
    return total.view(batch, tokens, width)


def mean_rows(index: Tensor, rows: Tensor, groups: int) -> Tensor:
    """Return the means [B, groups, d] of the rows [B, r, d] whose group is at index [B, r].

    A group without rows has mean 0.
    """
    batch, _, width = rows.shape
    sums = add_rows(rows.new_zeros(batch, groups, width), index, rows)
    sizes = add_rows(rows.new_zeros(batch, groups, 1), index, rows.new_ones(*index.shape, 1))
    return sums / sizes.clamp(min=1)


def attention_rows(
    query: Tensor,
    key: Tensor,
    scaling: float,
    mask: Tensor | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Return some rows [B, h, r, n] of an attention map, in float32 or wider.

    r·n·h·d_h MACs per sequence. Query head i belongs to key head ⌊i·h_kv/h⌋, and the keys are not
    repeated.

    Args:
        query: [B, h, r, d_h], the r tokens whose rows are wanted.
        key: [B, h_kv, n, d_h].
        scaling: Factor of the products before the softmax.
        mask: Broadcastable to [B, 1, r, n]: added to the products or, when boolean, true where a
            row may look.
        softcap: Bound that tanh keeps the products within, before the mask.
    """
    batch, heads, rows, width = query.shape
    groups, tokens = key.shape[1:3]
    grouped = widen(query).reshape(batch, groups, heads // groups * rows, width)
    scores = (grouped @ widen(key).mT).view(batch, heads, rows, tokens) * scaling
    if softcap is not None:
        scores = (scores / softcap).tanh() * softcap
    if mask is not None and not mask.is_floating_point():
        scores = scores.masked_fill(~mask, -1e30)  # a row that sees nothing must not become NaN
    elif mask is not None:
        scores = scores + mask
    return scores.softmax(dim=-1)
