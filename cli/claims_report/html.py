"""The report as one HTML page: style and figures inside, no scripts, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from .content import Content, Entry, Record, Section, Summary, slug
from .style import style_sheet
from .svg import as_svg
from .words import CAPTIONS, CONVENTIONS, HOW, READING, TITLE


def as_html(content: Content) -> bytes:
    """Return the page."""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en-GB">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta name="generator" content="tokencost {escape(content.version)}">',
        f"<title>{TITLE}</title>",
        f"<style>\n{style_sheet()}</style>",
        "</head>",
        "<body>",
        "<main>",
        *_front(content),
        *(_figure(place, *one) for place, one in enumerate(content.figures, 1)),
        '<h2 id="claims">Claims by method</h2>',
        _contents(content.sections),
        *(line for section in content.sections for line in _section(section)),
        "</main>",
        "</body>",
        "</html>",
    ]
    return ("\n".join(parts) + "\n").encode()


def _front(content: Content) -> Iterable[str]:
    methods = len(content.sections)
    yield f"<h1>{TITLE}</h1>"
    yield (
        f'<p class="lead">{content.judged} claims and {content.recorded} figures that are recorded '
        f"alone, of {methods} method{'s' * (methods != 1)}; tokencost {escape(content.version)}</p>"
    )
    yield '<h2 id="reading">How to read this report</h2>'
    yield from (f"<p>{escape(text)}</p>" for text in (*HOW, READING))
    yield from _list(CONVENTIONS)
    yield '<h2 id="verdicts">Verdicts</h2>'
    yield _summary("Verdicts, from the best to the worst", "verdict", content.verdicts)
    yield '<h2 id="rules">Rules</h2>'
    yield _summary("Rules that the verdicts rest on", "rule", content.rules)
    if content.figures:
        yield '<h2 id="figures">Figures</h2>'


def _list(texts: Sequence[str]) -> Iterable[str]:
    yield "<ul>"
    yield from (f"<li>{escape(text)}</li>" for text in texts)
    yield "</ul>"


def _summary(caption: str, kind: str, rows: Sequence[Summary]) -> str:
    lines = []
    for row in rows:
        name = _verdict(row.name) if kind == "verdict" else escape(row.name)
        lines.append(
            f'<tr><th scope="row"{_anchor(kind, row.name)}>{name}</th>'
            f'<td class="figure">{row.number}</td><td>{escape(row.meaning)}</td></tr>'
        )
    head = _head(((kind, ""), ("claims", "figure"), ("meaning", "")))
    return _table("", caption, head, lines)


def _anchor(kind: str, name: str) -> str:
    return f' id="{kind}-{slug(name)}"'


def _verdict(name: str) -> str:
    return f'<span class="verdict {slug(name)}">{escape(name)}</span>'


def _head(columns: Sequence[tuple[str, str]]) -> str:
    cells = (
        f'<th scope="col"{f" class={chr(34)}{name}{chr(34)}" if name else ""}>{escape(text)}</th>'
        for text, name in columns
    )
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def _table(name: str, caption: str, head: str, rows: Sequence[str]) -> str:
    style = f' class="{name}"' if name else ""
    body = "\n".join(rows)
    return (
        f"<table{style}>\n<caption>{escape(caption)}</caption>\n{head}\n"
        f"<tbody>\n{body}\n</tbody>\n</table>"
    )


def _figure(place: int, title: str, picture: object) -> str:
    svg = as_svg(picture, f"figure-{place}", title)  # type: ignore[arg-type]
    caption = f"Figure {place}. {title}. {CAPTIONS[title]}"
    return f"<figure>\n{svg}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"


def _contents(sections: Sequence[Section]) -> str:
    links = "\n".join(
        f'<li><a href="#{one.slug}">{escape(one.title)}</a> ({_numbers(one)})</li>'
        for one in sections
    )
    return f'<nav aria-label="Methods">\n<ul>\n{links}\n</ul>\n</nav>'


def _numbers(section: Section) -> str:
    return str(len(section.entries) + len(section.records))


def _section(section: Section) -> Iterable[str]:
    yield f'<section aria-labelledby="{section.slug}">'
    yield f'<h3 id="{section.slug}">{escape(section.title)}</h3>'
    told = ", ".join(f"{number} {name}" for name, number in section.counts.items() if number)
    yield f'<p class="tally">{escape(told or "no figure that can be judged")}</p>'
    if section.entries:
        columns = (
            ("claim", ""),
            ("printed", "figure"),
            ("recomputed", "figure"),
            ("bound", "figure"),
            ("verdict", ""),
            ("why, and source", ""),
        )
        rows = [_entry(one) for one in section.entries]
        yield _table("claims", f"{section.title}: claims", _head(columns), rows)
    if section.records:
        names = ("figure", "model", "setting", "printed", "source")
        head = _head([(name, "figure" * (name == "printed")) for name in names])
        caption = f"{section.title}: recorded, not judged"
        yield _table("claims", caption, head, [_record(one) for one in section.records])
    yield "</section>"


def _entry(entry: Entry) -> str:
    of = " · ".join(part for part in (entry.model, entry.setting) if part)
    claim = (
        f'{escape(entry.quantity)}<br><span class="small">{escape(of)}</span><br>'
        f'<span class="id">{escape(entry.id)}</span>'
    )
    off = f'<br><span class="small">{entry.off}</span>' if entry.off != "—" else ""
    why = [f"<p>{escape(entry.reason)}</p>"]
    why += [f"<p>{escape(text)}</p>" for text in entry.remarks]
    small = [("Reading", entry.reading), ("Conditions", entry.conditions)]
    small.append(("Source", entry.source))
    why += [f'<p class="small">{name}: {escape(text)}</p>' for name, text in small if text]
    rule = f'<br><a class="small" href="#rule-{slug(entry.rule)}">{escape(entry.rule)}</a>'
    cells = (
        _cell("printed", "figure", escape(entry.printed)),
        _cell("recomputed", "figure", escape(entry.recomputed) + off),
        _cell("bound", "figure", escape(entry.bound)),
        _cell("verdict", "", _verdict(entry.verdict) + rule),
        _cell("why, and source", "why", "".join(why)),
    )
    place = f' id="claim-{escape(entry.id)}"'
    return f'<tr{place}><th scope="row" class="claim">{claim}</th>{"".join(cells)}</tr>'


def _record(record: Record) -> str:
    claim = f'{escape(record.quantity)}<br><span class="id">{escape(record.id)}</span>'
    cells = (
        _cell("model", "", escape(record.model)),
        _cell("setting", "", escape(record.setting)),
        _cell("printed", "figure", escape(record.printed)),
        _cell("source", "small", escape(record.source)),
    )
    place = f' id="claim-{escape(record.id)}"'
    return f'<tr{place}><th scope="row" class="claim">{claim}</th>{"".join(cells)}</tr>'


def _cell(label: str, name: str, inner: str) -> str:
    style = f' class="{name}"' if name else ""
    return f'<td data-label="{escape(label)}"{style}>{inner}</td>'
