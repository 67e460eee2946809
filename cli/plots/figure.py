"""What all figures share: matplotlib on demand, two looks, colours that print, axes of layers."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...costmodel import InvalidInput, MissingExtra
from ..files import writable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENDINGS = (".png", ".svg", ".pdf")
#: Okabe and Ito's colours, which colour-blind readers tell apart.
BLACK, ORANGE, SKY, GREEN = "#000000", "#e69f00", "#56b4e9", "#009e73"
BLUE, VERMILLION, PURPLE = "#0072b2", "#d55e00", "#cc79a7"
GREY = "#999999"
#: Opacity of what a schedule saves.
PALE = 0.3
#: Text stays text in vector files, and files do not change with the day they are made.
STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "grid.linewidth": 0.3,
    "grid.color": "0.8",
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "tokencost",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


class Look(NamedTuple):
    """How large a figure and its letters are.

    Attributes:
        name: What --style calls it.
        width: Inches; a page's column is 3.4 wide.
        font, small: Points of the axes' letters, and of caption and legend.
        line, marker: Points of lines, and of markers.
        dpi: Pixels per inch of a PNG.
    """

    name: str
    width: float
    font: float
    small: float
    line: float
    marker: float
    dpi: int

    @property
    def narrow(self) -> bool:
        """Whether the figure is a column wide."""
        return self.width < 5


SCREEN = Look("screen", 6.9, 8, 7.5, 1.2, 4.5, 160)
PAPER = Look("paper", 3.4, 7, 6, 0.9, 3, 300)
#: Inches of a page that text fills, from its top to its bottom.
PAGE = 9
LOOKS = {look.name: look for look in (SCREEN, PAPER)}


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


@contextlib.contextmanager
def styled(look: Look) -> Iterator[None]:
    """Give matplotlib this project's settings, whatever the user's own are."""
    import matplotlib as mpl

    sizes: Any = {
        "font.size": look.font,
        "axes.titlesize": look.font,
        "legend.fontsize": look.small,
        "lines.linewidth": look.line,
        "lines.markersize": look.marker,
    }
    with mpl.rc_context(), warnings.catch_warnings():
        # A schedule's name in letters that the font lacks: PNG and PDF show boxes, SVG the name.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        mpl.rcdefaults()
        mpl.rcParams.update({**STYLE, **sizes})
        yield


def rendered(figure: Figure, form: str, look: Look) -> bytes:
    """Return the figure's file in a form: png, svg or pdf."""
    buffer = io.BytesIO()
    undated: dict[str, dict[str, Any]] = {
        "svg": {"Date": None},
        "pdf": {"CreationDate": None},
        "png": {"Software": None},
    }
    with styled(look):
        figure.savefig(buffer, format=form, dpi=look.dpi, metadata=undated[form])
    return buffer.getvalue()


def whole_axis(axis: Any) -> None:
    """Give an axis ticks at whole numbers alone."""
    from matplotlib.ticker import MaxNLocator

    locator = MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    axis.set_major_locator(locator)


def layer_axis(axes: Axes, layers: int) -> None:
    """Let an x-axis count layers, each half a step to either side of its number."""
    axes.set_xlim(-0.7, layers - 0.3)
    whole_axis(axes.xaxis)
    axes.set_xlabel("layer")


def edges(layers: int) -> list[float]:
    """Return where layers begin and end on a layer axis."""
    return [layer - 0.5 for layer in range(layers + 1)]
