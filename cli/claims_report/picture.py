"""Pictures as lists of marks, drawn alike in every form of a report. Origin top left, in points."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ...costmodel.errors import TokencostError

Anchor = Literal["start", "middle", "end"]
INK, PALE_INK, GRID, PAPER = "#1a1a1a", "#555555", "#dddddd", "#ffffff"
#: Colours that colour-blind readers tell apart (Okabe and Ito); grey print tells them by lightness,
#: order and the shape of marks.
COLOURS = {
    "reproduced": "#0072b2",
    "reproduced with an assumption": "#56b4e9",
    "plausible": "#009e73",
    "needs scope": "#f0e442",
    "impossible": "#b03a00",
    "inconsistent": "#e69f00",
    "not checkable": "#c8c8c8",
}
#: Fills on which white letters are readable.
DARK = frozenset({"reproduced", "impossible"})
SHAPES: dict[str, str] = {
    "reproduced": "disc",
    "reproduced with an assumption": "ring",
    "plausible": "triangle",
    "needs scope": "diamond",
    "inconsistent": "square",
    "impossible": "cross",
    "not checkable": "dash",
}


class Bar(NamedTuple):
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    tip: str = ""


class Line(NamedTuple):
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float
    colour: str = INK
    width: float = 0.8
    dashed: bool = False


class Label(NamedTuple):
    """A text; x is where its start, middle or end stands, y its baseline."""

    x: float
    y: float
    text: str
    size: float = 9
    anchor: Anchor = "start"
    colour: str = INK
    bold: bool = False


class Shape(NamedTuple):
    """A polygon."""

    points: tuple[tuple[float, float], ...]
    fill: str
    stroke: str = INK
    tip: str = ""


class Disc(NamedTuple):
    """A circle."""

    x: float
    y: float
    radius: float
    fill: str
    stroke: str = INK
    tip: str = ""


Mark = Bar | Line | Label | Shape | Disc


class Picture(NamedTuple):
    """A drawing with its size, and what it shows in words for readers who do not see it."""

    width: float
    height: float
    summary: str
    marks: tuple[Mark, ...]


def marker(verdict: str, x: float, y: float, tip: str = "", size: float = 3.6) -> list[Mark]:
    """Return the mark of a verdict at a place."""
    colour = COLOURS[verdict]
    match SHAPES[verdict]:
        case "disc":
            return [Disc(x, y, size * 0.85, colour, PAPER, tip)]
        case "ring":
            return [Disc(x, y, size * 0.85, PAPER, colour, tip)]
        case "triangle":
            points = ((x, y - size), (x + size, y + size * 0.8), (x - size, y + size * 0.8))
            return [Shape(points, colour, INK, tip)]
        case "diamond":
            points4 = ((x, y - size), (x + size, y), (x, y + size), (x - size, y))
            return [Shape(points4, colour, INK, tip)]
        case "square":
            side = size * 0.8
            corners = ((x - side, y - side), (x + side, y - side), (x + side, y + side))
            return [Shape((*corners, (x - side, y + side)), colour, INK, tip)]
        case "cross":
            arm = size * 0.9
            return [
                Disc(x, y, size * 1.1, PAPER, PAPER, tip),
                Line(x - arm, y - arm, x + arm, y + arm, colour, 1.8),
                Line(x - arm, y + arm, x + arm, y - arm, colour, 1.8),
            ]
        case "dash":
            return [Line(x - size, y, x + size, y, PALE_INK, 1.8)]
    raise TokencostError(f"{verdict} has no mark")


def legend(names: list[str], width: float, *, bars: bool = False) -> tuple[list[Mark], float]:
    """Return a legend of verdicts at the top of a picture, and the height that it takes."""
    marks: list[Mark] = []
    left, top = 0.0, 10.0
    for name in names:
        room = 18 + text_width(name, 9)
        if left + room > width and left:
            left, top = 0.0, top + 14
        if bars:
            marks.append(Bar(left, top - 8, 10, 10, COLOURS[name]))
        else:
            marks += marker(name, left + 5, top - 3)
        marks.append(Label(left + 13, top, name))
        left += room + 10
    return marks, top + 4


def text_width(text: str, size: float) -> float:
    """Return about how wide a text is in a sans-serif face."""
    return 0.56 * size * len(text)


def fitted(text: str, width: float, size: float) -> str:
    """Return the start of a text that fits a width.

    >>> fitted("Token Transforming", 60, 9)
    'Token Tran…'
    """
    most = int(width / (0.56 * size))
    return text if len(text) <= most else text[: max(most - 1, 1)].rstrip() + "…"
