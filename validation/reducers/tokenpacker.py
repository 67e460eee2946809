"""TokenPacker: each square of patches becomes one token that attends to the square."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .squares import parted, squares
from .weights import attended, linear, most_heads, seeded, two_layers

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import LayerNorm, Linear, Sequential

#: Encoder layers whose states are keys and values, of CLIP-L's 24; the last gives the queries.
LAYERS, OF_BLOCKS = (12, 16, 22, 23), 24
#: Width of an attention head.
HEAD = 128


class TokenPacker(NamedTuple):
    """The projector's module without its own output MLP, which is the connector's.

    Source: CircleRadon/TokenPacker, multimodal_projector/builder.py. Its convolution-free parts:
    a query projection; MLPs 4·d_e → d_e → d_e for keys and values; norms; multi-head attention with
    biases inside each square.
    """

    query: Linear
    key: Sequential
    value: Sequential
    norms: tuple[LayerNorm, LayerNorm, LayerNorm]
    projections: tuple[Linear, Linear, Linear]
    output: Linear

    @classmethod
    def of(cls, like: Tensor) -> TokenPacker:
        """Return it with random weights for states like these, [..., d_e]."""
        import torch

        width = like.shape[-1]

        def norm() -> LayerNorm:
            return torch.nn.LayerNorm(width, eps=1e-6)

        with seeded(like):
            return cls(
                linear(width, width, bias=False),
                two_layers(len(LAYERS) * width, width, width),
                two_layers(len(LAYERS) * width, width, width),
                (norm(), norm(), norm()),
                (linear(width, width), linear(width, width), linear(width, width)),
                linear(width, width),
            )

    def __call__(self, layers: Tensor, side: int) -> Tensor:
        """Return one token per square, [B, rows·columns/side², d_e].

        With P patches and M squares: (12·P + 3·M)·d_e² + 2·P·d_e MACs per crop. Queries are the
        grid of the last layer, interpolated linearly to one value per square: the mean of a square
        of 2×2, the middle patch of 3×3, the mean of the middle four of 4×4.

        Args:
            layers: [B, rows, columns, 4·d_e], the states of four encoder layers side by side.
            side: Patches along a square.

        Raises:
            InvalidInput: `side` does not divide the grid.
        """
        import torch

        cells = squares(layers, side)
        width = self.query.in_features
        last = layers[..., -width:].permute(0, 3, 1, 2)
        grid = (last.shape[2] // side, last.shape[3] // side)
        reduced = torch.nn.functional.interpolate(last, size=grid, mode="bilinear")
        query = self.norms[0](self.query(reduced.flatten(2).mT))
        key, value = self.norms[1](self.key(cells)), self.norms[2](self.value(cells))
        parts = zip(self.projections, (query[:, :, None], key, value), strict=True)
        queries, keys, values = (project(part).flatten(0, 1) for project, part in parts)
        heads = most_heads(max(1, width // HEAD), width)
        packed: Tensor = self.output(attended(queries, keys, values, heads))
        return parted(packed[:, 0], 0, len(layers), -1)
