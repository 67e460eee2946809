"""Rules that stand in the connector's place, or make tokens of their own beside it."""

from __future__ import annotations

from .base import Rule
from .fetching import LlavaMini
from .pooled import AveragedGrid, DownsampleProjector
from .projectors import Fused, Packed, Regions
from .sloth import FlashSloth

#: The rules of this module, by the name under which methods describe them.
RULES: dict[str, type[Rule]] = {
    "M3": AveragedGrid,
    "pooling and depthwise convolution": DownsampleProjector,
    "cell attention": Packed,
    "point-to-region projector": Regions,
    "fusion networks": Fused,
    "LLaVA-Mini": LlavaMini,
    "FlashSloth": FlashSloth,
}
