"""Rules that act inside the LLM: FastV, PyramidDrop, SparseVLM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..projections import heads as _heads
from ..projections import rotated as _rotated
from ..sequence import TEXT, VISUAL, Merged, Tokens
from .base import Rule, Stage

if TYPE_CHECKING:
    from torch import Tensor


class FastV(Rule):
    """The last token's attention in the layer before; position ids stay."""

    watches_layer_before = True
    ranks_in_sequence = True

    def stage(self, at: Stage) -> Tokens:
        """Keep what the last token attends to most."""
        from ..reducers.fastv import fastv

        seen = at.seen
        assert seen is not None
        places = at.tokens.places(VISUAL)
        kept = fastv(
            seen.query[:, :, -1:],
            seen.key,
            seen.scaling,
            places,
            at.left,
            _last_row(seen.mask),
            seen.softcap,
        )
        return at.tokens.keep(kept)


class PyramidDrop(Rule):
    """The last token's attention in the coming layer; survivors are renumbered."""

    renumbers = True
    ranks_in_sequence = True

    def stage(self, at: Stage) -> Tokens:
        """Project one query and all keys as the coming layer would, and keep the best."""
        from ..reducers.pyramiddrop import pyramiddrop

        attention = at.layer[1].self_attn
        normed = at.layer[1].input_layernorm(at.tokens.states)
        cosine, sine = at.tables
        last = (cosine[..., -1:, :], sine[..., -1:, :])
        kept = pyramiddrop(
            _rotated(attention, _heads(normed[:, -1:], attention, "q"), *last),
            _rotated(attention, _heads(normed, attention, "k"), *at.tables),
            float(attention.scaling),
            at.tokens.places(VISUAL),
            at.left,
            _last_row(at.mask),
            getattr(attention, "attn_logit_softcapping", None),
        )
        return at.tokens.keep(kept)


class SparseVLM(Rule):
    """Text tokens rate; the best of the dropped are clustered and come behind the survivors."""

    rates_by_text = True
    watches_layer_before = True
    renumbers = True
    ranks_in_sequence = True

    def begin(self, tokens: Tokens) -> None:
        """Choose the raters among all text tokens.

        Text before the images sees none of them: among the raters, those behind count; if there
        are none, all text behind; if there is none of that, the raters as they are.
        """
        from ..reducers.sparsevlm import raters

        chosen = raters(tokens.states_of(VISUAL), tokens.states_of(TEXT))
        behind = tokens.places(TEXT) > tokens.places(VISUAL)[:, -1:]
        self.raters = _first_of(chosen & behind, behind, chosen)

    def stage(self, at: Stage) -> Tokens:
        """Keep by the raters' attention in the layer before, and recycle."""
        from ...costmodel.selection import recycling
        from ..reducers.common import top_indices
        from ..reducers.sparsevlm import rater_scores, recycle

        assert at.seen is not None
        amounts = recycling(at.tokens.visual, at.left)
        text, places = at.tokens.places(TEXT), at.tokens.places(VISUAL)
        query, key = at.seen.query, at.seen.key
        rows = text[:, None, :, None].expand(-1, query.shape[1], -1, query.shape[-1])
        scores = rater_scores(
            query.gather(2, rows),
            key,
            at.seen.scaling,
            self.raters,
            places,
            mask=_rows_at(text, at.seen.mask, key.shape[2]),
            softcap=at.seen.softcap,
        )
        kept = top_indices(scores, amounts.kept)
        states = at.tokens.states_of(VISUAL)
        merged = recycle(states, scores, kept, amounts.recycled, amounts.clusters)
        # A new token stands behind the last survivor and takes its position id.
        last = at.tokens.keep(kept)
        place = last.places(VISUAL)[:, -1:].expand(*last.positions.shape[:-1], -1)
        positions = last.positions.gather(-1, place).expand(
            *last.positions.shape[:-1], amounts.clusters
        )
        return at.tokens.keep(kept, Merged(merged, positions))


def _first_of(*masks: Tensor) -> Tensor:
    """Return, per request, the first of some masks [B, n] that marks anything, or the last."""
    import torch

    *preferred, left = masks
    for mask in reversed(preferred):
        left = torch.where(mask.any(dim=1, keepdim=True), mask, left)
    return left


def _last_row(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask[:, :, -1:]


def _rows_at(rows: Tensor, mask: Tensor | None, keys: int) -> Tensor:
    """Return the rows at places [B, r] of a mask, or of the causal one: [B, 1, r, keys]."""
    import torch

    if mask is None:
        columns = torch.arange(keys, device=rows.device)
        return columns <= rows[:, None, :, None]
    whole = mask.expand(len(rows), -1, -1, -1)
    return whole.gather(2, rows[:, None, :, None].expand(-1, 1, -1, keys))
