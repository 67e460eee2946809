"""The example notebook runs, and what it shows is what it prints.

`python tests/test_notebook.py` writes the present outputs into the notebook.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook" / "tour.ipynb"
#: Numbers in the text of a data frame, whose spacing is pandas' own.
NUMBER = re.compile(r"\d[\d.]*")


def executed(folder: Path) -> Any:
    """Return the notebook as this interpreter runs it, in a folder of its own."""
    with warnings.catch_warnings():
        # What Jupyter's own packages say of each other is no concern of ours.
        warnings.simplefilter("ignore")
        import nbformat
        from nbclient import NotebookClient

        book = nbformat.read(NOTEBOOK, as_version=4)
        resources = {"metadata": {"path": str(folder)}}
        NotebookClient(book, timeout=120, kernel_name="python3", resources=resources).execute()
    for cell in book.cells:
        cell.metadata.pop("execution", None)  # when it ran
        for output in cell.get("outputs", ()):
            output.get("metadata", {}).clear()
    return book


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The notebook as it is stored, and as it runs."""
    nbformat = pytest.importorskip("nbformat")
    run = executed(tmp_path_factory.mktemp("notebook"))
    return nbformat.read(NOTEBOOK, as_version=4), run


def shown(book: Any) -> list[tuple[str, str, object]]:
    """Return what the cells put out, as (cell, kind, content); of a picture, that there is one."""
    found: list[tuple[str, str, object]] = []
    for cell in book.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                found.append((cell.id, output.name, output.text))
            for kind, content in sorted(output.get("data", {}).items()):
                frame = "dataframe" in output["data"].get("text/html", "")
                content = NUMBER.findall(content) if frame and kind == "text/plain" else content
                if kind.startswith("image/") or (frame and kind == "text/html"):
                    content = bool(content)  # drawn and styled by other packages
                found.append((cell.id, kind, content))
    return found


def test_the_notebook_shows_what_it_prints(books):
    stored, run = books
    assert shown(stored) == shown(run)


def test_nothing_goes_wrong_in_the_notebook(books):
    for book in books:
        assert all(kind != "stderr" for _, kind, _ in shown(book)), "no warnings"
        assert {cell.id for cell in book.cells if cell.cell_type == "code"} >= {
            name for name, _, _ in shown(book)
        }


def test_the_notebook_shows_tables_of_its_own_and_a_picture(books):
    stored, _ = books
    tables = {cell for cell, kind, _ in shown(stored) if kind == "text/html"}
    assert tables >= {"load", "schedule", "report"}
    assert ("plot", "image/png") in {(cell, kind) for cell, kind, _ in shown(stored)}


def test_the_notebook_has_the_readmes_figures(books):
    stored, _ = books
    outputs = {cell: content for cell, kind, content in shown(stored) if kind == "text/plain"}
    assert outputs["ratios"] == "{'survey': 0.5706, 'gated': 0.5723, 'exact': 0.5918}"


def test_links_of_the_notebook_lead_somewhere(books):
    for cell in books[0].cells:
        for target in re.findall(r"\]\(([^)#]+)", cell.source):
            assert (NOTEBOOK.parent / target).exists(), target


def rewrite() -> None:
    """Write the present outputs into the notebook."""
    import tempfile

    import nbformat

    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(executed(Path(folder)), NOTEBOOK)


if __name__ == "__main__":
    rewrite()
