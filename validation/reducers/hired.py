"""HiRED: an image's budget is shared among its crops by early attention, and spent by late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .common import check_count, top_indices

if TYPE_CHECKING:
    from torch import Tensor


def crop_shares(early: Tensor, crops: int, budget: int) -> Tensor:
    """Return the tokens [B, crops] that the parts of an image may keep.

    Of the whole image's n tokens the ⌊n/2⌋ of highest early score count; the raster is cut into as
    many runs as there are parts, from ⌊i·n/crops⌋ on, and a part's share of the budget is its run's
    share of those tokens, rounded down. No products.

    The released code cuts the raster in the same way, although parts are tiles of the image.

    Args:
        early: [B, n], what tokens of the whole image receive in an early layer.
        crops: Parts that the image is cut into besides.
        budget: Tokens of all parts together.
    """
    import torch

    batch, tokens = early.shape
    chosen = top_indices(early, tokens // 2)
    counted = early.new_zeros(batch, tokens, dtype=torch.int64).scatter(1, chosen, 1)
    ends = [(part + 1) * tokens // crops for part in range(crops)]
    sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    parts = [run.sum(dim=1) for run in torch.split(counted, sizes, dim=1)]
    return torch.stack(parts, dim=1) * budget // chosen.shape[1]


def hired(early: Tensor, late: Tensor, whole: int, count: int) -> Tensor:
    """Return which tokens of all crops stay, as indices [B, count] of crops·n, ascending.

    The whole image keeps half of the count, rounded down and at most all of its tokens, and the
    parts share what is left as `crop_shares` says, at most all tokens of each. Every crop keeps its
    tokens of highest late score. The released code loses what rounding leaves over; here, where the
    count is given, it goes to the best of the tokens that are not kept yet. A single crop keeps its
    best. Equal scores go to the lowest index. No products.

    Args:
        early: [B, n], what tokens of the whole image receive in an early layer; unused with one
            crop.
        late: [B, crops, n], what tokens receive in the last layer that is used.
        whole: Which of the crops is the whole image.
        count: Tokens to keep of all crops.

    Raises:
        InvalidInput: There are fewer than `count` tokens.
    """
    import torch

    batch, crops, tokens = late.shape
    check_count("count", count, crops * tokens)
    if crops == 1:
        return top_indices(late[:, 0], count)
    own = min(count // 2, tokens)
    shares = crop_shares(early, crops - 1, count - own)
    shares = torch.cat(
        [shares[:, :whole], shares.new_full((batch, 1), own), shares[:, whole:]], dim=1
    )
    order = late.argsort(dim=2, descending=True, stable=True)
    rank = order.argsort(dim=2)
    within = rank < shares[:, :, None]
    return top_indices(late.masked_fill(within, float("inf")).flatten(1), count)
