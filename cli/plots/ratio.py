"""Cost over prune layer and keep ratio: a heat map with lines of equal cost."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ...costmodel import Schedule
from ...costmodel.flops import UNITS, Convention
from ...costmodel.schedule import Rounding, ratio_text
from ..asked import Asked
from ..rows import Row
from ..selection_words import SELECTION
from ..summary import heading, provenance
from ..units import with_prefix
from .caption import Caption, caption, convention_text, crown
from .figure import Look, styled, whole_axis
from .picture import Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Grid:
    """What is priced: prune layers and keep ratios, each growing by equal steps."""

    def __init__(
        self, layers: tuple[int, ...], keeps: tuple[Fraction, ...], rounding: Rounding
    ) -> None:
        """Keep them."""
        self.layers, self.keeps, self.rounding = layers, keeps, rounding


def plot(asked: Asked, grid: Grid, convention: Convention) -> Plot:
    """Return the share of the dense cost under every schedule of a grid.

    Raises:
        InvalidInput: A layer that the model does not have, or a ratio that leaves no token.
    """
    found = rows(asked, grid, convention)
    report = asked.report()
    about = heading(report)
    del about["schedule"]
    about |= {"rounding": grid.rounding, "convention": convention, "unit": UNITS[convention]}
    said = _caption(asked, grid, convention)

    def drawn(look: Look) -> Figure:
        return _draw(found, grid, convention, said, look)

    return Plot("ratio", about, provenance(report), found, drawn)


def rows(asked: Asked, grid: Grid, convention: Convention) -> list[Row]:
    """Return a row for each keep ratio and prune layer: what a ratio compares, and the ratio."""
    dense = asked.report().total(convention, scheduled=False)
    found = []
    for keep in grid.keeps:
        for layer in grid.layers:
            report = asked.report(Schedule.keep(keep, layer, grid.rounding))
            amount = report.total(convention)
            found.append(
                {
                    "prune_layer": layer,
                    "keep": ratio_text(keep),
                    "visual_tokens_kept": report.scheduled.visual[layer],
                    "convention": convention,
                    "unit": UNITS[convention],
                    "baseline": dense,
                    "scheduled": amount,
                    "ratio": amount / dense,
                }
            )
    return found


def _draw(
    found: list[Row], grid: Grid, convention: Convention, said: Caption, look: Look
) -> Figure:
    from matplotlib.figure import Figure

    columns = len(grid.layers)
    shares = [100 * row["ratio"] for row in found]
    cells = [shares[first : first + columns] for first in range(0, len(shares), columns)]
    keeps = [float(keep) for keep in grid.keeps]
    with styled(look):
        figure = Figure(figsize=(look.width, 3), layout="constrained")
        axis = figure.subplots()
        # Cells meet half-way between their schedules; vector files get rectangles, no picture.
        lowest = _lowest(min(shares), max(shares))
        mesh = axis.pcolormesh(
            _borders(list(grid.layers)),
            _borders(keeps),
            cells,
            cmap="cividis",
            vmin=lowest,
            vmax=max(100, *shares),
            edgecolors="face",
            linewidth=0.1,
        )
        levels = _levels(min(shares), max(shares))
        _lines(axis, (list(grid.layers), keeps, cells), levels, look)
        axis.set_xlabel("prune layer: the first that sees fewer tokens")
        axis.set_ylabel("keep ratio")
        whole_axis(axis.xaxis)
        axis.spines[["top", "right"]].set_visible(True)
        bar = figure.colorbar(mesh, ax=axis, pad=0.02)
        bar.outline.set_linewidth(0.6)
        ends = f"\ncolours from {lowest} %" if lowest else ""
        bar.set_label(f"share of the dense cost [%], {convention}{ends}")
        crown(figure, said, look, 2.6, rows=0)
    return figure


def _lines(axis: Any, surface: tuple[Any, ...], levels: list[int], look: Look) -> None:
    """Draw lines of equal cost that are long enough to say what they stand for.

    Rims show lines and letters on dark and on light cells.
    """
    from matplotlib.patheffects import withStroke

    while levels:
        lines = axis.contour(*surface, levels, colors="white", linewidths=look.line)
        texts = axis.clabel(lines, fmt="%g %%", fontsize=look.small)
        named = {text.get_text() for text in texts}
        labelled = [level for level in levels if f"{level} %" in named]
        if labelled == levels:
            break
        lines.remove()  # with its labels
        levels = labelled
    else:
        return
    for text in texts:
        text.set_path_effects([withStroke(linewidth=1.5, foreground="black")])
    lines.set_path_effects([withStroke(linewidth=1.8 * look.line, foreground="black")])


def _borders(values: list[Any]) -> list[float]:
    """Return where cells begin and end whose middles are these values."""
    inner = [(low + high) / 2 for low, high in pairwise(values)]
    return [2 * values[0] - inner[0], *inner, 2 * values[-1] - inner[-1]]


def _lowest(least: float, most: float) -> int:
    """Return the share where colours begin: 0, unless all shares are within the upper half.

    >>> _lowest(38.4, 100), _lowest(96.2, 100)
    (0, 95)
    """
    return 0 if least < max(100, most) / 2 else 5 * int(least // 5)


def _levels(least: float, most: float) -> list[int]:
    """Return whole percentages between the least and the most, four to nine of them if any."""
    for step in (10, 5, 2, 1):
        levels = [one for one in range(step, 1000, step) if least < one < most]
        if len(levels) >= 4 or (levels and step == 1):
            return levels[:: 1 + len(levels) // 10]
    return []


def _caption(asked: Asked, grid: Grid, convention: Convention) -> Caption:
    report = asked.report()
    dense = with_prefix(report.total(convention, scheduled=False), UNITS[convention])
    phase = "generation" if report.workload.new_tokens > 1 else "prefill"
    headline = (
        f"cost of the {phase} over prune layer and keep ratio, as a share of the dense {dense}, "
        f"{convention_text(convention)}"
    )
    more = (
        "each cell keeps its ratio of the visual tokens from its layer on, rounding "
        f"{grid.rounding}; lines: equal cost; selection: {SELECTION}",
    )
    return caption(report, headline, convention, more=more)
