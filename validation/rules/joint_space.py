"""Rules that compare patches with the question in CLIP's joint space, before the connector."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...costmodel import InvalidInput
from ..adapters import Adapter, Pixels
from ..attention import watching
from ..prompt import Visual
from ..sequence import Tokens
from .base import Rule, split, without_class_token
from .crop_features import share

if TYPE_CHECKING:
    from torch import Tensor


class Trim(Rule):
    """The patches that CLIP ranks first for the question, and one mean of the others.

    An image's crops are ranked together; of several images each keeps the same share, and the
    mean stands behind the last. The question fills CLIP's 77 tokens.
    """

    renumbers = True

    def before_connector(self, pixels: Pixels, run: Callable[[], Tensor], count: int) -> Visual:
        """Rank patches in CLIP's joint space, and let the connector take those that stay."""
        import torch

        from ..reducers import text_tower
        from ..reducers.trim import question_scores, trim

        states = without_class_token(self.adapter, run())
        patches = states.reshape(pixels.batch, -1, states.shape[-1])
        if self.extra not in (0, 1):
            problem = "tokens cannot come of the one mean that is made"
            raise InvalidInput("compress.extra", self.extra, problem, "give 0 or 1")
        shares = self._shares(pixels, patches.shape[1], count - self.extra)
        ids = text_tower.questions(pixels.batch, text_tower.POSITIONS, patches.device)
        question = text_tower.pooled(ids, patches.dtype)
        scores = question_scores(in_joint_space(self.adapter, patches), question)
        kept, mean = trim(patches, scores, shares)
        if self.extra:
            kept = torch.cat([kept, mean], dim=1)
        sizes = [share for _, share in shares]
        sizes[-1] += self.extra
        return Visual(split(self.adapter.connect(kept), sizes), sizes)

    def compress(self, tokens: Tokens, count: int) -> Tokens:
        """Refuse: what a connector joins has no place in CLIP's joint space."""
        raise no_joint_space(self.adapter)

    @staticmethod
    def _shares(pixels: Pixels, patches: int, kept: int) -> list[tuple[int, int]]:
        """Return the patches of each image, and an equal share of those that are kept."""
        ends = shared = 0
        shares = []
        for crops in pixels.crops:
            ends += len(crops)
            until = kept * ends // pixels.crop_count
            shares.append((len(crops) * patches // pixels.crop_count, until - shared))
            shared = until
        return shares


class VisionTrim(Rule):
    """In each crop, the patches that are attended to, and others merged by way of the question.

    The question has as many tokens as the text, 77 at most; the kept of a crop stand before the
    merged. The crops share both equally.
    """

    renumbers = True

    def before_connector(self, pixels: Pixels, run: Callable[[], Tensor], count: int) -> Visual:
        """Keep and merge patches, and let the connector take what that makes."""
        from ..reducers import text_tower
        from ..reducers.visiontrim import attended_scores, visiontrim

        adapter, crops = self.adapter, pixels.crop_count
        kept, merged = share(count - self.extra, crops), share(self.extra, crops)
        with watching(adapter.ranking_attention) as seen:
            states = without_class_token(adapter, run())
        if adapter.crosses:
            raise no_joint_space(adapter)
        assert self.text is not None
        asked = min(int(self.text.shape[1]), text_tower.POSITIONS)
        ids = text_tower.questions(pixels.batch, asked, states.device)
        question = text_tower.token_by_token(ids, states.dtype)
        (call,) = seen
        scores = attended_scores(call.query, call.key, call.scaling, adapter.has_class_token)
        trimmed, _ = visiontrim(
            states, scores, question.repeat_interleave(crops, dim=0), kept, merged
        )
        tokens = adapter.connect(trimmed)
        joined = tokens.reshape(pixels.batch, -1, tokens.shape[-1])
        sizes = [len(of_image) * tokens.shape[1] for of_image in pixels.crops]
        return Visual(split(joined, sizes), sizes)

    def compress(self, tokens: Tokens, count: int) -> Tokens:
        """Refuse: what a connector joins has no place in CLIP's joint space."""
        raise no_joint_space(self.adapter)


def in_joint_space(adapter: Adapter, states: Tensor) -> Tensor:
    """Return patches as CLIP's projection takes them: behind the encoder's final norm.

    Raises:
        InvalidInput: The family's encoder is not built like CLIP's.
    """
    from torch.nn.functional import layer_norm

    norm = getattr(getattr(adapter.tower, "vision_model", adapter.tower), "post_layernorm", None)
    if norm is None:
        raise no_joint_space(adapter)
    if not hasattr(adapter.model.config, "vision_feature_layer"):
        return states  # the connector takes the encoder's last states, which have passed the norm
    return layer_norm(states, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def no_joint_space(adapter: Adapter) -> InvalidInput:
    """Return the error for a family whose visual tokens are not CLIP's patches."""
    return InvalidInput(
        "schedule",
        None,
        f"cannot be run on {adapter.model.config.model_type}: its visual tokens are no patches "
        "that CLIP's joint space could take",
        "choose a method that does without CLIP's text tower",
    )
