"""Projectors that make one token of each square of patches: TokenPacker, PVTC, LLaVA-STF."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...costmodel import InvalidInput
from ..adapters import Pixels
from ..prompt import Visual
from ..sequence import Tokens
from .base import Rule
from .encoder_states import encoder_states, square_of, unfit, visual_of_crops

if TYPE_CHECKING:
    from torch import Tensor


class Packed(Rule):
    """TokenPacker, crop by crop; the connector then takes the packed tokens."""

    def before_connector(self, pixels: Pixels, run: Callable[[], Tensor], count: int) -> Visual:
        """Pack squares of the grid that leaves `count` tokens."""
        from ..reducers.tokenpacker import LAYERS, OF_BLOCKS, TokenPacker

        side = square_of("TokenPacker", pixels, count)
        # The last of the four is the feature layer's, which comes last by itself.
        states = encoder_states(self.adapter, pixels, run, LAYERS[:-1], OF_BLOCKS)
        narrow = states.patches.shape[-1] // len(LAYERS)
        pack = TokenPacker.of(states.patches[..., :narrow])
        return visual_of_crops(pixels, self.adapter.connect(pack(states.patches, side)))

    def compress(self, tokens: Tokens, count: int) -> Tokens:
        """Refuse to pack behind the connector, where no states of the encoder are."""
        raise self.adapter.unable("be packed before the connector")


class Regions(Rule):
    """InternVL-X's PVTC, crop by crop, in the connector's place."""

    def instead_of_connector(self, pixels: Pixels, run: Callable[[], Tensor], count: int) -> Visual:
        """Let a local and a global query of each square attend to it.

        Raises:
            InvalidInput: Without a class token, of which the global query is made.
        """
        from ..reducers.point_to_region import PointToRegion

        side = square_of("PVTC", pixels, count)
        if not self.adapter.has_class_token:
            raise InvalidInput(
                "selection",
                "point-to-region projector",
                f"makes queries of the class token, which {self.adapter.model.config.model_type}'s "
                "encoder lacks",
                "choose another method or model",
            )
        states = encoder_states(self.adapter, pixels, run)
        assert states.class_token is not None
        width = self.adapter.decoder.config.hidden_size
        cells = count // pixels.crop_count
        project = PointToRegion.of(states.patches, width, side, cells)
        return visual_of_crops(pixels, project(states.class_token, states.patches))


class Fused(Rule):
    """LLaVA-STF, crop by crop, in the connector's place."""

    def instead_of_connector(self, pixels: Pixels, run: Callable[[], Tensor], count: int) -> Visual:
        """Fuse eight layers of each patch, then four patches to a token."""
        import torch

        from ..reducers.fusion import LAYERS, OF_BLOCKS, SIDE, Fusion

        rows, columns = pixels.crops[0][0]
        if count != pixels.crop_count * (rows // SIDE) * (columns // SIDE):
            raise unfit("STF", pixels, count)
        states = encoder_states(self.adapter, pixels, run, LAYERS, OF_BLOCKS).patches
        narrow = states.shape[-1] // (1 + len(LAYERS))
        # The feature layer comes first.
        ordered = torch.cat([states[..., -narrow:], states[..., :-narrow]], dim=-1)
        width = self.adapter.decoder.config.hidden_size
        fuse = Fusion.of(states[..., :narrow], width)
        return visual_of_crops(pixels, fuse(ordered))
