"""A report of verdicts for readers: the same content as HTML, Markdown or PDF."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from ...costmodel import InvalidInput, MissingExtra
from ...presets.claim import load_claims
from ...presets.files import replace
from ..claim_file import claims_of, refuse_overwriting, with_published
from ..claim_filters import chosen
from ..claim_verdicts import audits
from ..files import writable
from .content import Content, content

ENDINGS = (".html", ".md", ".pdf")


def write(output: str | None, method: str | None, model: str | None, file: str | None) -> None:
    """Audit the claims that the filters leave, and write the report.

    Raises:
        InvalidInput: A name that is no report's or cannot be written, or a filter or file that is
            wrong.
        MissingExtra: A PDF without reportlab.
    """
    path = _report_file(output)
    if file:
        refuse_overwriting(output, file)
        own = claims_of(file)
        claims, known = own.claims, with_published(own.claims)
    else:
        known = load_claims()
        claims = tuple(known.values())
    verdicts = audits(chosen(claims, method, model), known)
    replace(path, renderer(path)(content(verdicts)))


def renderer(path: Path) -> Callable[[Content], bytes]:
    """Return what renders the form that a path's ending names."""
    if path.suffix.lower() == ".pdf":
        from .pdf import as_pdf

        return as_pdf
    if path.suffix.lower() == ".md":
        from .markdown import as_markdown

        return as_markdown
    from .html import as_html

    return as_html


def _report_file(name: str | None) -> Path:
    """Return the path of a report that can be written, before any work."""
    kinds = ", ".join(ENDINGS)
    if name is None:
        raise InvalidInput("--output", None, "is missing", f"name a file that ends in {kinds}")
    path = writable(name)
    if path.suffix.lower() not in ENDINGS:
        raise InvalidInput("--output", name, "is not a report's name", f"end it in {kinds}")
    if path.suffix.lower() == ".pdf" and importlib.util.find_spec("reportlab") is None:
        raise MissingExtra("reportlab", "report")
    return path
