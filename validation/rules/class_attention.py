"""Rules that rank by what the encoder's class token, or its other tokens, attend to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...costmodel import InvalidInput
from ..adapters import Pixels
from ..attention import Seen
from ..prompt import Visual
from ..sequence import Tokens
from .base import Rule, Stage
from .decoder import PyramidDrop
from .first_layer import Hawk
from .ranked_crops import Candidates, CropRule, EqualShare, attention_of
from .shared_budget import HiRED, HoloV

if TYPE_CHECKING:
    from torch import Tensor


class RandomDrop(Rule):
    """Tokens drawn at random before the LLM, the same in every run; each request draws its own."""

    def compress(self, tokens: Tokens, count: int) -> Tokens:
        """Keep the tokens that draw the highest numbers."""
        import torch

        from ..reducers.common import top_indices

        generator = torch.Generator().manual_seed(0)
        drawn = torch.rand(len(tokens.states), tokens.visual, generator=generator)
        return tokens.keep(top_indices(drawn, count).to(tokens.states.device))


class FasterVLM(EqualShare):
    """Each crop's tokens of most class-token attention in the last layer that is used."""

    takes_equal_crops = False

    def choose(self, image: Candidates, count: int) -> Tensor:
        """Keep by score."""
        from ..reducers.common import top_indices

        return top_indices(image.scores[0], count)


class VisPruner(EqualShare):
    """Half of each crop's tokens, rounded down, by attention; half by variety."""

    def choose(self, image: Candidates, count: int) -> Tensor:
        """Keep by score, and drop what is alike in front of the connector."""
        from ..reducers.vispruner import vispruner

        features = image.features if self.one_by_one else self.compared(image.features)
        return vispruner(features, image.scores[0], count, important=count // 2)


class VScan(EqualShare):
    """A shallow and a deep layer choose in each crop, the rest is merged; then a row in the LLM."""

    renumbers = True
    ranks_in_sequence = True
    takes_equal_crops = False

    def watched(self) -> Sequence[Any]:
        """Return the last layer that is used, and one of the shallow ones.

        That is the first with attention over the whole image where others attend in windows, else
        the one after a quarter of those that are used: 5 of CLIP's 23.
        """
        adapter = self.adapter
        layers = adapter.encoder_layers
        whole = getattr(adapter.tower, "fullatt_block_indexes", None)
        attentions = [attention_of(layer) for layer in layers]
        used = attentions.index(adapter.ranking_attention) + 1
        return adapter.ranking_attention, attentions[min(whole) if whole else used // 4]

    def choose(self, image: Candidates, count: int) -> Tensor:
        """Scan locally by the shallow layer and globally by the deep one."""
        from ..reducers.vscan import vscan

        deep, shallow = image.scores
        return vscan(deep, shallow, image.grids[0], count)

    def made(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """Merge the tokens that are not kept into those that are."""
        from ..reducers.vscan import merge_rest

        return merge_rest(tokens, kept, self.compared(tokens))

    def stage(self, at: Stage) -> Tokens:
        """Keep what the last token attends to most in the coming layer."""
        return PyramidDrop(self.adapter).stage(at)


class PruMerge(CropRule):
    """Outliers of attention, in one head of all features, take in what resembles them.

    The released code looks at the encoder's very last layer, also where nothing uses its output;
    here it is the last layer that is used, so that none has to run for the rule alone. Crops share
    the tokens equally, the first ones getting one more where they must; each crop's token of the
    rest comes last, and has its last patch's place.
    """

    connects_what_is_left = True

    def score(self, call: Seen) -> Tensor:
        """Return the same scores from one head of all features."""
        query, key = (one.transpose(1, 2).flatten(2)[:, None] for one in (call.query, call.key))
        scaling = float(query.shape[3] ** -0.5)
        return super().score(call._replace(query=query, key=key, scaling=scaling))

    def keep(self, scores: Tensor, count: int) -> Tensor:
        """Return which tokens of a crop take in others, [B, count]."""
        from ..reducers.prumerge import outliers

        return outliers(scores, count)

    def before_connector(self, pixels: Pixels, run: Callable[[], Tensor], count: int) -> Visual:
        """Merge patches, and connect what is left."""
        return self.after_connector(pixels, lambda: [run()], count)

    def after_connector(
        self, pixels: Pixels, run: Callable[[], list[Tensor]], count: int
    ) -> Visual:
        """Merge the tokens that the connector made."""
        import torch

        from ..reducers.prumerge import merge

        if self.extra != pixels.crop_count:
            problem = f"does not leave a token of the rest for each of {pixels.crop_count} crops"
            raise InvalidInput("compress.extra", self.extra, problem, "give one for each crop")
        each, more = divmod(count - self.extra, pixels.crop_count)
        if more:
            self.unequal_shares(pixels, count)
        images = self.candidates(pixels, run)
        tokens, places, crop = [], [], 0
        for image in images:
            parts, chosen = [], []
            for part in range(image.crops):
                rows = slice(part, None, image.crops)
                scores = image.scores[0][rows]
                kept = self.keep(scores, each + (crop < more))
                parts.append(merge(image.features[rows], scores, image.keys[rows], kept))
                last = kept.new_full((len(kept), 1), scores.shape[1] - 1)
                chosen.append(torch.cat([kept, last], dim=1) + part * scores.shape[1])
                crop += 1
            tokens.append(torch.cat(parts, dim=1))
            places.append(torch.cat(chosen, dim=1))
        return self.visual(images, self.connected(tokens), places)


class PruMergePlus(PruMerge):
    """The same with samples between the outliers, three to each."""

    def keep(self, scores: Tensor, count: int) -> Tensor:
        """Return the outliers, then the samples."""
        from ..reducers.prumerge import outliers_and_grid

        return outliers_and_grid(scores, count)


#: The rules of this module, by the name under which methods describe them.
RULES: dict[str, type[Rule]] = {
    "random": RandomDrop,
    "FasterVLM": FasterVLM,
    "VisPruner": VisPruner,
    "global and local scan, then a query row": VScan,
    "LLaVA-PruMerge": PruMerge,
    "LLaVA-PruMerge+": PruMergePlus,
    "HiRED": HiRED,
    "HoloV": HoloV,
    "HAWK": Hawk,
}
