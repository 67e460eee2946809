"""Documents as tables for a terminal."""

from __future__ import annotations

import io
import shutil
import sys
import textwrap

from .document import Document

#: Width of running text. Tables take what they need: a figure that is folded can be misread.
TEXT_WIDTH = 100
TABLE_WIDTH = 1000


def as_table(document: Document, *, plain: bool = False) -> str:
    """Return the document as rich renders it; without styles for files and pipes."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    terminal = not plain and sys.stdout.isatty()
    console = Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=TABLE_WIDTH,
        highlight=False,
    )
    columns = shutil.get_terminal_size((TEXT_WIDTH, 24)).columns if terminal else TEXT_WIDTH
    width = min(columns, TEXT_WIDTH)

    def print_text(*parts: tuple[str, str]) -> None:
        """Print lines that are wrapped already: rich looks at them for their styles alone."""
        if terminal:
            console.print(Text.assemble(*parts))
        else:
            console.file.write("".join(text for text, _ in parts) + "\n")

    margin = max((len(label) for label, _ in document.facts), default=0) + 4
    head = [(document.title, "bold")]
    for label, text in document.facts:
        lines = textwrap.wrap(text, max(width - margin, 20)) or [""]
        head.append((f"\n  {label.ljust(margin - 2)}", "dim"))
        head.append((("\n" + " " * margin).join(lines), ""))
    print_text(*head)
    for table in document.tables:
        print_text()
        if table.title:  # a table's own title would be folded to the table's width
            print_text((table.title, "bold"))
        shown = RichTable(box=SIMPLE_HEAD)
        for column in table.columns:
            # A unit such as [ms] is no markup.
            shown.add_column(Text(column.header), justify=column.align, no_wrap=True)
        for row in table.rows:
            shown.add_row(*[Text(cell) for cell in row])
        console.print(shown)
    notes = [
        textwrap.fill(note, width, initial_indent="  ", subsequent_indent="    ")
        for note in document.notes
    ]
    print_text(("\n".join(notes), "dim"))
    assert isinstance(console.file, io.StringIO)
    rendered = [line.rstrip() for line in console.file.getvalue().splitlines()]
    tidy = [line for index, line in enumerate(rendered) if line or rendered[index - 1]]
    return "\n".join(tidy) + "\n"
