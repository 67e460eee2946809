"""Rules that choose tokens unlike one another, before the LLM or in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...costmodel import InvalidInput
from ..adapters import Pixels
from ..attention import Seen, watching
from ..prompt import Visual
from ..sequence import TEXT, VISUAL, Tokens
from .base import Rule, Stage, split, without_class_token
from .similarity_graph import GPrune

if TYPE_CHECKING:
    from torch import Tensor


class Dart(Rule):
    """Pivots by the keys of the layer before, and tokens unlike them; position ids stay."""

    watches_layer_before = True
    ranks_in_sequence = True

    def stage(self, at: Stage) -> Tokens:
        """Compare the states behind the final norm, as the released code does."""
        from ..reducers.dart import dart, key_lengths

        assert at.seen is not None
        normed = at.tokens._replace(states=self.adapter.decoder.norm(at.tokens.states))
        lengths = key_lengths(at.seen.key)
        visual, text = at.tokens.places(VISUAL), at.tokens.places(TEXT)
        # Text before the images is a pivot only where there is not enough behind them.
        behind = text > visual[:, -1:]
        kept = dart(
            normed.states_of(VISUAL),
            normed.states_of(TEXT),
            lengths.gather(1, visual),
            lengths.gather(1, text).masked_fill(~behind, -float("inf")),
            at.left,
        )
        return at.tokens.keep(kept)


class Scope(Rule):
    """Coverage in each crop, weighed by the class token's attention, or by that received."""

    renumbers = True
    ranks_in_encoder = True

    def before_connector(self, pixels: Pixels, run: Callable[[], Tensor], count: int) -> Visual:
        """Choose among each crop's patches, by the encoder's features."""
        from ..reducers.common import take

        with watching(self.adapter.ranking_attention) as seen:
            states = run()
        ((patches, kept),) = self._choose(pixels, [states], seen, count // pixels.crop_count)
        tokens = self.adapter.connect(take(patches, kept))
        joined = tokens.reshape(pixels.batch, -1, tokens.shape[-1])
        sizes = [len(crops) * tokens.shape[1] for crops in pixels.crops]
        return Visual(split(joined, sizes), sizes)

    def after_connector(
        self, pixels: Pixels, run: Callable[[], list[Tensor]], count: int
    ) -> Visual:
        """Choose among what the connector made of each crop, by its own features."""
        import torch

        with watching(self.adapter.ranking_attention) as seen:
            features = run()
        tokens, sources = [], []
        chosen = self._choose(pixels, features, seen, count // pixels.crop_count)
        for (_, kept), crops, feature in zip(chosen, pixels.crops, features, strict=True):
            # Crops were the leading axis; they follow one another in the image's tokens.
            per_crop = feature.shape[1] // len(crops)
            first = per_crop * torch.arange(len(crops), device=kept.device)
            index = kept.reshape(pixels.batch, len(crops), -1) + first[:, None]
            sources.append(index.flatten(1))
            places = sources[-1][..., None].expand(-1, -1, feature.shape[-1])
            tokens.append(feature.gather(1, places))
        return Visual(tokens, [feature.shape[1] for feature in features], sources)

    def _choose(
        self, pixels: Pixels, states: list[Tensor], seen: Sequence[Seen], per_crop: int
    ) -> list[tuple[Tensor, Tensor]]:
        """Return, per tensor of `states`, the candidates of each crop and which of them stay."""
        from ..reducers.scope import scope
        from ..reducers.visionzip import class_token_scores, received_scores

        adapter = self.adapter
        if len({grid for crops in pixels.crops for grid in crops}) > 1:
            problem = "differ in size, while the closed form of this rule takes equal crops"
            raise InvalidInput("images", None, problem, "give images of one size")

        def score(call: Seen) -> Tensor:
            if adapter.has_class_token:
                return class_token_scores(call.query[:, :, :1], call.key, call.scaling)
            return received_scores(call.query, call.key, call.scaling)

        chosen = []
        for ranking in adapter.rankings(pixels, states, seen, score):
            candidates, scores = ranking.states, ranking.scores
            features = candidates[..., : adapter.decoder.config.hidden_size]
            if not adapter.connector_joins_neighbours:
                features = candidates = without_class_token(adapter, candidates)
                scores = scores[:, -candidates.shape[1] :]
            chosen.append((candidates, scope(features, scores, per_crop)))
        return chosen


class Lrcp(Rule):
    """What a subspace of all visual tokens explains worst; the others are merged into it."""

    renumbers = True

    def compress(self, tokens: Tokens, count: int) -> Tokens:
        """Keep by residuals, and let the kept stand for the others."""
        from ..reducers.lrcp import lrcp

        kept, merged = lrcp(tokens.states_of(VISUAL), count)
        left = tokens.keep(kept)
        if left.keys is not None:
            return left._replace(keys=left.keys._replace(states=merged))
        return left.with_states_at(left.places(VISUAL), merged)


class TokenCarve(Rule):
    """Singular values of the layer before's output and its last row; position ids stay."""

    watches_layer_before = True
    ranks_in_sequence = True

    def stage(self, at: Stage) -> Tokens:
        """Keep one and a half times as many, and merge a third of them away."""
        from ..reducers.fastv import rank
        from ..reducers.tokencarve import tokencarve

        seen = at.seen
        assert seen is not None
        mask = None if seen.mask is None else seen.mask[:, :, -1:]
        attention = rank(
            seen.query[:, :, -1:],
            seen.key,
            seen.scaling,
            at.tokens.places(VISUAL),
            mask,
            seen.softcap,
        )
        kept, made = tokencarve(at.tokens.states_of(VISUAL), attention, at.left)
        left = at.tokens.keep(kept)
        return left.with_states_at(left.places(VISUAL), made)


#: The rules of this module, by the name under which methods describe them.
RULES: dict[str, type[Rule]] = {
    "DART": Dart,
    "SCOPE": Scope,
    "G-Prune": GPrune,
    "LRCP": Lrcp,
    "information-preserving selection": TokenCarve,
}
