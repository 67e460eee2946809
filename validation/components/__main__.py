"""Runs every family and writes docs/components.json and the table of docs/components.md."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ...costmodel import InvalidInput, TokencostError
from ...presets.files import replace
from .document import differing, document, measure, table

BEGIN, END = "<!-- components -->\n", "<!-- end of components -->\n"
DOCS = Path(__file__).resolve().parents[2] / "docs"


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; 1 if anything differs, 2 for a mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m vlm_tokencost.validation.components",
        description="Count every family's components on meta and compare them with the closed "
        "form. Without options writes docs/components.json and the table in docs/components.md.",
    )
    parser.add_argument(
        "--family", metavar="MODEL_TYPE", help="run one model type, print its table"
    )
    parser.add_argument("--output", metavar="FILE", type=Path, help="write the JSON document here")
    chosen = parser.parse_args(arguments)
    try:
        return _run(chosen.family, chosen.output)
    except TokencostError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2


def _run(family: str | None, output: Path | None) -> int:
    entries: list[dict[str, Any]] = []
    for entry in measure(family, lambda name: print(name, file=sys.stderr, flush=True)):
        entries.append(entry)
    if not entries:
        from .families import FAMILIES

        raise InvalidInput("--family", family, "is not known", f"choose from {', '.join(FAMILIES)}")
    found = document(entries)
    text = (json.dumps(found, indent=1) + "\n").encode()
    if output is not None:
        replace(output, text)
    if family is not None:
        print(table(found), end="")
    elif output is None:
        page = DOCS / "components.md"
        head, rest = page.read_text(encoding="utf-8").split(BEGIN)
        tail = rest.split(END)[1]
        replace(DOCS / "components.json", text)
        replace(page, (head + BEGIN + table(found) + END + tail).encode())
    differences = differing(found)
    print(f"{differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
