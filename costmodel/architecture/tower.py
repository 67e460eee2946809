"""What every vision encoder can be asked, whatever it is made of."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol

from ..tokens.base import Size


class TowerTokens(NamedTuple):
    """Tokens of one encoder's layers, summed over the crops of one sequence.

    Attributes:
        positions: Positions of the patch convolution.
        tokens: Tokens that leave each layer's attention, class tokens included.
        pairs: Query–key pairs of each layer.
    """

    positions: int
    tokens: tuple[int, ...]
    pairs: tuple[int, ...]


class Tower(Protocol):
    """A vision encoder.

    Attributes:
        patchwise: Whether its layers are one stack over a sequence of patches, which methods can
            rank, merge or leave out; else it works on feature maps.
    """

    patchwise: ClassVar[bool]

    def counted(self, crops: Sequence[Size], crops_per_image: Sequence[int]) -> TowerTokens:
        """Count the tokens and pairs of every layer, without any reduction."""
        ...
