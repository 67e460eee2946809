"""Rules that pool what the connector makes of each crop: M3, LDPv2."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..adapters import Pixels
from ..prompt import Visual
from .base import Rule
from .grids import connector_grids, side_of, visual_of

if TYPE_CHECKING:
    from torch import Tensor


class AveragedGrid(Rule):
    """M3: each crop's grid is averaged to a square, whose side the user chooses."""

    ranks_in_encoder = True
    name = "M3"

    def after_connector(
        self, pixels: Pixels, run: Callable[[], list[Tensor]], count: int
    ) -> Visual:
        """Pool crop by crop; no separators stand between the pooled rows."""
        from ..reducers.pooling import pool_grid

        side = side_of(self.name, self.adapter, pixels, count)
        grids = connector_grids(self.adapter, pixels, run)
        tokens = []
        for grid in grids:
            pooled = self.finish(pool_grid(grid.crops.flatten(0, 1), side))
            tokens.append(pooled.reshape(pixels.batch, -1, pooled.shape[-1]))
        return visual_of(grids, tokens, side)

    def finish(self, pooled: Tensor) -> Tensor:
        """Return what becomes of pooled tokens [batch · crops, side², width]."""
        return pooled


class DownsampleProjector(AveragedGrid):
    """LDPv2: the pooled grid, and a depthwise convolution of it that is added.

    Features for further layers beside the token's own are pooled alone.
    """

    name = "LDPv2"

    def finish(self, pooled: Tensor) -> Tensor:
        """Add the convolution."""
        import torch

        from ..reducers.pooling import PositionInjection

        width = self.adapter.decoder.config.hidden_size
        own = pooled[..., :width]
        return torch.cat([PositionInjection.of(own)(own), pooled[..., width:]], dim=-1)
