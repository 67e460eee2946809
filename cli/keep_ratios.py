"""Keep ratios as people type them: a share of 1, or a percentage."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from ..costmodel import InvalidInput
from ..costmodel.numeric import ratio

_DECIMAL = r"[0-9]{0,12}\.?[0-9]{1,12}"


def keep_ratio(text: str, name: str) -> Fraction:
    """Return a keep ratio in (0, 1], exact; 50% is 0.5.

    Raises:
        InvalidInput: No number, or one outside (0, 1]; a number such as 50 may be meant as a
            percentage, and is told so.

    >>> keep_ratio("50%", "--keep"), keep_ratio("0.5", "--keep")
    (Fraction(1, 2), Fraction(1, 2))
    """
    typed = text.strip()
    if typed.endswith("%"):
        return _percentage(typed, name)
    try:
        return ratio(typed, name)
    except InvalidInput as error:
        if re.fullmatch(_DECIMAL, typed) and 2 <= Decimal(typed) <= 100:
            way_out = f"write {(Decimal(typed) / 100).normalize():f} or {typed}%"
            raise InvalidInput(name, text, error.problem, way_out) from None
        raise InvalidInput(name, text, error.problem, error.way_out) from None


def _percentage(typed: str, name: str) -> Fraction:
    number = typed[:-1].rstrip()
    if not re.fullmatch(_DECIMAL, number):
        raise InvalidInput(name, typed, "is not a percentage", "give a share such as 0.5 or 50%")
    if not 0 < Fraction(number) <= 100:
        problem = "is outside (0%, 100%]"
        raise InvalidInput(name, typed, problem, "give a share such as 0.5 or 50%")
    return Fraction(number) / 100
