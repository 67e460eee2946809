"""Pictures as drawings of a PDF."""

from __future__ import annotations

from typing import Any

from .pdf_face import BOLD, FONT, Face
from .picture import Bar, Disc, Label, Line, Mark, Picture, Shape


def drawing(picture: Picture, room: float, face: Face) -> Any:
    """Return a picture at the width of the page, or less where the page is too low."""
    from reportlab.graphics.shapes import Drawing, Group

    scale = min(room / picture.width, 430 / picture.height)
    drawn = Drawing(picture.width * scale, picture.height * scale)
    shapes = [_shape(mark, picture.height, face) for mark in picture.marks]
    drawn.add(Group(*shapes, transform=(scale, 0, 0, scale, 0, 0)))
    return drawn


def _shape(mark: Mark, height: float, face: Face) -> Any:
    """Return a mark; the origin of a drawing is at its bottom."""
    from reportlab.graphics import shapes
    from reportlab.lib.colors import HexColor as Colour

    match mark:
        case Bar(x, y, width, tall, fill):
            bottom = height - y - tall
            return shapes.Rect(x, bottom, width, tall, fillColor=Colour(fill), strokeColor=None)
        case Disc(x, y, radius, fill, stroke):
            paint = {"fillColor": Colour(fill), "strokeColor": Colour(stroke)}
            return shapes.Circle(x, height - y, radius, strokeWidth=0.9, **paint)
        case Shape(points, fill, stroke):
            flat = [one for x, y in points for one in (x, height - y)]
            paint = {"fillColor": Colour(fill), "strokeColor": Colour(stroke)}
            return shapes.Polygon(flat, strokeWidth=0.6, **paint)
        case Line(x1, y1, x2, y2, colour, width, dashed):
            dash = [4, 3] if dashed else None
            ends = (x1, height - y1, x2, height - y2)
            look = {"strokeColor": Colour(colour), "strokeWidth": width}
            return shapes.Line(*ends, strokeDashArray=dash, **look)
        case Label(x, y, text, size, anchor, colour, bold):
            look = {"fontName": BOLD if bold else FONT, "fontSize": size * 0.9}
            look |= {"textAnchor": anchor, "fillColor": Colour(colour)}
            return shapes.String(x, height - y, face.clean(text), **look)
