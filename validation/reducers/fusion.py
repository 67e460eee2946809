"""LLaVA-STF: patches fused over eight encoder layers, then squares of four into one token."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .squares import squares
from .weights import seeded, two_layers

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Sequential

#: Hidden states beside the feature layer's, of CLIP-L's 24 blocks, in the order of the widths.
LAYERS, OF_BLOCKS = (21, 18, 15, 12, 9, 6, 3), 24
#: Patches along a square that becomes a token.
SIDE = 2


class Fusion(NamedTuple):
    """Both networks.

    Source: visresearch/LLaVA-STF, multimodal_projector/builder.py and llava_arch.py.
    """

    blocks: Sequential
    space: Sequential

    @classmethod
    def of(cls, like: Tensor, width: int) -> Fusion:
        """Return them with random weights for states like these, [..., d_e], and an LLM of d."""
        narrow = like.shape[-1]
        with seeded(like):
            return cls(
                two_layers((1 + len(LAYERS)) * narrow, 4 * narrow, narrow),
                two_layers(SIDE**2 * narrow, 16 * narrow, width),
            )

    def __call__(self, layers: Tensor) -> Tensor:
        """Return one token per square, [B, M, d].

        With P patches and M squares: 36·P·d_e² + M·(64·d_e² + 16·d_e·d) MACs per crop.

        M = ⌊rows/2⌋·⌊columns/2⌋: the last row or column of an odd grid makes no token.

        Args:
            layers: [B, rows, columns, 8·d_e], the states of eight layers side by side.
        """
        even = [length // SIDE * SIDE for length in layers.shape[1:3]]
        cells = squares(self.blocks(layers)[:, : even[0], : even[1]], SIDE)
        # Released code unfolds: a feature's values in the four patches stand side by side.
        fused: Tensor = self.space(cells.mT.flatten(2))
        return fused
