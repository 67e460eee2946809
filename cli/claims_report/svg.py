"""Pictures as SVG that stands inside a page."""

from __future__ import annotations

from html import escape

from .picture import Bar, Disc, Label, Line, Mark, Picture, Shape


def as_svg(picture: Picture, name: str, title: str) -> str:
    """Return a picture as an element that readers who do not see it are told about."""
    head = (
        f'<svg viewBox="0 0 {_n(picture.width)} {_n(picture.height)}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc" xmlns="http://www.w3.org/2000/svg">'
    )
    told = (
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(picture.summary)}</desc>'
    )
    return "\n".join([head + told, *(_element(mark) for mark in picture.marks), "</svg>"])


def _element(mark: Mark) -> str:
    match mark:
        case Bar(x, y, width, height, fill, tip):
            place = f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'
            return _tipped("rect", f'{place} fill="{fill}"', tip)
        case Disc(x, y, radius, fill, stroke, tip):
            place = f'cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"'
            return _tipped("circle", f'{place} fill="{fill}" stroke="{stroke}"', tip)
        case Shape(points, fill, stroke, tip):
            corners = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
            paint = f'fill="{fill}" stroke="{stroke}" stroke-width="0.6"'
            return _tipped("polygon", f'points="{corners}" {paint}', tip)
        case Line(x1, y1, x2, y2, colour, width, dashed):
            ends = f'x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}"'
            dash = ' stroke-dasharray="4 3"' if dashed else ""
            return f'<line {ends} stroke="{colour}" stroke-width="{_n(width)}"{dash}/>'
        case Label(x, y, text, size, anchor, colour, bold):
            weight = ' font-weight="bold"' if bold else ""
            look = f'font-size="{_n(size)}" text-anchor="{anchor}" fill="{colour}"{weight}'
            return f'<text x="{_n(x)}" y="{_n(y)}" {look}>{escape(text)}</text>'


def _tipped(element: str, attributes: str, tip: str) -> str:
    if not tip:
        return f"<{element} {attributes}/>"
    return f"<{element} {attributes}><title>{escape(tip)}</title></{element}>"


def _n(value: float) -> str:
    """Return a coordinate to a hundredth, the same on every machine.

    >>> _n(12.3456), _n(150.0), _n(-0.001)
    ('12.35', '150', '0')
    """
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
