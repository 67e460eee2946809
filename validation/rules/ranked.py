"""Rules that rank tokens inside the LLM, described by their methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ...costmodel import InvalidInput
from ..adapters import Pixels
from ..projections import heads, rotated
from ..prompt import Visual
from ..sequence import TEXT, VISUAL, Merged, Tokens
from .base import Rule, Stage, without_class_token
from .decoder import SparseVLM, _rows_at
from .ranked_crops import CropRule

if TYPE_CHECKING:
    from torch import Tensor


class Rows(NamedTuple):
    """What rows of attention of some tokens are made of, in the layer before a stage."""

    query: Tensor
    key: Tensor
    scaling: float
    mask: Tensor | None
    softcap: float | None


class SparseVLM1(SparseVLM):
    """SparseVLM 1.0: the rank of the raters' rows says how many tokens stay.

    Here the plan says it; the rank is computed all the same.
    """

    def stage(self, at: Stage) -> Tokens:
        """Keep by the raters' attention in the layer before, and recycle."""
        from ...costmodel.selection import recycling
        from ..reducers.common import top_indices
        from ..reducers.sparsevlm import recycle
        from ..reducers.sparsevlm_versions import mean_over_raters, rank, relation

        amounts = recycling(at.tokens.visual, at.left)
        rows = _rows_of_text(at)
        places = at.tokens.places(VISUAL)
        seen = relation(*rows[:3], self.raters, places, *rows[3:])
        # Of rank 0 are rows that see nothing, whose scores are 0 anyway: the rank changes none.
        scores = mean_over_raters(seen, self.raters) * (rank(seen) > 0)[:, None]
        kept = top_indices(scores, amounts.kept)
        states = at.tokens.states_of(VISUAL)
        merged = recycle(states, scores, kept, amounts.recycled, amounts.clusters)
        return _with_merged(at.tokens, kept, merged)


class SparseVLM2(SparseVLM):
    """SparseVLM 2.0: the heads that see most, without position bias; nothing is recycled."""

    renumbers = False

    def stage(self, at: Stage) -> Tokens:
        """Keep by the raters' corrected attention in the layer before."""
        from ..reducers.common import top_indices
        from ..reducers.sparsevlm_versions import position_bias, priority_scores

        rows, places = _rows_of_text(at), at.tokens.places(VISUAL)
        bias = position_bias(
            _rotated_ones(self, at, at.tokens.places(TEXT)), _rotated_ones(self, at, places)
        )
        scores = priority_scores(*rows[:3], self.raters, places, bias, *rows[3:])
        return at.tokens.keep(top_indices(scores, at.left))


class Pact(Rule):
    """PACT: the coming layer's queries and keys, and clusters in their centres' places.

    The mean query is that of the visual tokens. Clusters are not weighed by their sizes in later
    attention, which would add their logarithms to its logits.
    """

    ranks_in_sequence = True

    def stage(self, at: Stage) -> Tokens:
        """Drop by the mean query, and cluster what is left by its keys."""
        from ..reducers.pact import cluster, importance

        attention = at.layer[1].self_attn
        if hasattr(attention, "q_norm"):
            raise InvalidInput(
                "selection",
                "EUTI and DBDPC",
                "averages queries, each of which "
                f"{self.adapter.model.config.model_type} divides by its own norm",
                "choose another rule, or leave it out",
            )
        states = at.tokens.states_of(VISUAL)
        normed = at.layer[1].input_layernorm(states)
        # The mean of projections is the projection of the mean.
        query = heads(normed.mean(dim=1, keepdim=True), attention, "q")
        key = heads(normed, attention, "k")
        scores = importance(query, key, float(attention.scaling), states)
        places = at.tokens.places(VISUAL)
        turned = rotated(attention, key, *_tables_at(self, at, at.layer[0], places))
        made = cluster(states, scores, turned.transpose(1, 2).flatten(2), at.left)
        left = at.tokens.keep(made.centres)
        return left.with_states_at(left.places(VISUAL), made.states)


class Coast(Rule):
    """COAST: the text's rows in the layer before; position ids stay."""

    rates_by_text = True
    watches_layer_before = True
    ranks_in_sequence = True

    def stage(self, at: Stage) -> Tokens:
        """Keep anchors, tokens like them and some unlike them."""
        from ..reducers.coast import coast, text_attention

        rows = _rows_of_text(at)
        largest, last = text_attention(*rows[:3], at.tokens.places(VISUAL), *rows[3:])
        return at.tokens.keep(coast(at.tokens.states_of(VISUAL), largest, last, at.left))


class Aim(Rule):
    """AIM: neighbours merge before the LLM, PageRank in the layer before a stage ranks the rest.

    An image's tokens are cut into as many equal runs as it has crops or frames; what is left over
    at its end, such as newlines, is kept as it is or dropped. Position ids stay inside the LLM.
    """

    watches_layer_before = True
    ranks_in_encoder = True
    ranks_in_sequence = True

    def after_connector(
        self, pixels: Pixels, run: Callable[[], list[Tensor]], count: int
    ) -> Visual:
        """Merge inside frames."""
        import torch

        from ..reducers.aim import merge_neighbours

        features, total = run(), pixels.crop_count
        left, spare = divmod(count, total)
        width = self.adapter.decoder.config.hidden_size
        tokens, sources, lengths = [], [], set()
        for crops, feature in zip(pixels.crops, features, strict=True):
            frames, (batch, dense, _) = len(crops), feature.shape
            length = dense // frames
            lengths.add(length)
            whole = frames * length
            made = merge_neighbours(
                feature[:, :whole].reshape(batch * frames, length, -1), left, width
            )
            first = length * torch.arange(frames, device=feature.device)[:, None]
            kept = min(spare, dense - whole)
            spare -= kept
            rest = torch.arange(whole, whole + kept, device=feature.device).expand(batch, -1)
            places = (made.places.reshape(batch, frames, left) + first).flatten(1)
            merged = made.states.reshape(batch, frames * left, -1)
            tokens.append(torch.cat([merged, feature[:, whole : whole + kept]], dim=1))
            sources.append(torch.cat([places, rest], dim=1))
        if spare or len(lengths) > 1:
            raise InvalidInput(
                "reduction.compressed",
                count,
                f"cannot be shared equally among {total} crops",
                f"give a multiple of {total}, and images of one size",
            )
        return Visual(tokens, [one.shape[1] for one in features], sources, in_place=True)

    def stage(self, at: Stage) -> Tokens:
        """Keep where the walk ends."""
        from ..masks import causal
        from ..reducers.aim import page_rank
        from ..reducers.common import top_indices

        seen = at.seen
        assert seen is not None
        mask = seen.mask
        if mask is None:
            mask = causal(at.tokens.length).matrix(seen.key.device)
        places = at.tokens.places(VISUAL)
        scores = page_rank(seen.query, seen.key, seen.scaling, places, mask, seen.softcap)
        return at.tokens.keep(top_indices(scores, at.left))


class LearnPruner(CropRule):
    """LearnPruner: a scorer in front of the connector, the text's rows in the layer before.

    It scores the patches of all crops of one image; its weights are random here.
    """

    rates_by_text = True
    watches_layer_before = True
    ranks_in_sequence = True

    def after_connector(
        self, pixels: Pixels, run: Callable[[], list[Tensor]], count: int
    ) -> Visual:
        """Choose patches, and take what the connector made of the chosen."""
        from ..reducers.common import take
        from ..reducers.learnpruner import diverse_choice, random_scorer, scores

        if not self.one_by_one:
            raise self.adapter.unable("score patches in front of the connector")
        self.one_image(pixels)
        states = without_class_token(self.adapter, self.adapter.tower_states(pixels))
        features = states.reshape(pixels.batch, -1, states.shape[-1])
        kept = diverse_choice(features, scores(features, random_scorer(features)), count)
        tokens = self.adapter.connect(states).reshape(*features.shape[:2], -1)
        return Visual([take(tokens, kept)], [count])

    def stage(self, at: Stage) -> Tokens:
        """Keep what the text attends to most."""
        from ..reducers.common import top_indices
        from ..reducers.learnpruner import text_scores

        rows = _rows_of_text(at)
        seen = text_scores(*rows[:3], at.tokens.places(VISUAL), *rows[3:])
        return at.tokens.keep(top_indices(seen, at.left))


def _rows_of_text(at: Stage) -> Rows:
    """Return what the rows of the text tokens in the layer before are made of."""
    seen = at.seen
    assert seen is not None
    text = at.tokens.places(TEXT)
    width, heads = seen.query.shape[-1], seen.query.shape[1]
    query = seen.query.gather(2, text[:, None, :, None].expand(-1, heads, -1, width))
    mask = _rows_at(text, seen.mask, seen.key.shape[2])
    return Rows(query, seen.key, seen.scaling, mask, seen.softcap)


def _rotated_ones(rule: Rule, at: Stage, places: Tensor) -> Tensor:
    """Return ones rotated to the places [B, k] of some tokens in the layer before, [B, k, d_h]."""
    index, layer = at.layer
    assert at.seen is not None
    ones = at.seen.key.new_ones(len(places), 1, places.shape[1], at.seen.key.shape[-1])
    return rotated(layer.self_attn, ones, *_tables_at(rule, at, index - 1, places))[:, 0]


def _tables_at(rule: Rule, at: Stage, layer: int, places: Tensor) -> tuple[Tensor, Tensor]:
    """Return a layer's rotary tables of the tokens at some places [B, k]."""
    adapter, positions = rule.adapter, at.tokens.positions
    there = positions.gather(-1, places.expand(*positions.shape[:-1], -1))
    return adapter.tables(at.tokens.states, there, adapter.layer_kinds[layer])


def _with_merged(tokens: Tokens, kept: Tensor, merged: Tensor) -> Tokens:
    """Return the kept tokens and merged ones [B, c, d] that take the last one's position id."""
    last = tokens.keep(kept)
    place = last.places(VISUAL)[:, -1:].expand(*last.positions.shape[:-1], -1)
    positions = last.positions.gather(-1, place).expand(*place.shape[:-1], merged.shape[1])
    return tokens.keep(kept, Merged(merged, positions))


#: The rules of this module, by the name under which methods describe them.
RULES: dict[str, type[Rule]] = {
    "text raters, rank and clusters": SparseVLM1,
    "text raters in fourteen heads": SparseVLM2,
    "EUTI and DBDPC": Pact,
    "COAST": Coast,
    "bipartite merging and PageRank": Aim,
    "LearnPruner": LearnPruner,
}
