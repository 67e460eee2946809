"""FlashSloth: squares pooled by learned weights, and learned tokens that fetch from everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .squares import squares
from .weights import attended, linear, most_heads, seeded

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import LayerNorm, Linear, Sequential

#: Patches along a square, learned tokens, and the layer that the query module stands in front of.
SIDE, LEARNED, LAYER = 3, 9, 7


class AttentionPooling(NamedTuple):
    """A score for each patch, by which squares of 3×3 are averaged.

    Source: codefanw/FlashSloth pooling.py, AttentionPooling; dropout does nothing in inference.
    """

    score: Sequential

    @classmethod
    def of(cls, like: Tensor) -> AttentionPooling:
        """Return it with random weights for states like these, [..., d_e]."""
        import torch

        width = like.shape[-1]
        with seeded(like):
            return cls(torch.nn.Sequential(linear(width, width), torch.nn.ReLU(), linear(width, 1)))

    def __call__(self, grid: Tensor) -> Tensor:
        """Return one token per square, [B, rows·columns/9, d_e]; P·(d_e² + d_e) MACs per crop.

        Args:
            grid: [B, rows, columns, d_e].

        Raises:
            InvalidInput: 3 does not divide the grid.
        """
        cells = squares(grid, SIDE)
        weights = self.score(cells).softmax(dim=2)
        pooled: Tensor = (weights * cells).sum(dim=2)
        return pooled


class QueryModule(NamedTuple):
    """Learned tokens attend to the question, and what they fetched attends to all patches.

    Source: codefanw/FlashSloth lqformer.py, LQFormer with one layer; half of d_e is its 576.
    """

    down: Linear
    patches_down: Linear
    norms: tuple[LayerNorm, LayerNorm, LayerNorm]
    of_text: tuple[Linear, Linear, Linear]
    of_patches: tuple[Linear, Linear, Linear]
    up: Linear

    @classmethod
    def of(cls, states: Tensor, patches: Tensor) -> QueryModule:
        """Return it with random weights for states [..., d] of the LLM and patches [..., d_e]."""
        import torch

        wide, width = states.shape[-1], patches.shape[-1]
        half = width // 2

        def norm() -> LayerNorm:
            return torch.nn.LayerNorm(half)

        with seeded(states):
            return cls(
                linear(wide, half),
                linear(width, half),
                (norm(), norm(), norm()),
                (linear(half, half), linear(half, half), linear(half, half)),
                (linear(half, half), linear(half, half), linear(width, width)),
                linear(width, wide),
            )

    def __call__(self, learned: Tensor, text: Tensor, patches: Tensor, heads: int) -> Tensor:
        """Return learned tokens [B, q, d] with what they fetched added.

        With h = d_e/2: (q + N)·d·h + P·d_e·h + (2·q + 2·N + P)·h² + P·d_e² + 2·q·N·h +
        q·P·(h + d_e) + q·d_e·d MACs per request.

        Args:
            learned: [B, q, d].
            text: [B, N, d].
            patches: [B, P, d_e], the encoder's, before pooling.
            heads: The LLM's; fewer where they do not divide both widths.
        """
        width = patches.shape[-1]
        heads = most_heads(heads, width // 2, width)
        queries, said = self.norms[0](self.down(learned)), self.norms[1](self.down(text))
        to_query, to_key, to_value = self.of_text
        asked = attended(to_query(queries), to_key(said), to_value(said), heads)
        shown = self.norms[2](self.patches_down(patches))
        to_query, to_key, to_value = self.of_patches
        fetched = attended(to_query(asked), to_key(shown), to_value(patches), heads)
        added: Tensor = learned + self.up(fetched)
        return added
