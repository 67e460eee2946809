"""Plain HTML: escaped, without scripts, in the colours of the page whether dark or light."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

#: Lines in the page's own colour, fainter than its text.
_LINE = "border-bottom:1px solid currentColor"
_CELL = "padding:0.15em 0.7em;white-space:pre-wrap"


def table(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str] = (),
    *,
    words: int = 1,
) -> str:
    """Return a table with a caption and notes below; the first `words` columns hold words.

    >>> "&lt;b&gt;" in table("<b>", ["a"], [["1"]])
    True
    """
    lines = [
        '<table style="border-collapse:collapse;color:inherit;background:transparent">',
        f'<caption style="text-align:left;color:inherit"><b>{_text(title)}</b></caption>',
    ]
    if header:
        lines.append(f"<thead>{_row('th', header, words, f'{_CELL};{_LINE}')}</thead>")
    body = "".join(_row("td", row, words, _CELL) for row in rows)
    lines.append(f"<tbody>{body}</tbody></table>")
    if notes:
        items = "<br>".join(_text(note) for note in notes)
        lines.append(f'<div style="font-size:smaller;color:inherit">{items}</div>')
    return f"<div>{''.join(lines)}</div>"


def _row(tag: str, cells: Sequence[str], words: int, style: str) -> str:
    shown = [
        f'<{tag} style="{style};text-align:{"left" if place < words else "right"}">{_text(cell)}'
        f"</{tag}>"
        for place, cell in enumerate(cells)
    ]
    return f"<tr>{''.join(shown)}</tr>"


def _text(text: str) -> str:
    """Return a text for HTML: no markup, and leading blanks kept, which mark sub-rows."""
    bare = text.lstrip(" ")
    return "&emsp;" * (len(bare) < len(text)) + escape(bare)
