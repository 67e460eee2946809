"""Rules that act before the LLM: DivPrune, VisionZip, ToMe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..adapters import Pixels
from ..attention import Seen, watching
from ..prompt import Visual
from ..sequence import VISUAL, Tokens
from .base import Rule, split

if TYPE_CHECKING:
    from torch import Tensor


class DivPrune(Rule):
    """The most diverse tokens before the LLM; they are renumbered, as others never existed."""

    renumbers = True

    def compress(self, tokens: Tokens, count: int) -> Tokens:
        """Keep by greedy max–min distance."""
        from ..reducers.divprune import divprune

        return tokens.keep(divprune(tokens.states_of(VISUAL), count))


class VisionZip(Rule):
    """The encoder's dominant tokens, and contextual ones that the others are merged into."""

    renumbers = True
    ranks_in_encoder = True

    def before_connector(self, pixels: Pixels, run: Callable[[], Tensor], count: int) -> Visual:
        """Zip each crop's tokens, the class token among them."""
        with watching(self.adapter.ranking_attention) as seen:
            states = run()
        (zipped,) = self._zip(pixels, [states], seen, count // pixels.crop_count)
        tokens = self.adapter.connect(zipped.tokens)
        joined = tokens.reshape(pixels.batch, -1, tokens.shape[-1])
        sizes = [len(crops) * tokens.shape[1] for crops in pixels.crops]
        return Visual(split(joined, sizes), sizes)

    def after_connector(
        self, pixels: Pixels, run: Callable[[], list[Tensor]], count: int
    ) -> Visual:
        """Zip what the connector made of each crop, where it needs the grid of patches."""
        import torch

        with watching(self.adapter.ranking_attention) as seen:
            features = run()
        tokens, sources = [], []
        zipped = self._zip(pixels, features, seen, count // pixels.crop_count)
        for one, crops, feature in zip(zipped, pixels.crops, features, strict=True):
            # Crops were the leading axis; they follow one another in the image's tokens.
            shape = (pixels.batch, len(crops), -1)
            per_crop = feature.shape[1] // len(crops)
            index = torch.cat([one.dominant, one.targets], dim=1).reshape(shape)
            first = per_crop * torch.arange(len(crops), device=index.device)
            sources.append((index + first[:, None]).flatten(1))
            tokens.append(one.tokens.reshape(pixels.batch, -1, feature.shape[-1]))
        return Visual(tokens, [feature.shape[1] for feature in features], sources)

    def _zip(
        self, pixels: Pixels, states: list[Tensor], seen: Sequence[Seen], per_crop: int
    ) -> list[Any]:
        from ...costmodel.selection import contextual_tokens
        from ..reducers.visionzip import class_token_scores, received_scores, visionzip

        adapter = self.adapter

        def score(call: Seen) -> Tensor:
            if adapter.has_class_token:
                return class_token_scores(call.query[:, :, :1], call.key, call.scaling)
            return received_scores(call.query, call.key, call.scaling)

        contextual = contextual_tokens(per_crop)
        selectable = adapter.has_class_token and not adapter.connector_joins_neighbours
        return [
            visionzip(*ranking, per_crop - contextual, contextual, class_token=selectable)
            for ranking in adapter.rankings(pixels, states, seen, score)
        ]


class ToMe(Rule):
    """Similar tokens merge in every encoder block; attention is proportional to their sizes."""

    def in_encoder(
        self, seen: Seen, states: Tensor, sizes: Tensor, merged: int
    ) -> tuple[Tensor, Tensor]:
        """Match by the keys of the block's attention."""
        from ..reducers.tome import tome

        metric = seen.key.mean(dim=1)
        return tome(states, sizes, metric, merged, self.adapter.has_class_token)
