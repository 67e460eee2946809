"""The report as a PDF: landscape pages, tables that go on with their headers, an outline."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

from .content import Content, Entry, Record, Section, Summary
from .pdf_drawing import drawing
from .pdf_face import BOLD, FONT, Face
from .picture import COLOURS
from .words import CAPTIONS, CONVENTIONS, HOW, READING, TITLE

_MARGIN, _HEADER = 34.0, "#f0f0f0"
#: Shares of the width that the columns of both tables have.
_CLAIMS = (0.2, 0.09, 0.1, 0.08, 0.12, 0.41)
_RECORDS = (0.2, 0.16, 0.22, 0.1, 0.32)
#: Heights: of a section's heading with a table's header, and the most that a row asks for.
_HEADING, _HIGHEST = 64.0, 400.0
_CLAIM_HEAD = ("claim", "printed", "recomputed", "bound", "verdict", "why, and source")
_RECORD_HEAD = ("recorded, not judged", "model", "setting", "printed", "source")


def as_pdf(content: Content) -> bytes:
    """Return the document; the same content gives the same bytes."""
    from reportlab import rl_config
    from reportlab.lib.pagesizes import A4, landscape
    from reportlab.platypus import SimpleDocTemplate

    dated, rl_config.invariant = rl_config.invariant, 1
    try:
        width, _ = size = landscape(A4)
        page = _Page(width - 2 * _MARGIN)
        buffer = io.BytesIO()
        document = SimpleDocTemplate(
            buffer,
            pagesize=size,
            leftMargin=_MARGIN,
            rightMargin=_MARGIN,
            topMargin=_MARGIN,
            bottomMargin=_MARGIN,
            title=TITLE,
            author=f"tokencost {content.version}",
            lang="en-GB",
        )
        story = [*page.front(content), *page.figures(content)]
        story += [flow for section in content.sections for flow in page.section(section)]
        document.build(story, onFirstPage=_numbered, onLaterPages=_numbered)
    finally:
        rl_config.invariant = dated
    return buffer.getvalue()


def _numbered(canvas: Any, document: Any) -> None:
    """Write the page's number and what the document is."""
    canvas.saveState()
    canvas.setFont(FONT, 7)
    canvas.drawString(_MARGIN, 18, TITLE)
    canvas.drawRightString(document.pagesize[0] - _MARGIN, 18, str(canvas.getPageNumber()))
    canvas.restoreState()


class _Page:
    """Makes the parts of the document, for a width."""

    def __init__(self, width: float) -> None:
        """Set up the styles."""
        from reportlab.lib.styles import ParagraphStyle

        self.face = Face()
        self.width = width
        self.styles = {
            name: ParagraphStyle(
                name, fontName=face, fontSize=size, leading=1.32 * size, spaceBefore=before,
                spaceAfter=after, keepWithNext=keep, splitLongWords=True,
            )
            for name, face, size, before, after, keep in (
                ("title", BOLD, 19, 0, 6, False),
                ("heading", BOLD, 13, 12, 5, True),
                ("section", BOLD, 11, 12, 3, False),
                ("text", FONT, 9, 0, 5, False),
                ("tally", FONT, 8, 0, 4, False),
                ("cell", FONT, 7, 0, 0, False),
                ("head", BOLD, 7, 0, 0, False),
            )
        }  # fmt: skip

    def front(self, content: Content) -> Iterable[Any]:
        """Yield the introduction and the tables of verdicts and rules."""
        methods = len(content.sections)
        yield self._text("title", TITLE)
        yield self._text(
            "text",
            f"{content.judged} claims and {content.recorded} figures that are recorded alone, of "
            f"{methods} method{'s' * (methods != 1)}; tokencost {content.version}",
        )
        yield self._heading("How to read this report", 0)
        yield from (self._text("text", text) for text in (*HOW, READING))
        yield from (self._text("text", f"– {text}") for text in CONVENTIONS)
        yield self._heading("Verdicts", 0)
        yield self._summary("verdict", content.verdicts)
        yield self._heading("Rules", 0)
        yield self._summary("rule", content.rules)

    def figures(self, content: Content) -> Iterable[Any]:
        """Yield the figures, each with its caption on one page."""
        from reportlab.platypus import KeepTogether

        for place, (title, picture) in enumerate(content.figures, 1):
            caption = f"Figure {place}. {CAPTIONS[title]}"
            yield KeepTogether(
                [
                    self._heading(title, 0),
                    drawing(picture, self.width, self.face),
                    self._text("text", caption),
                ]
            )

    def section(self, section: Section) -> Iterable[Any]:
        """Yield the claims about a method; a table starts where its first row has room."""
        from reportlab.platypus import CondPageBreak, Spacer

        tables: list[tuple[Sequence[str], list[list[Any]], Sequence[float]]] = []
        if section.entries:
            tables.append((_CLAIM_HEAD, [self._entry(one) for one in section.entries], _CLAIMS))
        if section.records:
            tables.append((_RECORD_HEAD, [self._record(one) for one in section.records], _RECORDS))
        _, rows, widths = tables[0]
        yield CondPageBreak(_HEADING + min(self._height(rows[0], widths), _HIGHEST))
        yield self._heading(section.title, 1)
        told = ", ".join(f"{number} {name}" for name, number in section.counts.items() if number)
        yield self._text("tally", told or "no figure that can be judged")
        for place, (head, rows, widths) in enumerate(tables):
            if place:
                yield CondPageBreak(_HEADING + min(self._height(rows[0], widths), _HIGHEST))
                yield Spacer(0, 6)
            yield self._table(head, rows, widths)

    def _height(self, row: Sequence[Any], widths: Sequence[float]) -> float:
        """Return the height of a row."""
        heights = (
            cell.wrap(self.width * share - 12, _HIGHEST)[1]
            for cell, share in zip(row, widths, strict=True)
        )
        return float(max(heights)) + 6

    def _heading(self, text: str, level: int) -> Any:
        """Return a heading that the outline lists."""
        from reportlab.platypus import Paragraph

        outline = _outlined(Paragraph, self.face.clean(text), level)
        return outline(
            escape(self.face.clean(text)), self.styles["section" if level else "heading"]
        )

    def _text(self, style: str, text: str) -> Any:
        from reportlab.platypus import Paragraph

        return Paragraph(escape(self.face.clean(text)), self.styles[style])

    def _cell(self, *lines: str, bold: bool = False) -> Any:
        """Return a cell of these lines, the first perhaps in bold; empty ones are left out."""
        from reportlab.platypus import Paragraph

        marked = [escape(self.face.clean(line)) for line in lines if line]
        if bold:
            marked[0] = f"<b>{marked[0]}</b>"
        return Paragraph("<br/>".join(marked), self.styles["cell"])

    def _summary(self, kind: str, rows: Sequence[Summary]) -> Any:
        cells = [
            [self._cell(one.name, bold=True), self._cell(str(one.number)), self._cell(one.meaning)]
            for one in rows
        ]
        colours = [COLOURS.get(one.name, "") for one in rows]
        return self._table((kind, "claims", "meaning"), cells, (0.24, 0.08, 0.68), colours)

    def _entry(self, entry: Entry) -> list[Any]:
        why = [entry.reason, *entry.remarks]
        why += [f"Reading: {entry.reading}"] if entry.reading else []
        why += [f"Conditions: {entry.conditions}"] if entry.conditions else []
        off = entry.off if entry.off != "—" else ""
        return [
            self._cell(entry.quantity, entry.model, entry.setting, entry.id, bold=True),
            self._cell(entry.printed),
            self._cell(entry.recomputed, off),
            self._cell(entry.bound),
            self._cell(entry.verdict, f"[{entry.rule}]", bold=True),
            self._cell(*why, f"Source: {entry.source}"),
        ]

    def _record(self, record: Record) -> list[Any]:
        return [
            self._cell(record.quantity, record.id, bold=True),
            *(self._cell(text) for text in (record.model, record.setting)),
            self._cell(record.printed),
            self._cell(record.source),
        ]

    def _table(
        self,
        head: Sequence[str],
        rows: Sequence[list[Any]],
        widths: Sequence[float],
        colours: Sequence[str] = (),
    ) -> Any:
        """Return a table whose header stands on every page that it goes on to."""
        from reportlab.lib.colors import HexColor
        from reportlab.platypus import LongTable, TableStyle

        style: list[tuple[Any, ...]] = [
            ("BACKGROUND", (0, 0), (-1, 0), HexColor(_HEADER)),
            ("LINEBELOW", (0, 0), (-1, 0), 0.9, HexColor("#555555")),
            ("LINEBELOW", (0, 1), (-1, -1), 0.3, HexColor("#bbbbbb")),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("TOPPADDING", (0, 0), (-1, -1), 2.5),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
        ]
        style += [
            ("LINEBEFORE", (0, row), (0, row), 5, HexColor(colour))
            for row, colour in enumerate(colours, 1)
            if colour
        ]
        cells = [[self._text("head", text) for text in head], *rows]
        columns = [self.width * share for share in widths]
        tall = any(self._height(row, widths) > _HIGHEST for row in rows)  # it fits no page
        look = TableStyle(style)
        return LongTable(cells, columns, repeatRows=1, style=look, splitInRow=int(tall))


def _outlined(paragraph: Any, title: str, level: int) -> Callable[..., Any]:
    """Return a kind of paragraph that adds itself to the outline where it is drawn."""

    class Outlined(paragraph):  # type: ignore[misc]
        def draw(self) -> None:
            key = f"heading-{self.canv.getPageNumber()}-{title}"
            self.canv.bookmarkPage(key)
            self.canv.addOutlineEntry(title, key, level, closed=False)
            super().draw()

    return Outlined
