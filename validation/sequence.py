"""The LLM's sequence while it shrinks: states, position ids and what each token is.

All requests of a batch have the same layout and lose equally many tokens, but not the same ones.
Nothing here reads a value back to the host, so that shapes alone suffice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

TEXT, STRUCTURAL, VISUAL = 0, 1, 2


class Tokens(NamedTuple):
    """Tokens in order.

    Attributes:
        states: [B, n, hidden_size].
        positions: Position ids, [B, n] or [3, B, n].
        kinds: TEXT, STRUCTURAL or VISUAL, [B, n].
        origin: Place of each token in the sequence that entered layer 0, [B, n]; −1 for a token
            that was made by merging.
        visual, text: How many tokens of these kinds there are.
    """

    states: Tensor
    positions: Tensor
    kinds: Tensor
    origin: Tensor
    visual: int
    text: int

    @property
    def length(self) -> int:
        """Tokens of each request."""
        return int(self.states.shape[1])

    def places(self, kind: int) -> Tensor:
        """Return where the tokens of a kind stand, in order: [B, count]."""
        return _places(self.kinds == kind, self.visual if kind == VISUAL else self.text)

    def states_of(self, kind: int) -> Tensor:
        """Return the states of one kind, in order: [B, count, hidden_size]."""
        return _gather(self.states, self.places(kind))

    def keep(self, kept: Tensor | None, merged: Merged | None = None) -> Tokens:
        """Return the sequence with some of its visual tokens, and new ones after the last of them.

        Args:
            kept: Which visual tokens stay, [B, k], as numbers 0 to visual − 1; None for none.
            merged: Tokens made from dropped ones.
        """
        import torch

        stays = self.kinds != VISUAL
        left = 0 if kept is None else int(kept.shape[1])
        if kept is not None:
            chosen = _gather(self.places(VISUAL), kept)
            # A tensor of ones, because tracing knows no scatter of a boolean number.
            stays = stays.scatter(1, chosen, torch.ones_like(chosen, dtype=torch.bool))
        sequence = self._at(_places(stays, self.length - self.visual + left))._replace(visual=left)
        if merged is None:
            return sequence
        added = int(merged.states.shape[1])
        batch = sequence.states.shape[0]
        # In steps of two, so that there is a number between any two places.
        order = 2 * torch.arange(sequence.length, device=sequence.states.device)
        behind = 2 * sequence.places(VISUAL)[:, -1:] + 1
        order = torch.cat([order.expand(batch, -1), behind.expand(-1, added)], dim=1)
        # Positions may have a leading axis of time, row and column: the last axis is the tokens'.
        joined = Tokens(
            torch.cat([sequence.states, merged.states], dim=1),
            torch.cat([sequence.positions, merged.positions], dim=-1),
            torch.cat([sequence.kinds, torch.full_like(behind, VISUAL).expand(-1, added)], dim=1),
            torch.cat([sequence.origin, torch.full_like(behind, -1).expand(-1, added)], dim=1),
            left + added,
            self.text,
        )
        return joined._at(torch.argsort(order, dim=1, stable=True))

    def renumbered(self) -> Tokens:
        """Return the sequence with position ids 0 to n − 1."""
        import torch

        ids = torch.arange(self.length, device=self.positions.device)
        return self._replace(positions=ids.expand_as(self.positions))

    def _at(self, index: Tensor) -> Tokens:
        return self._replace(
            states=_gather(self.states, index),
            positions=self.positions.gather(-1, index.expand(*self.positions.shape[:-1], -1)),
            kinds=self.kinds.gather(1, index),
            origin=self.origin.gather(1, index),
        )


class Merged(NamedTuple):
    """Tokens made by merging: states [B, c, hidden_size] and position ids [(3,) B, c]."""

    states: Tensor
    positions: Tensor


def _places(mask: Tensor, count: int) -> Tensor:
    """Return the places of `count` true values per row in order; the count is the caller's."""
    import torch

    return torch.argsort(mask.to(torch.int8), dim=1, descending=True, stable=True)[:, :count]


def _gather(rows: Tensor, index: Tensor) -> Tensor:
    if rows.dim() == 2:
        return rows.gather(1, index)
    return rows.gather(1, index[..., None].expand(-1, -1, rows.shape[-1]))
