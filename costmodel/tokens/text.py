"""Tokens of the text that processors write around images and frames."""

from __future__ import annotations

import math
from collections.abc import Iterable


def digit_tokens(numbers: Iterable[int], digits_per_token: int) -> int:
    """Return the tokens of some numbers whose tokenizer takes digits in groups.

    >>> digit_tokens([9, 10, 100], 1)
    6
    >>> digit_tokens([9, 10, 100], 3)
    3
    """
    return sum(math.ceil(len(str(number)) / digits_per_token) for number in numbers)
