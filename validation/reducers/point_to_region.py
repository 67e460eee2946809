"""InternVL-X's PVTC: a local and a global query of each square of patches attend to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...costmodel import InvalidInput
from .squares import parted, squares
from .weights import attended, linear, most_heads, seeded

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Linear, Parameter, RMSNorm

#: Attention heads of both layers.
HEADS = 16
#: A network's inner width, in widths of the LLM.
EXPANSION = 4


class Input(NamedTuple):
    """Norm, projection and SiLU."""

    norm: RMSNorm
    projection: Linear

    @classmethod
    def of(cls, in_features: int, out_features: int) -> Input:
        """Return it in a `seeded` context."""
        import torch

        norm = torch.nn.RMSNorm(in_features, eps=1e-6)
        return cls(norm, linear(in_features, out_features, bias=False))

    def __call__(self, rows: Tensor) -> Tensor:
        """Return rows [..., out_features]; in_features·out_features MACs per row."""
        import torch

        projected: Tensor = torch.nn.functional.silu(self.projection(self.norm(rows)))
        return projected


class Layer(NamedTuple):
    """Cross-attention and a gated network, each added to the query."""

    norms: tuple[RMSNorm, RMSNorm, RMSNorm]
    attention: tuple[Linear, Linear, Linear, Linear]
    network: tuple[Linear, Linear, Linear]

    @classmethod
    def of(cls, width: int) -> Layer:
        """Return it in a `seeded` context."""
        import torch

        def square() -> Linear:
            return linear(width, width, bias=False)

        def norm() -> RMSNorm:
            return torch.nn.RMSNorm(width, eps=1e-6)

        wide = EXPANSION * width
        return cls(
            (norm(), norm(), norm()),
            (square(), square(), square(), square()),
            (
                linear(width, wide, bias=False),
                linear(width, wide, bias=False),
                linear(wide, width, bias=False),
            ),
        )

    def __call__(self, query: Tensor, patches: Tensor) -> Tensor:
        """Return queries [X, 1, d] that attended to patches [X, n, d].

        14·d² + 2·n·d² + 2·n·d MACs for each of X.
        """
        import torch

        normed, keys = self.norms[0](query), self.norms[1](patches)
        to_query, to_key, to_value, output = self.attention
        heads = most_heads(HEADS, query.shape[-1])
        fetched = attended(to_query(normed), to_key(keys), to_value(keys), heads)
        query = query + output(fetched)
        first, gate, second = self.network
        normed = self.norms[2](query)
        gated: Tensor = second(torch.nn.functional.silu(first(normed)) * gate(normed))
        return query + gated


class PointToRegion(NamedTuple):
    """The projector.

    Source: ludc506/InternVL-X modeling_internvl_chat.py, VisionProjector.
    """

    local_input: Input
    global_input: Input
    patches: Input
    scale: Parameter
    global_layer: Layer
    local_layer: Layer

    @classmethod
    def of(cls, like: Tensor, width: int, side: int, cells: int) -> PointToRegion:
        """Return it with random weights.

        Args:
            like: States of the encoder, [..., d_e].
            width: d, hidden size of the LLM.
            side: Patches along a square.
            cells: Squares of a crop.
        """
        import torch

        narrow = like.shape[-1]
        with seeded(like):
            return cls(
                Input.of(side**2 * narrow, width),
                Input.of(narrow, width),
                Input.of(narrow, width),
                torch.nn.Parameter(torch.randn(cells, width)),
                Layer.of(width),
                Layer.of(width),
            )

    def __call__(self, class_token: Tensor, grid: Tensor) -> Tensor:
        """Return one token per square, [B, rows·columns/side², d].

        With P patches and M squares: (2·P + 1)·d_e·d + 4·M·d² + 4·P·d² + 4·P·d + 24·M·d² MACs per
        crop.

        Args:
            class_token: [B, d_e].
            grid: [B, rows, columns, d_e].

        Raises:
            InvalidInput: Squares that do not divide the grid, or are not as many as the scales.
        """
        joined, narrow = self.local_input.projection.in_features, grid.shape[-1]
        cells = squares(grid, round((joined // narrow) ** 0.5))
        if cells.shape[1] != len(self.scale):
            raise InvalidInput(
                "grid", None, f"has {cells.shape[1]} squares", f"give one of {len(self.scale)}"
            )
        regions = self.patches(cells).flatten(0, 1)
        local = self.local_input(cells.flatten(2)).flatten(0, 1)[:, None]
        scaled = self.global_input(class_token)[:, None] * self.scale
        whole = self.global_layer(scaled.flatten(0, 1)[:, None], regions)
        tokens = self.local_layer(local, regions) + whole
        return parted(tokens[:, 0], 0, len(grid), -1)
