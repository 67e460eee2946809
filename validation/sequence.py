"""The LLM's sequence while it shrinks: states, position ids and what each token is.

All requests of a batch have the same layout and lose equally many tokens, but not the same ones.
Nothing here reads a value back to the host, so that shapes alone suffice. Where visual tokens are
keys of cross-attention, the sequence stays as it is and the keys shrink.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

TEXT, STRUCTURAL, VISUAL = 0, 1, 2


class Keys(NamedTuple):
    """Visual tokens outside the sequence, which cross-attention reads.

    Attributes:
        states: [B, M, hidden_size].
        origin: Which of the dense keys each one is, [B, M].
        visible: Whether a token of the sequence may look at it, [B, n, M].
    """

    states: Tensor
    origin: Tensor
    visible: Tensor

    def keep(self, kept: Tensor | None) -> Keys:
        """Return the keys `kept` [B, k]; None for none of them."""
        if kept is None:
            return Keys(self.states[:, :0], self.origin[:, :0], self.visible[:, :, :0])
        columns = kept[:, None].expand(-1, self.visible.shape[1], -1)
        return Keys(
            _gather(self.states, kept), _gather(self.origin, kept), self.visible.gather(2, columns)
        )


class Tokens(NamedTuple):
    """Tokens in order.

    Attributes:
        states: [B, n, hidden_size].
        positions: Position ids, [B, n] or [3, B, n].
        kinds: TEXT, STRUCTURAL or VISUAL, [B, n].
        origin: Place of each token in the sequence that entered layer 0, [B, n]; −1 for a token
            that was made by merging.
        visual, text: How many tokens of these kinds there are.
        blocks: Which run of visual tokens each token belongs to, [B, n]; −1 for the others. A
            token made by merging belongs to the run of the token before it.
        added: What is added to the states behind the first layers, [layers, B, n, hidden_size]; 0
            for other tokens, and for those made by merging inside the LLM.
        keys: Visual tokens, where they are keys of cross-attention.
    """

    states: Tensor
    positions: Tensor
    kinds: Tensor
    origin: Tensor
    visual: int
    text: int
    blocks: Tensor | None = None
    added: Tensor | None = None
    keys: Keys | None = None

    @property
    def length(self) -> int:
        """Tokens of each request."""
        return int(self.states.shape[1])

    def places(self, kind: int) -> Tensor:
        """Return where the tokens of a kind stand, in order: [B, count]."""
        return _places(self.kinds == kind, self.visual if kind == VISUAL else self.text)

    def states_of(self, kind: int) -> Tensor:
        """Return the states of one kind, in order: [B, count, hidden_size]."""
        if kind == VISUAL and self.keys is not None:
            return self.keys.states
        return _gather(self.states, self.places(kind))

    def keep(self, kept: Tensor | None, merged: Merged | None = None) -> Tokens:
        """Return the sequence with some of its visual tokens, and new ones after the last of them.

        Args:
            kept: Which visual tokens stay, [B, k], as numbers 0 to visual − 1; None for none.
            merged: Tokens made from dropped ones.
        """
        left = 0 if kept is None else int(kept.shape[1])
        if self.keys is not None:
            return self._replace(keys=self.keys.keep(kept), visual=left)
        sequence, _ = self.part(kept)
        if merged is None:
            return sequence
        return sequence.with_behind(merged)

    def part(self, kept: Tensor | None) -> tuple[Tokens, Tensor]:
        """Return the sequence with some of its visual tokens, and where it stands in this one.

        Args:
            kept: Which visual tokens are part of it, [B, k], as numbers 0 to visual − 1.
        """
        import torch

        left = 0 if kept is None else int(kept.shape[1])
        stays = self.kinds != VISUAL
        if kept is not None:
            chosen = _gather(self.places(VISUAL), kept)
            # A tensor of ones, because tracing knows no scatter of a boolean number.
            stays = stays.scatter(1, chosen, torch.ones_like(chosen, dtype=torch.bool))
        index = _places(stays, self.length - self.visual + left)
        return self._at(index)._replace(visual=left), index

    def at(self, index: Tensor, visual: int) -> Tokens:
        """Return the tokens at places [B, k], in their order, `visual` of which are visual."""
        return self._at(index)._replace(visual=visual)

    def with_states_at(self, index: Tensor, states: Tensor) -> Tokens:
        """Return the sequence with states [B, k, d] at places [B, k]."""
        rows = index[..., None].expand_as(states)
        return self._replace(states=self.states.scatter(1, rows, states))

    def with_behind(self, merged: Merged) -> Tokens:
        """Return the sequence with new visual tokens behind its last one."""
        import torch

        count, batch = int(merged.states.shape[1]), self.states.shape[0]
        # In steps of two, so that there is a number between any two places.
        order = 2 * torch.arange(self.length, device=self.states.device)
        last = self.places(VISUAL)[:, -1:]
        behind = 2 * last + 1
        order = torch.cat([order.expand(batch, -1), behind.expand(-1, count)], dim=1)

        def with_rows(rows: Tensor, value: int | Tensor) -> Tensor:
            if isinstance(value, int):
                value = torch.full_like(behind, value)
            return torch.cat([rows, value.expand(-1, count)], dim=1)

        blocks, added = self.blocks, self.added
        if added is not None:
            none = added.new_zeros(*added.shape[:2], count, added.shape[3])
            added = torch.cat([added, none], dim=2)
        joined = Tokens(
            torch.cat([self.states, merged.states], dim=1),
            # Positions may have a leading axis of time, row and column: the last is the tokens'.
            torch.cat([self.positions, merged.positions], dim=-1),
            with_rows(self.kinds, VISUAL),
            with_rows(self.origin, -1),
            self.visual + count,
            self.text,
            None if blocks is None else with_rows(blocks, blocks.gather(1, last)),
            added,
        )
        return joined._at(torch.argsort(order, dim=1, stable=True))

    def with_added(self, layer: int) -> Tokens:
        """Return the sequence behind a layer, with what is added to its states there."""
        if self.added is None or layer >= len(self.added):
            return self
        return self._replace(states=self.states + self.added[layer])

    def renumbered(self, first: int = 0) -> Tokens:
        """Return the sequence with position ids `first` to first + n − 1."""
        import torch

        ids = torch.arange(first, first + self.length, device=self.positions.device)
        return self._replace(positions=ids.expand_as(self.positions))

    def _at(self, index: Tensor) -> Tokens:
        return self._replace(
            states=_gather(self.states, index),
            positions=self.positions.gather(-1, index.expand(*self.positions.shape[:-1], -1)),
            kinds=self.kinds.gather(1, index),
            origin=self.origin.gather(1, index),
            blocks=None if self.blocks is None else self.blocks.gather(1, index),
            added=None if self.added is None else _gather_each(self.added, index),
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


def _gather_each(rows: Tensor, index: Tensor) -> Tensor:
    """Gather from every layer of rows [layers, B, n, d]."""
    return rows.gather(2, index[None, ..., None].expand(len(rows), -1, -1, rows.shape[-1]))
