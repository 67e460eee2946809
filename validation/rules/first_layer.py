"""A rule that asks the LLM's first layer before it runs: HAWK."""

from __future__ import annotations

from typing import Any

from ..projections import heads
from ..sequence import TEXT, VISUAL, Tokens
from .base import Rule


class Hawk(Rule):
    """The question's queries and the visual tokens' keys of layer 0, without positions.

    Text before the images does not rate if there is some behind them. Importances of heads are
    published for Qwen2.5-VL-7B; in other models they count alike.
    """

    rates_by_text = True
    ranks_in_sequence = True

    def compress(self, tokens: Tokens, count: int) -> Tokens:
        """Project what is compared, and keep the best."""
        from ..reducers.hawk import hawk, head_weights

        layer: Any = self.adapter.layers[0]
        attention = layer.self_attn
        text, visual = (layer.input_layernorm(tokens.states_of(kind)) for kind in (TEXT, VISUAL))
        query, key = heads(text, attention, "q"), heads(visual, attention, "k")
        behind = tokens.places(TEXT) > tokens.places(VISUAL)[:, -1:]
        published = self.adapter.model.config.model_type == "qwen2_5_vl"
        kept = hawk(
            query,
            key,
            behind | ~behind.any(dim=1, keepdim=True),
            head_weights(int(query.shape[1]), published),
            count,
        )
        return tokens.keep(kept)
