"""Gemma 3: SigLIP, pooled 4×4 before a linear layer; most LLM layers attend in a sliding window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..masks import SLIDING, Visible
from .base import Pixels, Ranking
from .crops import CropAdapter, rankings_of_squares

if TYPE_CHECKING:
    from torch import Tensor

    from ..attention import Seen
    from ..sequence import Tokens

#: Text around an image that pan and scan has cut, as the presets' token rule estimates it.
SENTENCE = 17


class Gemma3Adapter(CropAdapter):
    """The tokens of a crop attend to each other in both directions."""

    model_types: ClassVar[tuple[str, ...]] = ("gemma3",)
    connector_joins_neighbours: ClassVar[bool] = True
    obstacle: ClassVar[str] = "its connector averages neighbouring patches"
    slides: ClassVar[bool] = True

    def features(self, pixels: Pixels) -> list[Tensor]:
        """Return the crops' tokens, joined per image."""
        crops = self.base.get_image_features(**pixels.inputs, return_dict=True).pooler_output
        return self.per_image(crops, pixels)

    def special_ids(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return newline and <start_of_image>, <end_of_image> and newline."""
        config = self.model.config
        start, end = int(config.boi_token_id), int(config.eoi_token_id)
        newline = min(start, end, self.placeholder) - 1  # any other token will do
        return (newline, start), (end, newline)

    def image_ids(self, pixels: Pixels, image: int, tokens: int) -> list[int]:
        """Return the ids of an image, or of an image and its crops in a sentence."""
        crops = len(pixels.crops[image])
        newline = self.special_ids()[0][0]
        sentence = [newline] * SENTENCE if crops > 1 else []
        return [*sentence, *super().image_ids(pixels, image, tokens // crops) * crops]

    def model_inputs(self, pixels: Pixels, ids: Tensor) -> dict[str, Any]:
        """Return the inputs with the kind of each token, which the processor adds."""
        kinds = (ids == self.placeholder).long()
        return {**super().model_inputs(pixels, ids), "token_type_ids": kinds}

    def tables(self, states: Tensor, positions: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        """Return the rotary tables, whose frequencies depend on the kind of layer."""
        tables: tuple[Tensor, Tensor] = self.decoder.rotary_emb(states, positions, kind)
        return tables

    def visible(self, tokens: Tokens, kind: str) -> Visible:
        """Return causal attention, both ways inside a crop, and never beyond the window."""
        return Visible(tokens.length, self.window if kind == SLIDING else None, tokens.blocks)

    def rankings(
        self, pixels: Pixels, states: Sequence[Tensor], seen: Sequence[Seen], score: Any
    ) -> Iterator[Ranking]:
        """Yield a ranking per image: scores and keys averaged over the patches of a token."""
        (call,) = seen
        side = self.connector.kernel_size
        yield from rankings_of_squares(pixels, states, score(call), call.key.mean(dim=1), side)
