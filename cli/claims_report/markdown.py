"""The report as Markdown: tables alone, which every reader of Markdown shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .content import Content, Entry, Section, Summary
from .words import CONVENTIONS, COUNTS, HOW, READING, TITLE

CLAIM_COLUMNS = ("claim", "printed", "recomputed", "bound", "verdict", "why", "source")
RECORD_COLUMNS = ("figure", "model", "setting", "printed", "source")


def as_markdown(content: Content) -> bytes:
    """Return the report; its figures are in the other forms."""
    methods = len(content.sections)
    blocks = [
        f"# {TITLE}",
        f"{content.judged} claims and {content.recorded} figures that are recorded alone, of "
        f"{methods} method{'s' * (methods != 1)}; tokencost {content.version}",
        "## How to read this report",
        *HOW,
        READING,
        "\n".join(f"- {_text(one)}" for one in CONVENTIONS),
        "## Verdicts",
        _summary("verdict", content.verdicts),
        "## Rules",
        _summary("rule", content.rules),
        f"## {COUNTS}",
        _counts(content),
        "## Claims by method",
        *(block for section in content.sections for block in _section(section)),
    ]
    return ("\n\n".join(blocks) + "\n").encode()


def _summary(kind: str, rows: Sequence[Summary]) -> str:
    return _table(
        (kind, "claims", "meaning"), [(one.name, one.number, one.meaning) for one in rows]
    )


def _counts(content: Content) -> str:
    names = [one.name for one in content.verdicts if one.number]
    rows = [
        (one.title, *(one.counts[name] or "" for name in names), sum(one.counts.values()))
        for one in content.sections
        if one.entries
    ]
    return _table(("method", *names, "all"), rows)


def _section(section: Section) -> Iterable[str]:
    yield f"### {_text(section.title)}"
    told = ", ".join(f"{number} {name}" for name, number in section.counts.items() if number)
    yield told or "no figure that can be judged"
    if section.entries:
        yield _table(CLAIM_COLUMNS, [_entry(one) for one in section.entries])
    if section.records:
        yield "Recorded, not judged:"
        yield _table(
            RECORD_COLUMNS,
            [
                (f"{one.id}: {one.quantity}", one.model, one.setting, one.printed, one.source)
                for one in section.records
            ],
        )


def _entry(entry: Entry) -> tuple[str, ...]:
    of = "; ".join(part for part in (entry.model, entry.setting, entry.conditions) if part)
    why = [entry.reason, *entry.remarks]
    why += [f"Reading: {entry.reading}."] if entry.reading else []
    return (
        f"{entry.id}: {entry.quantity} ({of})" if of else f"{entry.id}: {entry.quantity}",
        entry.printed,
        entry.recomputed + (f" ({entry.off})" if entry.off != "—" else ""),
        entry.bound,
        f"{entry.verdict} [{entry.rule}]",
        " ".join(why),
        entry.source,
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_text(str(cell)) for cell in line)} |" for line in lines)


def _text(text: str) -> str:
    """Return a text whose signs Markdown does not take for its own.

    >>> _text("a < b & c")
    'a &lt; b &amp; c'
    """
    for sign in ("\\", "|", "*", "_", "`", "[", "]"):
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").split())
