"""Where a block's operators belong, how they run, and on how many tokens."""

from typing import Literal, NamedTuple

from ..operators import Component, Linear, Part


class Execution(NamedTuple):
    """How an implementation runs what can be run in more than one way; see `Counting`."""

    latent: Literal["expanded", "recomputed", "absorbed"] = "expanded"
    experts: Literal["routed", "all"] = "routed"
    adapters: Literal["active", "merged"] = "active"


class Place(NamedTuple):
    """Where operators belong, and how they run."""

    component: Component
    layers: tuple[int, ...]
    execution: Execution = Execution()

    def linear(self, part: Part, name: str, tokens: int, c_in: int, c_out: int) -> Linear:
        """Return a matrix product of this place."""
        return Linear(self.component, self.layers, part, name, tokens, c_in, c_out)


class Tokens(NamedTuple):
    """Tokens of a block, batch included.

    Attributes:
        query: Tokens that are updated.
        key: Tokens that are projected to keys and values.
        ffn: Tokens that pass the feed-forward network.
        keys_read: Keys that attention reads, with those that a cache holds.
        pairs: Query–key pairs.
        cross_projected: Tokens of the other sequence that are projected to keys and values.
        cross_keys: Keys of the other sequence that cross-attention reads.
        cross_pairs: Query–key pairs of cross-attention.
    """

    query: int
    key: int
    ffn: int
    keys_read: int
    pairs: int
    cross_projected: int = 0
    cross_keys: int = 0
    cross_pairs: int = 0
