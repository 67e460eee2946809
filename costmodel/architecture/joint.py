"""Attention over several tiles or images together: a mask may part them, the operator does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..numeric import Positive, Spec


class JointTiles(Spec):
    """Several crops are one sequence of the encoder, padding included.

    Attributes:
        over: What is joined: the tiles of each image (Llama-3.2-Vision), or all images of the
            prompt (Pixtral, whose mask parts them again).
        multiple: Tokens of each crop are padded to a multiple of this.
    """

    over: Literal["image", "prompt"] = "image"
    multiple: Positive = 1

    def sequences(self, tokens: Sequence[int], crops_per_image: Sequence[int]) -> list[int]:
        """Return the lengths of the sequences that crops of so many tokens become.

        >>> JointTiles(multiple=8).sequences([1601, 1601, 1601], [2, 1])
        [3216, 1608]
        """
        padded = [self.padded(count) for count in tokens]
        if self.over == "prompt":
            return [sum(padded)]
        starts = [sum(crops_per_image[:image]) for image in range(len(crops_per_image))]
        spans = zip(starts, crops_per_image, strict=True)
        return [sum(padded[start : start + count]) for start, count in spans]

    def padded(self, tokens: int) -> int:
        """Return a tile's tokens with its padding.

        >>> JointTiles(multiple=8).padded(1601)
        1608
        """
        return -(-tokens // self.multiple) * self.multiple
