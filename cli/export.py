"""Documents as JSON, CSV, Markdown and LaTeX, and files that are replaced in one step."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from ..costmodel import InvalidInput
from .document import Column, Document, Table
from .files import not_an_input
from .options import Format, Sink


def deliver(
    sink: Sink,
    build: Callable[[], Document],
    schedule: str | None = None,
    config: str | None = None,
) -> None:
    """Check where output goes, then do the work, then write it.

    Raises:
        InvalidInput: Nowhere to write, or the file is the `schedule` or `config` that the command
            reads.
    """
    form, path = sink.chosen()
    if path:
        not_an_input(path, sink.output, schedule, config)
    if path is None and sys.stdout is None:
        raise InvalidInput("--output", None, "is needed: standard output is closed", "name a file")
    text = render(build(), form, to_file=path is not None)
    if path is None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader left (`| head`): fine, but Python would complain at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        from ..presets.files import replace  # most answers go to standard output

        replace(path, text.encode())


def render(document: Document, form: Format, *, to_file: bool = False) -> str:
    """Return the document in a form, ending in a newline."""
    if form == "json":
        return as_json(document)
    if form == "csv":
        return as_csv(document)
    if form == "markdown":
        return as_markdown(document)
    if form == "latex":
        return as_latex(document)
    from .render import as_table

    return as_table(document, plain=to_file)


def as_json(document: Document) -> str:
    """Return the payload: raw integers, unrounded doubles."""
    import json

    # A narrow locale would turn signs into question marks; escapes survive everywhere.
    escape = "utf" not in (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    return json.dumps(document.payload, indent=2, ensure_ascii=escape) + "\n"


def as_csv(document: Document) -> str:
    """Return the records with a header row; numbers are raw and in base units."""
    import csv
    import io

    buffer = io.StringIO()
    columns = list(document.records[0]) if document.records else []
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(document.records)
    return buffer.getvalue()


def as_markdown(document: Document) -> str:
    """Return GitHub tables; the last line is the sentence for a methods section."""
    blocks = [f"### {document.title}"]
    blocks.append("\n".join(f"- {label}: {text}" for label, text in document.facts))
    for table in document.tables:
        blocks.append(f"**{table.title}**" if table.title else "")
        blocks.append(_markdown_table(table))
    blocks.append("\n".join(f"- {note}" for note in document.notes))
    blocks.append(document.sentence)
    return "\n\n".join(block for block in blocks if block) + "\n"


def _markdown_table(table: Table) -> str:
    def line(cells: list[str]) -> str:
        return (
            "| "
            + " | ".join(_indented(cell, "&emsp;").replace("|", "\\|") for cell in cells)
            + " |"
        )

    rule = ["---:" if column.align == "right" else "---" for column in table.columns]
    lines = [line([_header(column) for column in table.columns]), line(rule)]
    return "\n".join(lines + [line(list(row)) for row in table.rows])


def _indented(cell: str, step: str) -> str:
    """Return a cell with its leading spaces, which mark sub-rows, as `step`."""
    return step * (len(cell) - len(cell.lstrip()) > 0) + cell.strip()


def as_latex(document: Document) -> str:
    """Return a paragraph per table (booktabs); facts and definitions are comments."""
    lines = [f"% {document.title} (needs \\usepackage{{booktabs}})"]
    lines += [f"% {label}: {text}" for label, text in document.facts]
    lines += [f"% {note}" for note in document.notes]
    for table in document.tables:
        spec = "".join("r" if column.align == "right" else "l" for column in table.columns)
        title = f"\\textbf{{{_tex(table.title)}}}\\\\" if table.title else ""
        lines += ["", f"\\noindent{title}", f"\\begin{{tabular}}{{{spec}}}", "\\toprule"]
        lines.append(_tex_row([_header(column) for column in table.columns]))
        lines.append("\\midrule")
        lines += [_tex_row(row) for row in table.rows]
        lines += ["\\bottomrule", "\\end{tabular}"]
    lines += ["", _tex(document.sentence)] if document.sentence else []
    return "\n".join(lines) + "\n"


def _tex_row(cells: Sequence[str]) -> str:
    return " & ".join(_indented(_tex(cell), "\\quad ") for cell in cells) + " \\\\"


def _header(column: Column) -> str:
    return column.header.replace("\n", " ")


_TEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "×": "$\\times$",
    "·": "$\\cdot$",
    "²": "$^2$",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "⌊": "$\\lfloor$",
    "⌋": "$\\rfloor$",
    "Σ": "$\\Sigma$",
    "≥": "$\\geq$",
    "→": "$\\rightarrow$",
    "…": "\\dots{}",
    "|": "$|$",
    "<": "$<$",
    ">": "$>$",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)
