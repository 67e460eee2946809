"""Keep ratios as arrays: whole numerators over one denominator, and the tokens that they leave."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InvalidInput
from ..schedule import Rounding

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Whole numbers below it, and their sums and products that stay below it, are exact in float64.
EXACT = 2**53
#: Decimals that a float is read back from; a grid has far fewer.
_MOST_DECIMALS = 9


class Shares(NamedTuple):
    """Keep ratios as numerators over one denominator.

    Attributes:
        numerators: An array for each stage.
        denominator: What all of them are divided by.
    """

    numerators: tuple[Any, ...]
    denominator: int


def common_denominator(ratios: Iterable[Fraction]) -> int:
    """Return the least denominator that all ratios can be written over.

    >>> common_denominator([Fraction(1, 4), Fraction(1, 6)])
    12
    """
    return math.lcm(*(ratio.denominator for ratio in ratios))


def as_shares(*ratios: Any) -> Shares:
    """Return arrays of floats, one for each stage, as the exact decimals that they stand for.

    A float stands for its shortest decimal, as everywhere: 0.7 is 7/10. The denominator is the
    least power of ten that they can all be written over.

    Raises:
        InvalidInput: A float that is no decimal of up to 9 digits.

    >>> as_shares([0.5, 0.25]).denominator
    100
    """
    import numpy as np

    arrays = [np.asarray(one, dtype=np.float64) for one in ratios]
    for digits in range(_MOST_DECIMALS + 1):
        denominator = 10**digits
        numerators = tuple(np.rint(one * denominator) for one in arrays)
        whole = zip(numerators, arrays, strict=True)
        if all(np.array_equal(count / denominator, one) for count, one in whole):
            return Shares(numerators, denominator)
    problem = f"has a value of more than {_MOST_DECIMALS} decimals"
    raise InvalidInput("ratio", None, problem, "give numerators over a common denominator")


def kept_tokens_array(
    numerators: Any, denominator: float, tokens: float, rounding: Rounding, out: NDArray[np.float64]
) -> None:
    """Write how many of `tokens` each ratio leaves, as `schedule.kept_tokens` does for one.

    r·M is the quotient of the whole numbers numerator·M and denominator, whose sum is below 2⁵³:
    the division then never rounds to another whole number or half than the exact quotient, so
    floor, ceil and round (half to even) of it are those of the exact product (`exact_shares` tells
    where). float-floor divides first: the nearest float to the ratio, times M, cut off.
    """
    import numpy as np

    if rounding == "float-floor":
        np.divide(numerators, denominator, out=out)
        np.multiply(out, tokens, out=out)
        np.floor(out, out=out)
        return
    np.multiply(numerators, tokens, out=out)
    np.divide(out, denominator, out=out)
    if rounding == "round":
        np.rint(out, out=out)
    elif rounding == "floor":
        np.floor(out, out=out)
    else:
        np.ceil(out, out=out)


def exact_shares(denominator: int, tokens: int) -> bool:
    """Tell whether float64 rounds shares over `denominator` of `tokens` as exact arithmetic does.

    With x = numerator·M and q = denominator, a quotient x/q that is no multiple of ½ is at least
    1/(2q) away from one, more than half a step of float64 while 2(x + q) < 2⁵³.
    """
    return 2 * (denominator * tokens + denominator) < EXACT
