"""FlashSloth: pooled squares before the connector, and learned tokens that fetch inside the LLM."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from ..adapters import Pixels
from ..prompt import Visual
from ..reducers.flashsloth import LAYER, SIDE
from ..reducers.squares import parted
from ..sequence import TEXT, VISUAL, Tokens
from .base import Rule
from .encoder_states import encoder_states, square_of, unfit, visual_of_crops

if TYPE_CHECKING:
    from torch import Tensor


class FlashSloth(Rule):
    """Squares of 3×3 patches, pooled crop by crop; learned tokens are the last visual ones.

    The query module reads all text, for a request does not tell the question from the rest. In an
    LLM of fewer layers it stands in front of the last.
    """

    rates_by_text = True
    interposes_at: ClassVar[int | None] = LAYER

    def before_connector(self, pixels: Pixels, run: Callable[[], Tensor], count: int) -> Visual:
        """Pool, connect, and keep all patches for the query module."""
        from ..reducers.flashsloth import AttentionPooling

        if square_of("FlashSloth", pixels, count) != SIDE:
            raise unfit("FlashSloth", pixels, count)
        grid = encoder_states(self.adapter, pixels, run).patches
        self.patches = parted(grid.flatten(1, 2), 0, pixels.batch, -1).flatten(1, 2)
        pooled = AttentionPooling.of(grid)(grid)
        return visual_of_crops(pixels, self.adapter.connect(pooled))

    def with_learned(self, visual: Visual) -> Visual:
        """Put random tokens behind the last image's, the same in every request."""
        import torch

        from ..reducers.weights import seeded

        last = visual.tokens[-1]
        with seeded(last):
            new = torch.randn(self.learned, last.shape[-1]).expand(len(last), -1, -1)
        dense = [*visual.dense[:-1], visual.dense[-1] + self.learned]
        return Visual([*visual.tokens[:-1], torch.cat([last, new], dim=1)], dense)

    def before_layer(self, tokens: Tokens) -> Tokens:
        """Let the learned tokens fetch from text and patches."""
        from ..reducers.flashsloth import QueryModule

        learned = tokens.places(VISUAL)[:, -self.learned :, None]
        index = learned.expand(-1, -1, tokens.states.shape[-1])
        states, text = tokens.states.gather(1, index), tokens.states_of(TEXT)
        fetch = QueryModule.of(states, self.patches)
        heads = int(self.adapter.decoder.config.num_attention_heads)
        fetched = fetch(states, text, self.patches, heads)
        return tokens._replace(states=tokens.states.scatter(1, index, fetched))

    def compress(self, tokens: Tokens, count: int) -> Tokens:
        """Refuse to pool behind the connector, where no states of the encoder are."""
        raise self.adapter.unable("be pooled before the connector")
