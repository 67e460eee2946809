"""Published scores against the recomputed cost of their settings, with those that are dominated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...costmodel.flops import UNITS
from ...presets import load_model
from ...presets.result import AVERAGE, ResultTable
from ..results_rows import Question, averaged_text, rows
from ..results_tables import effective_text, flat, nominal_text
from ..rows import Row
from ..units import prefix
from .caption import Caption, convention_text, crown
from .figure import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, Look, styled
from .picture import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Forms that show whether they are filled, and colours; no two of the first 42 have both alike.
_MARKERS = "osD^v<>"
_COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY)
#: Hollow markers need more room than those of other figures.
_LARGER = 1.25


def plot(table: ResultTable, question: Question) -> Plot:
    """Return the results of a table, of which at least one has a cost and a score."""
    listed = rows(((table, result) for result in table.results), question)
    about = {
        "table": table.id,
        "title": table.title,
        "benchmark": question.benchmark,
        "convention": question.convention,
        "unit": UNITS[question.convention],
        "text_tokens": question.text_tokens,
        "source": table.source,
    }
    said = _caption(table, listed, question)
    numbers = [flat(row) for row in listed]
    return Plot(
        "pareto", about, {}, numbers, lambda look: _draw(listed, table, question, said, look)
    )


def drawn(listed: list[Row]) -> list[Row]:
    """Return the rows that have a cost and a score."""
    return [row for row in listed if row["cost"] is not None and row["score"] is not None]


def _draw(
    listed: list[Row], table: ResultTable, question: Question, said: Caption, look: Look
) -> Figure:
    from matplotlib.figure import Figure

    with styled(look):
        shown = drawn(listed)
        letter, power = prefix([row["cost"] for row in shown])
        figure = Figure(figsize=(look.width, 3), layout="constrained")
        axis = figure.subplots()
        _front(axis, shown, power)
        groups = _groups(shown)
        handles = [
            _method(axis, name, group, _style(group, table.relative, place, look), power)
            for place, (name, group) in enumerate(groups.items())
        ]
        axis.set_xlabel(f"prefill [{letter}{UNITS[question.convention]}], {question.convention}")
        axis.set_ylabel(_score_label(table, question))
        axis.set_xlim(0, 1.05 * max(row["cost"] for row in shown) / 10**power)
        axis.margins(y=0.08)
        axis.grid()
        columns = 1 if look.narrow else 2
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=columns,
            handletextpad=0.3,
            columnspacing=1.5,
            labelspacing=0.3,
        )
        crown(figure, said, look, 2.5, 0.9 * -(-len(handles) // columns))
    return figure


def _score_label(table: ResultTable, question: Question) -> str:
    """Return what is drawn; a mean of shares is in percent of the unreduced model's."""
    if question.benchmark != AVERAGE:
        return question.benchmark
    over = f" of {len(table.shared)} benchmarks" if table.uneven else ""
    return f"{AVERAGE}{over}{' [% of dense]' if table.reference else ''}"


def _groups(shown: list[Row]) -> dict[str, list[Row]]:
    """Return the rows of each method; without methods, each row by itself."""
    reduced = any(row["applies"] for row in shown)
    groups: dict[str, list[Row]] = {}
    for row in shown:
        groups.setdefault(row["method"] if reduced else row["id"], []).append(row)
    return groups


def _front(axis: Axes, shown: list[Row], power: int) -> None:
    """Draw the best score that each cost buys."""
    best = sorted(
        (row["cost"] / 10**power, row["compared_score"]) for row in shown if not row["dominated_by"]
    )
    axis.step(
        [cost for cost, _ in best],
        [score for _, score in best],
        where="post",
        color=BLACK,
        linestyle="--",
        linewidth=0.7,
        zorder=1,
    )


def _style(group: list[Row], start: str, place: int, look: Look) -> dict[str, Any]:
    """Return form and colour of a method; the unreduced model that others start from is a star."""
    size = _LARGER * look.marker
    if group[0]["id"] == start:
        return {"marker": "*", "color": BLACK, "markersize": 1.5 * size}
    colour = _COLOURS[place % len(_COLOURS)]
    return {"marker": _MARKERS[place % len(_MARKERS)], "color": colour, "markersize": size}


def _method(axis: Axes, name: str, group: list[Row], style: dict[str, Any], power: int) -> Any:
    """Draw a method's settings and return its entry in the legend."""
    from matplotlib.lines import Line2D

    ordered = sorted(group, key=lambda row: row["cost"])
    costs = [row["cost"] / 10**power for row in ordered]
    axis.plot(
        costs, [row["compared_score"] for row in ordered], color=style["color"], linewidth=0.6
    )
    for cost, row in zip(costs, ordered, strict=True):
        inside = "white" if row["dominated_by"] else style["color"]
        axis.plot(
            cost, row["compared_score"], linestyle="", markerfacecolor=inside, zorder=3, **style
        )
    label = f"{name}{'*' * any(row['assumed'] for row in group)}: {_tokens(group)}"
    width = 0.6 if len(group) > 1 else 0
    return Line2D([], [], linewidth=width, label=label, **style)


def _tokens(group: list[Row]) -> str:
    """Return nominal and effective tokens of each setting."""
    pairs = ((nominal_text(row), effective_text(row)) for row in group)
    return ", ".join(f"{nominal} → {effective}" for nominal, effective in pairs)


def _caption(table: ResultTable, listed: list[Row], question: Question) -> Caption:
    shown = drawn(listed)
    score = f"score: {question.benchmark}"
    if question.benchmark == AVERAGE:
        score = f"{AVERAGE}: {averaged_text(table) or table.average}"
    lines = [
        f"{table.title}: published scores against the prefill's recomputed cost, "
        f"{convention_text(question.convention)}",
        score,
        f"one image, {question.text_tokens} text tokens, batch 1",
        "legend: visual tokens, nominal → effective (averaged over the LLM's layers)",
        "filled: not dominated (dashed line); hollow: another costs no more and scores no less",
    ]
    if any(row["assumed"] for row in shown):
        lines.append("*: something in the setting is assumed (`tokencost results show ID`)")
    doubts = [_left_out(listed), _unverified(shown)]
    lines.append(f"source: {table.source}")  # of others' figures, also where there is little room
    return Caption(tuple(lines), (), tuple(text for text in doubts if text))


def _left_out(listed: list[Row]) -> str:
    """Return which results have no point, and why in short."""
    costless = [row["id"] for row in listed if row["cost"] is None]
    scoreless = [row["id"] for row in listed if row["cost"] is not None and row["score"] is None]
    parts = [f"no cost: {', '.join(costless)}"] if costless else []
    if scoreless:
        names = ", ".join(scoreless) if len(scoreless) <= 4 else f"{len(scoreless)} results"
        parts.append(f"no score: {names}")
    return "; ".join(parts)


def _unverified(shown: list[Row]) -> str:
    """Return the models whose configurations are not verified in full."""
    ids = dict.fromkeys(row["model"] for row in shown)
    doubtful = [one for one in ids if load_model(one).status != "verified"]
    return f"configurations not verified in full: {', '.join(doubtful)}" if doubtful else ""
