"""LLaVA-Mini: a resampler makes C×C tokens of an image, and four layers mix it into the text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ...costmodel import InvalidInput
from .squares import parted
from .weights import attended, linear, most_heads, seeded

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import LayerNorm, Linear, Parameter

#: Pre-fusion layers, and heads of the resampler.
LAYERS, HEADS = 4, 8


def sine_positions(side: int, width: int) -> Tensor:
    """Return sines and cosines [side², width] of columns, then of rows.

    Frequencies are 10,000^(−4i/width) for i = 0 … width/4 − 1. What a width leaves that 4 does not
    divide is zero.
    """
    import torch

    exact = torch.float32  # also where the model's own numbers are narrower
    frequencies = 10_000.0 ** (-torch.arange(width // 4, dtype=exact) * 4 / width)
    angles = torch.arange(side, dtype=exact)[:, None] * frequencies
    along = torch.cat([angles.sin(), angles.cos()], dim=1)
    columns = along[None].expand(side, -1, -1)
    rows = along[:, None].expand(-1, side, -1)
    both = torch.cat([columns, rows], dim=2).flatten(0, 1)
    return torch.nn.functional.pad(both, (0, width - both.shape[1]))


class Resampler(NamedTuple):
    """Learned queries that attend to an image's patches once.

    Source: ictnlp/LLaVA-Mini, of whose code copies that follow its release were read.
    """

    query: Parameter
    positions: Tensor
    norms: tuple[LayerNorm, LayerNorm]
    projections: tuple[Linear, Linear, Linear]
    output: Linear

    @classmethod
    def of(cls, like: Tensor, side: int) -> Resampler:
        """Return it with random weights.

        Args:
            like: States of the encoder, [..., d_e].
            side: C; side² queries.
        """
        import torch

        width = like.shape[-1]
        with seeded(like):
            return cls(
                torch.nn.Parameter(0.02 * torch.randn(side**2, width)),
                sine_positions(side, width).to(like),
                (torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)),
                (linear(width, width), linear(width, width), linear(width, width)),
                linear(width, width),
            )

    def __call__(self, grid: Tensor) -> Tensor:
        """Return the tokens [B, C², d_e] that the queries fetch from a grid.

        Keys have positions, interpolated to the grid; values have none. With P patches:
        2·P·d_e² + 2·C²·d_e² + 2·C²·P·d_e MACs per image.

        Args:
            grid: [B, rows, columns, d_e].
        """
        import torch

        count, width = self.query.shape
        side = round(count**0.5)
        table = parted(self.positions.mT, 1, side, side)[None]
        placed = torch.nn.functional.interpolate(table, size=grid.shape[1:3], mode="bicubic")
        patches = self.norms[1](grid.flatten(1, 2))
        queries = (self.norms[0](self.query) + self.positions).expand(len(grid), -1, -1)
        inputs = (queries, patches + placed.flatten(2).mT, patches)
        rows = (project(part) for project, part in zip(self.projections, inputs, strict=True))
        query, key, value = rows
        fetched: Tensor = self.output(attended(query, key, value, most_heads(HEADS, width)))
        return fetched


def pre_fused(
    run: Callable[[Tensor], Tensor], visual: Tensor, compressed: Tensor, text: Tensor
) -> tuple[Tensor, Tensor]:
    """Return compressed tokens [B, I·C², d] and text [B, N, d] behind the pre-fusion layers.

    Each image passes them by itself, all its tokens first, then the compressed ones, then the text;
    the text is then the mean over images. I sequences of M_i + C² + N tokens per request.

    Args:
        run: Runs the layers on [B·I, n, d].
        visual: [B, I, M_i, d], what the connector made of each image.
        compressed: [B, I, C², d].
        text: [B, N, d].
    """
    import torch

    batch, images, count, _ = compressed.shape
    repeated = text[:, None].expand(-1, images, -1, -1)
    mixed = run(torch.cat([visual, compressed, repeated], dim=2).flatten(0, 1))
    mixed = parted(mixed[:, visual.shape[2] :], 0, batch, images)
    return mixed[:, :, :count].flatten(1, 2), mixed[:, :, count:].mean(dim=1)


def connected(connector: Any, states: Tensor) -> Tensor:
    """Return what LLaVA's connector makes of states [B, n, d_e]: n·(d_e·d + d²) MACs.

    Its weights are used without calling it, so that no counter books them there.
    """
    from torch.nn.functional import linear as product

    first, second = connector.linear_1, connector.linear_2
    inner = connector.act(product(states, first.weight, first.bias))
    return product(inner, second.weight, second.bias)


def image_places(images: int, tokens: int, count: int) -> Sequence[int]:
    """Return where the first `count` of each image's tokens stand among all visual ones.

    Raises:
        InvalidInput: There are fewer.
    """
    if not 1 <= count <= tokens:
        raise InvalidInput(
            "count", count, f"is impossible with {tokens} tokens", f"give 1 to {tokens}"
        )
    return [image * tokens + at for image in range(images) for at in range(count)]
