"""Documents as tables for a terminal."""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap

from .document import Document, Table

#: Width of running text. Tables take what they need: a figure that is folded can be misread.
TEXT_WIDTH = 100
TABLE_WIDTH = 1000
#: Narrower terminals fold lines themselves.
LEAST_WIDTH = 40


def as_table(document: Document, *, plain: bool = False) -> str:
    """Return the document as rich renders it; without styles for files and pipes."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    terminal = not plain and sys.stdout.isatty()
    styled = not plain and _styles(terminal)
    console = Console(
        file=io.StringIO(),
        force_terminal=styled,
        width=TABLE_WIDTH,
        highlight=False,
    )
    columns = shutil.get_terminal_size((TEXT_WIDTH, 24)).columns if terminal else TABLE_WIDTH
    width = min(max(columns, LEAST_WIDTH), TEXT_WIDTH)
    hyphens = width == TEXT_WIDTH  # the narrower, the likelier an id or a range would be broken

    def print_text(*parts: tuple[str, str]) -> None:
        """Print lines that are wrapped already: rich looks at them for their styles alone."""
        if styled:
            console.print(Text.assemble(*parts))
        else:
            console.file.write("".join(text for text, _ in parts) + "\n")

    def title(text: str) -> str:
        return textwrap.fill(text, width, break_on_hyphens=hyphens) if terminal else text

    margin = max((len(label) for label, _ in document.facts), default=0) + 4
    head = [(title(document.title), "bold")]
    for label, text in document.facts:
        lines = textwrap.wrap(text, max(width - margin, 20), break_on_hyphens=hyphens) or [""]
        head.append((f"\n  {label.ljust(margin - 2)}", "dim"))
        head.append((("\n" + " " * margin).join(lines), ""))
    print_text(*head)
    for table in document.tables:
        print_text()
        if table.title:  # a table's own title would be folded to the table's width
            print_text((title(table.title), "bold"))
        pieces: list[Table] | None = [table]
        if terminal:
            from .narrow import blocks, parts, table_width  # files and pipes have any width

            if table_width(table) > columns:
                pieces = parts(table, columns)
                if pieces is None:
                    print_text((blocks(table, width), ""))
        for piece in pieces or ():
            shown = RichTable(box=SIMPLE_HEAD)
            for column in piece.columns:
                # A unit such as [ms] is no markup.
                shown.add_column(Text(column.header), justify=column.align, no_wrap=True)
            for row in piece.rows:
                shown.add_row(*[Text(cell) for cell in row])
            console.print(shown)
    notes = [
        textwrap.fill(
            note,
            width,
            initial_indent="  ",
            subsequent_indent="    ",
            break_on_hyphens=hyphens,
        )
        for note in document.notes
    ]
    print_text(("\n".join(notes), "dim"))
    assert isinstance(console.file, io.StringIO)
    rendered = [line.rstrip() for line in console.file.getvalue().splitlines()]
    tidy = [line for index, line in enumerate(rendered) if line or rendered[index - 1]]
    return "\n".join(tidy) + "\n"


def _styles(terminal: bool) -> bool:
    """Tell whether to style: on a terminal, unless the environment says otherwise."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return terminal or bool(os.environ.get("FORCE_COLOR"))
