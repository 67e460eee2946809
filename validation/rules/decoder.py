"""Rules that act inside the LLM: FastV, PyramidDrop, SparseVLM."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..sequence import TEXT, VISUAL, Merged, Tokens
from .base import Rule, Stage

if TYPE_CHECKING:
    from torch import Tensor


class FastV(Rule):
    """The last token's attention in the layer before; position ids stay."""

    watches_layer_before = True

    def stage(self, at: Stage) -> Tokens:
        """Keep what the last token attends to most."""
        from ..reducers.fastv import fastv

        assert at.seen is not None
        query = at.seen.query[:, :, -1:]
        places = at.tokens.places(VISUAL)
        return at.tokens.keep(fastv(query, at.seen.key, at.seen.scaling, places, at.left))


class PyramidDrop(Rule):
    """The last token's attention in the coming layer; survivors are renumbered."""

    renumbers = True

    def stage(self, at: Stage) -> Tokens:
        """Project one query and all keys as the coming layer would, and keep the best."""
        from ..reducers.pyramiddrop import pyramiddrop

        attention = at.layer[1].self_attn
        normed = at.layer[1].input_layernorm(at.tokens.states)
        cosine, sine = at.tables
        query = _heads(normed[:, -1:], attention.q_proj, attention.head_dim)
        query = _rotated(attention, query, cosine[..., -1:, :], sine[..., -1:, :])
        key = _rotated(attention, _heads(normed, attention.k_proj, attention.head_dim), *at.tables)
        places = at.tokens.places(VISUAL)
        kept = pyramiddrop(query, key, float(attention.scaling), places, at.left)
        return at.tokens.keep(kept)


class SparseVLM(Rule):
    """Text tokens rate; the best of the dropped are clustered and come behind the survivors."""

    watches_layer_before = True
    renumbers = True

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
            mask=_not_later(text, key.shape[2]),
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


def _heads(states: Tensor, projection: Any, head_dim: int) -> Tensor:
    """Project states to heads, [B, n, d] → [B, h, n, d_h].

    The weights are used without calling their module, so that no counter books it there.
    """
    from torch.nn.functional import linear

    projected = linear(states, projection.weight, projection.bias)
    return projected.view(*states.shape[:-1], -1, head_dim).transpose(1, 2)


def _rotated(attention: Any, heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Apply rotary tables with the family's own function."""
    family = sys.modules[type(attention).__module__]
    rotated: Tensor
    if hasattr(family, "apply_multimodal_rotary_pos_emb"):  # Qwen-VL before transformers 5.23
        sections = attention.config.rope_parameters["mrope_section"]
        rotated, _ = family.apply_multimodal_rotary_pos_emb(heads, heads, cosine, sine, sections)
    else:
        rotated, _ = family.apply_rotary_pos_emb(heads, heads, cosine, sine)
    return rotated


def _not_later(rows: Tensor, keys: int) -> Tensor:
    """Return where a token at place rows [B, r] may look: [B, 1, r, keys]."""
    import torch

    columns = torch.arange(keys, device=rows.device)
    return columns <= rows[:, None, :, None]
