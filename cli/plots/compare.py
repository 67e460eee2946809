"""Reduction methods: cost of each as a bar, or against its average visual tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...costmodel import Report
from ...costmodel.flops import UNITS, Convention
from ...costmodel.operators import COMPONENTS
from ..method_rows import DENSE
from ..rows import Row
from ..summary import heading, provenance
from ..units import prefix
from .caption import Caption, caption, convention_text, crown
from .figure import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Look,
    styled,
)
from .fills import CONNECTOR, DECODER, ENCODER, HEAD, SELECTION
from .picture import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Components in stacking order, from the left: fill and name.
PARTS = {
    "vision": (ENCODER, "encoder"),
    "connector": (CONNECTOR, "connector"),
    "decoder": (DECODER, "LLM decoder"),
    "head": (HEAD, "head"),
    "selection": (SELECTION, "selection"),
}
#: More points than this are not told apart.
MOST_POINTS = 24
_MARKERS = "osD^vP"
_COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, GREY)
_INCHES = 0.145


def plot(
    report: Report, compared: list[Row], convention: Convention, kind: str, budget: int | None
) -> Plot:
    """Return what methods cost; `compared` are the rows of `tokencost compare`, dense first."""
    found = rows(compared, convention)
    about = heading(report)
    del about["schedule"]
    about |= {"budget": budget, "convention": convention, "unit": UNITS[convention], "drawn": kind}
    said = _caption(report, found, convention, budget)
    draw = _points if kind == "points" else _bars
    return Plot(
        "compare",
        about,
        provenance(report),
        found,
        lambda look: draw(found, said, look),
        "name fewer --methods",
    )


def rows(compared: list[Row], convention: Convention) -> list[Row]:
    """Return a row for each method: average tokens, cost, and under exact its components."""
    found = []
    for one in compared:
        costs = one["conventions"][convention]
        row = {
            "method": one["method"],
            "reason": one["reason"],
            "assumed": " ".join(one["assumed_fields"]),
            "average_visual_tokens": one["average_visual_tokens"],
            "convention": convention,
            "unit": UNITS[convention],
            "baseline": costs["baseline"],
            "scheduled": costs["scheduled"],
            "ratio": costs["ratio"],
        }
        for part in COMPONENTS if convention == "exact" else ():
            row[part] = costs["components"][part]["scheduled"]
        found.append(row)
    return found


def _priced(found: list[Row]) -> list[Row]:
    return [row for row in found if row["scheduled"] is not None]


def _label(row: Row) -> str:
    return f"{row['method']}*" if row["assumed"] else str(row["method"])


def _bars(found: list[Row], said: Caption, look: Look) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    with styled(look):
        shown = _priced(found)
        letter, power = prefix([row["scheduled"] for row in shown])
        figure = Figure(figsize=(look.width, 3), layout="constrained")
        axis = figure.subplots()
        parts = [part for part in PARTS if any(row.get(part) for row in shown)]
        left = [0.0] * len(shown)
        places = range(len(shown))
        for part in parts:
            widths = [(row[part] or 0) / 10**power for row in shown]
            axis.barh(places, widths, left=left, height=0.72, **PARTS[part][0].style)
            left = [low + width for low, width in zip(left, widths, strict=True)]
        if not parts:
            widths = [row["scheduled"] / 10**power for row in shown]
            axis.barh(places, widths, height=0.72, **DECODER.style)
        dense = shown[0]["scheduled"] / 10**power
        axis.axvline(dense, color=BLACK, linestyle="--")
        for place, row in enumerate(shown):
            axis.annotate(
                f"{100 * row['ratio']:.1f} %",
                (row["scheduled"] / 10**power, place),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=look.small,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
            )
        axis.set_yticks(places, [_label(row) for row in shown], fontsize=look.small)
        axis.set_ylim(len(shown) - 0.4, -0.6)
        axis.set_xlim(0, 1.14 * max(row["scheduled"] for row in shown) / 10**power)
        axis.set_xlabel(f"{letter}{shown[0]['unit']}, {shown[0]['convention']}")
        axis.grid(axis="x")
        handles: list[Any] = [Patch(label=PARTS[part][1], **PARTS[part][0].style) for part in parts]
        handles.append(Line2D([], [], color=BLACK, linestyle="--", label="dense"))
        columns = 3 if look.narrow else 6
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        body = 0.6 + _INCHES * len(shown) * look.font / 7
        crown(figure, said, look, body, -(-len(handles) // columns))
    return figure


def _points(found: list[Row], said: Caption, look: Look) -> Figure:
    from matplotlib.figure import Figure

    with styled(look):
        shown = _priced(found)
        letter, power = prefix([row["scheduled"] for row in shown])
        figure = Figure(figsize=(look.width, 3), layout="constrained")
        axis = figure.subplots()
        handles = [_point(axis, row, place, power) for place, row in enumerate(shown)]
        axis.set_xlabel("average visual tokens per layer")
        axis.set_ylabel(f"{letter}{shown[0]['unit']}, {shown[0]['convention']}")
        axis.set_xlim(left=0)
        axis.set_ylim(0, 1.06 * max(row["scheduled"] for row in shown) / 10**power)
        axis.grid()
        columns = 3 if look.narrow else 6
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=columns,
            handletextpad=0.1,
            columnspacing=1,
        )
        crown(figure, said, look, 2.6, -(-len(handles) // columns))
    return figure


def _point(axis: Axes, row: Row, place: int, power: int) -> Any:
    """Draw a method, hollow so that those below show; no two have both colour and form alike."""
    style: dict[str, Any] = {"marker": "*", "color": BLACK}
    if row["method"] != DENSE:
        at = place - 1
        colour = _COLOURS[at % len(_COLOURS)]
        style = {"marker": _MARKERS[at % len(_MARKERS)], "color": colour}
    (mark,) = axis.plot(
        row["average_visual_tokens"],
        row["scheduled"] / 10**power,
        linestyle="",
        markerfacecolor="none",
        label=_label(row),
        **style,
    )
    return mark


def _caption(
    report: Report, found: list[Row], convention: Convention, budget: int | None
) -> Caption:
    phase = "generation" if found[0]["baseline"] and report.workload.new_tokens > 1 else "prefill"
    at = "published settings" if budget is None else f"a budget of {budget} visual tokens"
    headline = f"reduction methods at {at}, cost of the {phase}, {convention_text(convention)}"
    more = []
    if any(row["assumed"] for row in _priced(found)):
        more.append("*: something in the schedule is assumed (`tokencost methods show ID`)")
    without = [row["method"] for row in found if row["scheduled"] is None]
    if without:
        names = f": {', '.join(without)}" if len(without) <= 6 else ""
        more.append(f"{len(without)} without figures here{names} (`tokencost compare` says why)")
    return caption(report, headline, convention, more=tuple(more))
