"""Which tokens a token may look at, and the masks that attention is handed for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor, device, dtype

#: Kinds of decoder layers, as transformers' configs call them.
FULL, SLIDING = "full_attention", "sliding_attention"


class Visible(NamedTuple):
    """What the tokens of a sequence may look at.

    Attributes:
        length: Tokens n.
        window: Tokens that each reaches back, itself included; None for all.
        blocks: Which block each token belongs to, [B, n]; −1 for none. Inside a block tokens look
            at later ones too. None where all attention is causal.
        through_window: Whether blocks open the window.
    """

    length: int
    window: int | None = None
    blocks: Tensor | None = None
    through_window: bool = False

    def matrix(self, on: device) -> Tensor:
        """Return where row i may look at column j, bool [B or 1, 1, n, n].

        j ≤ i, or both in one block; i − j < window.
        """
        import torch

        place = torch.arange(self.length, device=on)
        rows, columns = place[:, None], place[None, :]
        seen = (columns <= rows)[None, None]
        within = None if self.window is None else (rows - columns < self.window)[None, None]
        if within is not None and self.through_window:
            seen = seen & within
        if self.blocks is not None:
            row, column = self.blocks[:, None, :, None], self.blocks[:, None, None, :]
            seen = seen | ((row == column) & (row >= 0))
        if within is not None and not self.through_window:
            seen = seen & within
        return seen


def causal(length: int) -> Visible:
    """Return plain causal attention: j ≤ i."""
    return Visible(length)


def mask_of(visible: Visible, attention: Literal["eager", "sdpa"], like: Tensor) -> Tensor | None:
    """Return the mask that an implementation of attention takes.

    Fused attention masks what is causal by itself when it gets none, also under a window that
    reaches back over the whole sequence.

    Args:
        visible: What may be looked at.
        attention: "eager" adds its mask, "sdpa" takes a boolean one.
        like: The states, for number format and device.
    """
    within = visible.window is None or visible.length < visible.window
    if attention == "sdpa" and visible.blocks is None and within:
        return None
    seen = visible.matrix(like.device)
    return seen if attention == "sdpa" else additive(seen, like.dtype)


def decoding_mask(
    window: int | None, keys: int, attention: Literal["eager", "sdpa"], like: Tensor
) -> Tensor | None:
    """Return the mask of one new token, to which a cache holds nothing that it may not see.

    As transformers does, fused attention is handed one that hides nothing under a window that is
    full, for it then runs another kernel.
    """
    if attention == "eager" or window is None or keys < window:
        return None
    import torch

    return torch.ones((1, 1, 1, keys), dtype=torch.bool, device=like.device)


def additive(seen: Tensor, number_format: dtype) -> Tensor:
    """Return 0 where a boolean mask is true, and the lowest number elsewhere."""
    import torch

    lowest = torch.finfo(number_format).min
    hidden = torch.zeros(seen.shape, dtype=number_format, device=seen.device)
    return hidden.masked_fill(~seen, lowest)
