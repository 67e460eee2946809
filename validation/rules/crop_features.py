"""What the encoder makes of each crop beside what the connector makes of it, and keeping some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ...costmodel import InvalidInput
from ..adapters import Adapter, Pixels
from ..attention import Seen
from ..sequence import VISUAL, Tokens
from .base import Rule, spaced
from .calls import Call, Calls

if TYPE_CHECKING:
    from torch import Tensor


class Crops(NamedTuple):
    """Features of a request's crops, [requests · crops, n, width].

    Attributes:
        states: The encoder's.
        features: The connector's.
    """

    states: Tensor
    features: Tensor


class Seeing(Rule):
    """A rule behind the connector that looks at what the encoder makes, too."""

    renumbers = True

    def __init__(self, adapter: Adapter, extra: int = 0, learned: int = 0) -> None:
        """Watch encoder and connector until `compress`."""
        super().__init__(adapter, extra, learned)
        self._tower, self._connector = Calls(adapter.tower), Calls(adapter.connector)

    def patches(self) -> Crops | None:
        """Return what a connector takes and makes that takes patches one by one; else None."""
        if self.adapter.connector_joins_neighbours or self.adapter.crosses:
            return None
        (call,) = self._connector.taken()
        return Crops(call.first, call.made)

    def averaged_patches(self, tokens: Tokens) -> Crops:
        """Return visual tokens, and beside each the mean of its patches in the encoder.

        Raises:
            InvalidInput: The family does not tell a token's patches, or a request's images differ
                in size.
        """
        patches = self.patches()
        if patches is not None:
            return patches
        if self.adapter.crosses or tokens.added is not None:
            why = "what the encoder makes of a visual token is not known"
            raise self.adapter.unable("compare it with the others", why)
        batch, (call,), towers = len(tokens.states), self._connector.taken(), self._tower.taken()
        states = call.first
        if states.dim() == 2:  # one long sequence of patches, image after image
            sizes = _sizes(towers[0], batch)
            long = states.reshape(batch * len(sizes), 1, 1, -1, states.shape[-1])
            seen = [Seen(one, one, 1.0) for one in long]
        else:
            sizes = [(0, 0)] * (len(states) // batch)
            if states.shape[-1] != self.adapter.model.config.vision_config.hidden_size:
                states = towers[0].made.last_hidden_state  # joined before the connector
            seen = [Seen(states[:, None], states[:, None], 1.0)]
        # Adapters average keys over a token's patches: features take the place of one head's.
        pixels = Pixels({}, (), (tuple(sizes),), batch)
        visual = [tokens.states_of(VISUAL)]
        rankings = self.adapter.rankings(pixels, visual, seen, lambda call: call.key[:, 0, :, 0])
        (ranking,) = rankings
        return Crops(ranking.keys, ranking.states)


def _sizes(tower: Call, batch: int) -> list[tuple[int, int]]:
    """Return the patch grids of a request's images or pairs of frames, which are of one size.

    Raises:
        InvalidInput: They are not.
    """
    grids: Any = tower.keywords["grid_thw"]  # stays on the host, as the tower reads it
    of_request = grids.tolist()[: len(grids) // batch]
    sizes = [(rows, columns) for times, rows, columns in of_request for _ in range(times)]
    if len(set(sizes)) > 1:
        problem = "gives images of several sizes, whose tokens cannot be compared as crops"
        raise InvalidInput("--image-size", None, problem, "give images of one size")
    return sizes


def share(count: int, crops: int) -> int:
    """Return the tokens of each crop.

    Raises:
        InvalidInput: They would not be equally many.
    """
    if count % crops:
        problem = f"cannot be shared equally by {crops} crops"
        raise InvalidInput("compress.tokens", count, problem, f"give a multiple of {crops}")
    return count // crops


def keep_of_crops(tokens: Tokens, features: Tensor, picks: Tensor, shares: Sequence[int]) -> Tokens:
    """Return the sequence with the first picks of what the connector made of each crop.

    Where the family puts crops together by trimming and separating them, the picks stand in the
    place of as many evenly spaced tokens, and count as new ones.

    Args:
        tokens: The sequence.
        features: [X, n, d]; X is requests × crops.
        picks: [X, k].
        shares: How many of the k each of a request's crops keeps.
    """
    import torch

    from ..reducers.common import take

    batch, (_, length, width) = len(tokens.states), features.shape
    by_crop = picks.reshape(batch, len(shares), -1)
    parts = [
        crop * length + by_crop[:, crop, :share].sort(dim=1).values
        for crop, share in enumerate(shares)
    ]
    index = torch.cat(parts, dim=1)
    joined = features.reshape(batch, -1, width)
    if joined.shape[1] == tokens.visual:
        return tokens.keep(index)
    kept = tokens.keep(spaced(tokens, index.shape[1]))
    places = kept.places(VISUAL)
    chosen = take(joined, index).to(kept.states.dtype)
    return kept._replace(
        states=kept.states.scatter(1, places[..., None].expand(-1, -1, width), chosen),
        origin=kept.origin.scatter(1, places, torch.full_like(places, -1)),
    )
