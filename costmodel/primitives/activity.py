"""What the visual tokens of each decoder layer do: the vectors that all layer rules lower to."""

from fractions import Fraction
from typing import NamedTuple


class Activity(NamedTuple):
    """Visual tokens of every decoder layer, by what happens to them.

    Attributes:
        query: Tokens that attention updates.
        key: Tokens that are projected to keys and values, which attention then reads.
        ffn: Tokens that pass the feed-forward network.
        pairs: Share of the query–key pairs among visual tokens that attention scores.
    """

    query: tuple[int, ...]
    key: tuple[int, ...]
    ffn: tuple[int, ...]
    pairs: tuple[Fraction, ...]

    @classmethod
    def uniform(cls, visual: tuple[int, ...]) -> "Activity":
        """Return the activity of layers in which all present tokens do everything."""
        return cls(visual, visual, visual, (Fraction(1),) * len(visual))

    @property
    def present(self) -> tuple[int, ...]:
        """Tokens that a layer does anything with."""
        return tuple(map(max, self.query, self.key, self.ffn))

    @property
    def is_uniform(self) -> bool:
        """Whether all tokens of each layer do everything."""
        return self.query == self.key == self.ffn and all(share == 1 for share in self.pairs)

    def limited(self, other: "Activity") -> "Activity":
        """Return what both allow: the smaller count, and the product of the shares.

        Rules combine so, which makes their order immaterial.
        """
        return Activity(
            query=tuple(map(min, self.query, other.query)),
            key=tuple(map(min, self.key, other.key)),
            ffn=tuple(map(min, self.ffn, other.ffn)),
            pairs=tuple(mine * its for mine, its in zip(self.pairs, other.pairs, strict=True)),
        )
