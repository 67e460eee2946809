"""Rules whose own tokens fetch from all patches: LLaVA-Mini."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...costmodel import InvalidInput
from ..adapters import Adapter
from ..adapters.llava import LlavaAdapter
from ..masks import additive, causal
from ..reducers.squares import parted
from ..sequence import TEXT, VISUAL, Tokens
from .base import Rule
from .grids import number

if TYPE_CHECKING:
    from torch import Tensor


class LlavaMini(Rule):
    """LLaVA-Mini: C×C tokens per image enter, and text that has seen all others."""

    def __init__(self, adapter: Adapter, extra: int = 0, learned: int = 0) -> None:
        """Remember what the connector takes next, for the resampler takes the same."""
        super().__init__(adapter, extra, learned)
        self.taken: list[Tensor] = []

        def remember(_: Any, inputs: tuple[Tensor, ...]) -> None:
            hook.remove()
            self.taken.append(inputs[0])

        hook = adapter.connector.register_forward_pre_hook(remember)

    def compress(self, tokens: Tokens, count: int) -> Tokens:
        """Resample each image, connect what comes out, and mix it and the image into the text.

        Raises:
            InvalidInput: Another family, images of several crops, or a number of tokens that is no
                square for each image.
        """
        import torch

        from ..reducers.llava_mini import Resampler, connected, image_places, pre_fused

        patches = self._patches(tokens)
        batch = len(tokens.states)
        images, per_image = len(patches) // batch, int(patches.shape[1])
        side = self._side(count, images)
        height = math.isqrt(per_image)  # a crop is square
        resample = Resampler.of(patches, side)
        compressed = connected(self.adapter.connector, resample(parted(patches, 1, height, -1)))
        fused, text = pre_fused(
            self._layers(tokens.states),
            parted(tokens.states_of(VISUAL), 1, images, -1),
            parted(compressed, 0, batch, images),
            tokens.states_of(TEXT),
        )
        places = torch.tensor(image_places(images, per_image, side**2), device=fused.device)
        left = tokens.keep(places.expand(batch, -1))
        at = torch.cat([left.places(VISUAL), left.places(TEXT)], dim=1)
        new = torch.cat([fused, text], dim=1).to(left.states.dtype)
        states = left.states.scatter(1, at[..., None].expand_as(new), new)
        return left._replace(states=states)

    def _patches(self, tokens: Tokens) -> Tensor:
        """Return the patches [batch · images, P, d_e] that the connector took."""
        if not isinstance(self.adapter, LlavaAdapter):
            raise InvalidInput(
                "schedule",
                None,
                f"cannot be run on {self.adapter.model.config.model_type}: LLaVA-Mini connects "
                "resampled patches one by one",
                "choose a model of the LLaVA family",
            )
        (patches,) = self.taken
        if patches.shape[0] * patches.shape[1] != len(tokens.states) * tokens.visual:
            raise InvalidInput(
                "schedule",
                None,
                "cannot be run on images of several crops, which LLaVA-Mini lays out differently",
                "choose a model of one crop for each image",
            )
        return patches

    def _side(self, count: int, images: int) -> int:
        side = math.isqrt(count // images)
        if side**2 * images != count or not count:
            raise InvalidInput(
                "compress.tokens",
                count,
                f"is no square of tokens for each of {number(images, 'image')}",
                "give the number of images times 1, 4, 9 …",
            )
        return side

    def _layers(self, like: Tensor) -> Any:
        """Return what runs four layers of the LLM's class on sequences [B, n, d], causally."""
        import torch

        from ..reducers.llava_mini import LAYERS
        from ..reducers.weights import seeded

        adapter = self.adapter
        kind = adapter.layer_kinds[0]
        with seeded(like):
            layers = [
                type(adapter.layers[0])(adapter.decoder.config, layer_idx=index)
                for index in range(LAYERS)
            ]

        def run(states: Tensor) -> Tensor:
            places = torch.arange(states.shape[1], device=states.device)[None]
            tables = adapter.tables(states, places, kind)
            mask = additive(causal(states.shape[1]).matrix(states.device), states.dtype)
            for layer in layers:
                states = layer(states, attention_mask=mask, position_embeddings=tables)
            return states

        return run
