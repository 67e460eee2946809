"""A figure as somebody printed it: its digits, its prefix and unit, and what they leave open."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Literal, NamedTuple

from ..errors import InvalidInput

Kind = Literal["amount", "share", "factor"]
#: Powers of ten; B is the American billion that some tables print for G.
PREFIXES = {"": 0, "K": 3, "M": 6, "G": 9, "B": 9, "T": 12, "P": 15}
_NUMBER = re.compile(
    r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:\.[0-9]+|\.)?(?:[eE][+-]?[0-9]{1,3})?"
)
_UNIT = re.compile(r"([KMGBTP]?)(FLOPS?|MACS?|)", re.IGNORECASE)
WAY_OUT = "write a figure such as 99.3e9, 3.82T, 3,817 TFLOPs, 55% or 2.1x"
#: Below, a bare number lacks its prefix; above the second, it is in base units.
_NO_PREFIX_BELOW, _BASE_FROM = 10**6, 10**5
#: Within this, a figure is called close where its digits do not match.
CLOSE = Fraction(1, 100)
SLIP_RANK = 3
_ASSUMED_RANKS = {12: 0, 9: 0, 15: 2, 6: 2}


class Scale(NamedTuple):
    """One way to read the digits: base units per printed unit.

    Attributes:
        factor: What the printed number is multiplied by.
        slip: 1000 where the print is 1000 times too large, 1/1000 where it is too small, else 1.
        assumed: Prefix that the print lacks; empty where none is assumed.
        rank: How unnatural that is.
    """

    factor: Fraction
    slip: Fraction
    assumed: str
    rank: int


class Printed(NamedTuple):
    """A printed figure.

    Attributes:
        text: As it was given.
        kind: An amount of compute, a share (of the dense cost, or saved) or a factor (dense/kept).
        number: The digits, without prefix; of a share, 0.55 for 55 %.
        step: One unit of the last digit.
        power: Power of ten of prefix; None where the number has neither prefix nor exponent.
        unit: "FLOP", "MAC" or empty.
    """

    text: str
    kind: Kind
    number: Fraction
    step: Fraction
    power: int | None
    unit: Literal["", "FLOP", "MAC"]

    @property
    def tolerance(self) -> Fraction:
        """Half a unit of the last digit, relative to the number."""
        return self.step / 2 / self.number

    @property
    def digits(self) -> int:
        """Digits that are printed, leading zeros left out."""
        return len(str(int(self.number / self.step)))

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What it may be of: a bare number below 1 may be a share as well."""
        if self.kind == "amount" and self.power is None and not self.unit and self.number < 1:
            return "amount", "share"
        return (self.kind,)

    def domain(self, kind: Kind) -> tuple[float, float]:
        """Return where a random figure of the kind could lie: its decade, or [0, 1] of a share."""
        target = float(self.number)
        return (0.0, 1.0) if kind == "share" else (target / math.sqrt(10), target * math.sqrt(10))

    def scales(self, kind: Kind) -> tuple[Scale, ...]:
        """Return the ways to read the digits, slips of 1000 among them."""
        one = Fraction(1)
        if kind != "amount":
            return (Scale(one, one, "", 0),)
        if self.power is not None:
            base = Fraction(10) ** self.power
            slips = [Scale(base / k, k, "", SLIP_RANK) for k in (Fraction(1000), Fraction(1, 1000))]
            return (Scale(base, one, "", 0), *slips)
        found = [Scale(one, one, "", 0)] if self.number >= _BASE_FROM else []
        if self.number < _NO_PREFIX_BELOW:
            names = {power: name for name, power in PREFIXES.items() if name != "B"}
            found += [
                Scale(Fraction(10) ** power, one, names[power], rank)
                for power, rank in _ASSUMED_RANKS.items()
            ]
        return tuple(found)


def read_printed(text: str, field: str = "VALUE") -> Printed:
    """Return what a printed figure says.

    Raises:
        InvalidInput: No number, none above zero, or a unit that is not known.

    >>> read_printed("3,817 TFLOPs")[2:]
    (Fraction(3817, 1), Fraction(1, 1), 12, 'FLOP')
    """
    compact = "".join(text.split()).replace("×", "x")
    match = _NUMBER.match(compact)
    typed = match.group() if match else ""
    if not re.search("[0-9]", re.split("[eE]", typed)[0]) or len(compact) > 60:
        raise InvalidInput(field, text, "is not a number", WAY_OUT)
    rest = compact[len(typed) :]
    number = Decimal(typed.replace(",", ""))
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    if number <= 0:
        problem = "is zero" if number == 0 else "is negative"
        raise InvalidInput(field, text, problem, "give the figure that is printed, above zero")
    if abs(number.adjusted()) > 30:
        raise InvalidInput(field, text, "is out of range", "give the figure that is printed")
    value, step = Fraction(number), Fraction(10) ** exponent
    if rest in ("%", "x", "X"):
        kind: Kind = "share" if rest == "%" else "factor"
        part = Fraction(1, 100) if rest == "%" else Fraction(1)
        if kind == "share" and value * part > 1:
            raise InvalidInput(field, text, "is above 100%", "give a share of the dense cost")
        return Printed(text, kind, value * part, step * part, None, "")
    unit = _UNIT.fullmatch(rest)
    if unit is None:
        way_out = "write FLOPs, MACs, % or x, after k, M, G (or B), T or P"
        raise InvalidInput(field, text, f"has an unknown unit: {rest[:20]}", way_out)
    power = PREFIXES[unit[1].upper()]
    bare = not unit[1] and "e" not in typed.lower()
    name: Literal["", "FLOP", "MAC"] = ""
    if unit[2]:
        name = "MAC" if unit[2][0] in "mM" else "FLOP"
    return Printed(text, "amount", value, step, None if bare and not name else power, name)
