"""What of a prefill's keys and values decode forwards store, read and score anew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..costmodel import InvalidInput
from ..costmodel.plan import TokenPlan
from ..costmodel.primitives.cache import Cache as CacheSpec
from ..costmodel.primitives.cache import choosing_forwards
from ..costmodel.primitives.widths import Channels
from .activity import priority
from .sequence import VISUAL, Tokens

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Cache


class Keeping(NamedTuple):
    """What a schedule keeps of the cache.

    Attributes:
        stored, read: Visual tokens of each layer that stay, and that a decode forward reads.
        spec: How that changes from forward to forward.
        entering: M, which its shares are of.
        channels: Shares of the head size that visual keys and values keep.
    """

    stored: tuple[int, ...]
    read: tuple[int, ...]
    spec: CacheSpec
    entering: int
    channels: Channels

    @classmethod
    def of(cls, plan: TokenPlan) -> Keeping | None:
        """Return what a plan keeps, or None where it keeps and reads everything.

        Raises:
            InvalidInput: Layers with windows, or without a cache of visual tokens.
        """
        channels = plan.channels or Channels()
        if plan.cache is None and channels.key == channels.value == 1:
            return None
        if not all(layer.in_sequence and layer.window is None for layer in plan.layout):
            raise InvalidInput(
                "cache",
                None,
                "needs layers that cache all tokens of the LLM's own sequence",
                "choose another model",
            )
        spec = plan.cache or CacheSpec()
        return cls(
            plan.visual_stored, plan.visual_read, spec, plan.entering_visual_tokens, channels
        )

    def visual_read(self, layer: int, step: int) -> int:
        """Return the visual tokens that decode forward `step` (from 1) reads in a layer."""
        gone = math.floor(self.spec.shrink_of(layer) * self.entering * (step - 1))
        return max(0, self.read[layer] - gone)

    def generated_read(self, step: int) -> int:
        """Return the generated tokens before its own that decode forward `step` reads."""
        return math.floor(self.spec.generated * (step - 1))

    def chooses(self, step: int) -> bool:
        """Whether decode forward `step` scores what is stored and not read."""
        return choosing_forwards(self.spec.rescan, step, step) > 0


class Layer(NamedTuple):
    """Keys and values [B, h_kv, n, d_h] of a layer, visual ones in order of precedence."""

    visual: tuple[Tensor, Tensor]
    prompt: tuple[Tensor, Tensor]


class KeptCache:
    """Fills a cache before each decode forward with what that reads, and keeps what it adds.

    Attributes:
        keeping: What is kept.
        steps: Decode forwards so far.
        scores: What forwards gave to stored tokens that they did not read, [B, h, 1, n] each.
    """

    def __init__(
        self, cache: Cache, exposed: Sequence[Tokens], keeping: Keeping, entered: int
    ) -> None:
        """Take a prefill's cache.

        Args:
            cache: Its keys and values.
            exposed: The tokens that each layer cached, in order.
            keeping: What stays of them.
            entered: Length of the sequence that entered layer 0.
        """
        self.cache, self.keeping, self.steps = cache, keeping, 0
        self.scores: list[Tensor] = []
        self._layers = [
            _divided(cache.layers[index], tokens, keeping.stored[index], entered)
            for index, tokens in enumerate(exposed)
        ]
        self._generated: list[list[tuple[Tensor, Tensor]]] = [[] for _ in exposed]

    def before(self, layer: int) -> int:
        """Make a layer's cache what the coming forward reads; return the visual tokens of it."""
        import torch

        step = self.steps + 1
        read = self.keeping.visual_read(layer, step)
        held, last = self._layers[layer], self.keeping.generated_read(step)
        recent = self._generated[layer][len(self._generated[layer]) - last :]
        target: Any = self.cache.layers[layer]
        target.keys, target.values = (
            torch.cat(
                [
                    held.visual[which][:, :, :read],
                    held.prompt[which],
                    *(one[which] for one in recent),
                ],
                dim=2,
            )
            for which in (0, 1)
        )
        return read

    def after(self, layer: int) -> None:
        """Keep what the forward appended to a layer's cache."""
        filled: Any = self.cache.layers[layer]
        self._generated[layer].append((filled.keys[:, :, -1:], filled.values[:, :, -1:]))

    def unread(self, layer: int) -> Tensor:
        """Return the keys [B, h_kv, n, w] that are stored and not read, in their kept channels."""
        keys = self._layers[layer].visual[0]
        width = int(self.keeping.channels.key * keys.shape[-1])
        return keys[:, :, self.keeping.read[layer] :, :width]


def _divided(layer: Any, tokens: Tokens, stored: int, entered: int) -> Layer:
    """Divide a layer's cache; a reserve that its prefill did not expose is zeros."""
    import torch

    at_visual = tokens.places(VISUAL)
    order = priority(tokens.origin.gather(1, at_visual), entered).argsort(dim=1, stable=True)
    kept = at_visual.gather(1, order)[:, :stored]
    others = tokens.part(None)[1]

    def rows(values: Tensor, index: Tensor) -> Tensor:
        shape = (-1, values.shape[1], -1, values.shape[-1])
        return values.gather(2, index[:, None, :, None].expand(*shape))

    def visual(values: Tensor) -> Tensor:
        found = rows(values, kept)
        missing = stored - found.shape[2]
        return torch.nn.functional.pad(found, (0, 0, 0, missing)) if missing > 0 else found

    return Layer(
        (visual(layer.keys), visual(layer.values)),
        (rows(layer.keys, others), rows(layer.values, others)),
    )


def narrow_attention(
    query: Tensor, keys: Tensor, values: Tensor, scaling: float, visual: int, channels: Channels
) -> Tensor:
    """Return what one token attends to, [B, h, 1, d_h], when visual keys and values are narrow.

    h·(p_v·(⌊c_K·d⌋ + ⌊c_V·d⌋) + p_t·2d) MACs for p_v visual and p_t other keys.

    Args:
        query: [B, h, 1, d_h].
        keys: [B, h_kv, n, d_h], the visual ones first.
        values: Likewise.
        scaling: Factor of the products before the softmax.
        visual: p_v.
        channels: Shares c_K and c_V of the head size, whose first channels are kept.
    """
    import torch

    batch, count, _, size = query.shape
    groups = keys.shape[1]
    grouped = query.reshape(batch, groups, count // groups, size)
    key_width, value_width = int(channels.key * size), int(channels.value * size)
    scores = torch.cat(
        [
            grouped[..., :key_width] @ keys[:, :, :visual, :key_width].mT,
            grouped @ keys[:, :, visual:].mT,
        ],
        dim=-1,
    )
    weights = (scores.float() * scaling).softmax(dim=-1).to(query.dtype)
    narrow = weights[..., :visual] @ values[:, :, :visual, :value_width]
    whole = weights[..., visual:] @ values[:, :, visual:]
    narrow = torch.nn.functional.pad(narrow, (0, size - value_width))
    return (narrow + whole).reshape(batch, count, 1, size)
