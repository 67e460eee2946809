"""Square scatter panels with equal axes and a diagonal."""

from __future__ import annotations

import math
from typing import NamedTuple

from .picture import GRID, INK, PALE_INK, Label, Line, Mark, Shape, marker

_LEFT, _BOTTOM, _TOP = 44.0, 30.0, 16.0
#: Share of the axis that is left free at either end.
_MARGIN = 0.04
_PREFIXES = ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k"))


class Point(NamedTuple):
    """A mark: where it stands, its verdict, and what it is."""

    x: float
    y: float
    verdict: str
    tip: str


class Panel(NamedTuple):
    """A scatter of points; `shaded` names the area below the diagonal."""

    title: str
    across: str
    upward: str
    points: tuple[Point, ...]
    linear: bool = False
    shaded: str = ""


class Axis(NamedTuple):
    """Maps values to [0, 1]."""

    low: float
    high: float
    linear: bool

    def share(self, value: float) -> float:
        """Return where a value stands."""
        if self.linear:
            return (value - self.low) / (self.high - self.low)
        return math.log(value / self.low) / math.log(self.high / self.low)


def axis_of(points: tuple[Point, ...], *, linear: bool) -> Axis:
    """Return an axis that holds all points with a margin."""
    values = [value for point in points for value in (point.x, point.y)]
    if linear:
        return Axis(0, max(*values, 1) * (1 + _MARGIN), True)
    low, high = min(values), max(values)
    room = max(high / low, 1.5) ** _MARGIN
    return Axis(low / room, max(high, 1.5 * low) * room, False)


def ticks(axis: Axis) -> list[float]:
    """Return round numbers on an axis, at most about six.

    >>> ticks(Axis(0.9, 30, False)), ticks(Axis(0, 104, True))
    ([1, 2, 5, 10, 20], [0, 20, 40, 60, 80, 100])
    """
    if axis.linear:
        step = 10 ** math.floor(math.log10(axis.high))
        step *= next(size for size in (0.1, 0.2, 0.5, 1, 2) if axis.high / (step * size) <= 6)
        found = [place * step for place in range(int(axis.high / step) + 1)]
    else:
        first, last = math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high))
        narrow = axis.high <= 100 * axis.low
        digits, stride = ((1, 2, 5), 1) if narrow else ((1,), -(-(last - first) // 6))
        found = [
            digit * 10.0**power for power in range(first, last + 1, stride) for digit in digits
        ]
    inside = [value for value in found if axis.low <= value <= axis.high]
    return [int(value) if float(value).is_integer() else value for value in inside]


def tick_text(value: float) -> str:
    """Return a round number with a prefix.

    >>> tick_text(2e12), tick_text(0.5), tick_text(200)
    ('2 T', '0.5', '200')
    """
    for power, prefix in _PREFIXES:
        if value >= 10**power and (power > 3 or value >= 10_000):
            return f"{value / 10**power:g} {prefix}"
    return f"{value:g}"


def panel(drawn: Panel, left: float, top: float, width: float, height: float) -> list[Mark]:
    """Return the marks of a panel in a rectangle."""
    x0, y0 = left + _LEFT, top + height - _BOTTOM
    across, upward = width - _LEFT - 6, height - _BOTTOM - _TOP
    axis = axis_of(drawn.points, linear=drawn.linear)
    marks: list[Mark] = []
    if drawn.shaded:
        corner = ((x0, y0), (x0 + across, y0), (x0 + across, y0 - upward))
        marks.append(Shape(corner, "#f6ece8", "#f6ece8"))
        place = (x0 + across - 6, y0 - 8)
        marks.append(Label(*place, drawn.shaded, 9, "end", PALE_INK))
    for value in ticks(axis):
        x, y = x0 + axis.share(value) * across, y0 - axis.share(value) * upward
        marks += [
            Line(x, y0, x, y0 - upward, GRID, 0.5),
            Line(x0, y, x0 + across, y, GRID, 0.5),
            Label(x, y0 + 11, tick_text(value), 8, "middle", PALE_INK),
            Label(x0 - 4, y + 3, tick_text(value), 8, "end", PALE_INK),
        ]
    marks += [
        Line(x0, y0, x0 + across, y0 - upward, PALE_INK, 0.8, dashed=True),
        Line(x0, y0, x0 + across, y0, INK),
        Line(x0, y0, x0, y0 - upward, INK),
        Label(x0 + across / 2, y0 + 23, drawn.across, 9, "middle"),
        Label(x0, y0 - upward - 5, drawn.upward, 9, "start"),
    ]
    if drawn.title:
        marks.append(Label(x0 + across, y0 - upward - 5, drawn.title, 9, "end", INK, True))
    for point in drawn.points:
        x, y = x0 + axis.share(point.x) * across, y0 - axis.share(point.y) * upward
        marks += marker(point.verdict, x, y, point.tip)
    return marks
