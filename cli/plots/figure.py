"""What all figures share: matplotlib on demand, a style that prints, files replaced in one step."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...costmodel import InvalidInput, MissingExtra
from ...presets.files import replace
from ..files import writable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS = (".png", ".svg", ".pdf")
#: Okabe and Ito's colours: told apart by colour-blind readers, ordered by lightness for grey print.
COLOURS = {
    "feed-forward": "#56b4e9",
    "attention projections": "#0072b2",
    "attention scores": "#d55e00",
    "other": "#999999",
}
#: Text stays text in vector files, and files do not change with the day they are made.
STYLE: Any = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "tokencost",
}


def figure_file(name: str | None) -> Path:
    """Return the path of a figure that can be written, before any work.

    Raises:
        InvalidInput: No name, an ending that is no figure's, or a place that cannot be written to.
        MissingExtra: matplotlib is not installed.
    """
    kinds = ", ".join(ending[1:].upper() for ending in ENDINGS)
    if name is None:
        raise InvalidInput("--output", None, "is missing", f"name a {kinds} file")
    path = writable(name)
    if path.suffix.lower() not in ENDINGS:
        raise InvalidInput("--output", name, "is not a figure's name", f"end it in {kinds}".lower())
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtra("matplotlib", "plot")
    return path


def save(figure: Figure, path: Path) -> None:
    """Write the figure in the form that the path's ending names."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    form = path.suffix.lower()[1:]
    undated: dict[str, dict[str, Any]] = {
        "svg": {"Date": None},
        "pdf": {"CreationDate": None},
        "png": {},
    }
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format=form, dpi=200, metadata=undated[form])
    replace(path, buffer.getvalue())
