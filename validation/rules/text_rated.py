"""Rules that rate visual tokens by the question's text, before the LLM."""

from __future__ import annotations

from ...costmodel import InvalidInput
from ..sequence import TEXT, Tokens
from .base import Rule
from .crop_features import Seeing, keep_of_crops, share
from .joint_space import Trim, VisionTrim, in_joint_space, no_joint_space


class CDPruner(Seeing):
    """In each crop, the tokens of largest determinant, weighted by relevance to the question.

    The question has as many tokens as the text. Crops are left as the connector made them, neither
    trimmed nor pooled, and separators fall away. Tokens follow one another crop by crop.
    """

    def compress(self, tokens: Tokens, count: int) -> Tokens:
        """Keep by determinant, crop by crop."""
        from ..reducers import text_tower
        from ..reducers.cdpruner import conditional_kernel, greedy_determinant, relevance

        batch, seen = len(tokens.states), self.patches()
        if seen is None:
            raise no_joint_space(self.adapter)
        states, features = seen
        crops = len(states) // batch
        per_crop = share(count, crops)
        ids = text_tower.questions(batch, tokens.text, states.device)
        question = text_tower.pooled(ids, states.dtype)
        patches = in_joint_space(self.adapter, states).reshape(batch, -1, states.shape[-1])
        relevant = relevance(patches, question).reshape(features.shape[:2])
        picks = greedy_determinant(conditional_kernel(features, relevant), per_crop)
        return keep_of_crops(tokens, features, picks, [per_crop] * crops)


class MMTok(Seeing):
    """In each crop, the tokens that cover the text and the crop's own tokens best.

    All text tokens are covered; the released code takes words of the question. A request's crops
    share as equally as they can, the last ones with one token more. What stands for a token that
    joins patches is their mean, as in the released code for Qwen2.5-VL; other crops are left as the
    connector made them, neither trimmed nor pooled.
    """

    def compress(self, tokens: Tokens, count: int) -> Tokens:
        """Keep by coverage, crop by crop."""
        from ..reducers.mmtok import coverage, greedy_cover

        if not tokens.text:
            problem = "leaves no text token to cover"
            raise InvalidInput("--text-tokens", tokens.text, problem, "give at least 1")
        batch = len(tokens.states)
        states, features = self.averaged_patches(tokens)
        crops = len(features) // batch
        shares = [count * (crop + 1) // crops - count * crop // crops for crop in range(crops)]
        text = tokens.states_of(TEXT).repeat_interleave(crops, dim=0)
        picks = greedy_cover(coverage(text, features, states), max(shares))
        return keep_of_crops(tokens, features, picks, shares)


#: The rules of this module, by the name under which methods describe them.
RULES: dict[str, type[Rule]] = {
    "similarity to the question in CLIP": Trim,
    "CDPruner": CDPruner,
    "MMTok": MMTok,
    "VisionTrim": VisionTrim,
}
