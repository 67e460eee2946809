"""Time of a request by stage: dense beside scheduled, with the bounds of each estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...costmodel.gains import speed_up
from ...costmodel.kernels import STAGES
from ...costmodel.latency import Latency, Side
from ...costmodel.timing import Interval
from ..latency_rows import BOUNDS, payload, times, times_between
from ..latency_tables import device_facts
from ..rows import Row
from ..summary import provenance
from .caption import Caption, caption, crown
from .figure import BLACK, Look, styled
from .fills import CONNECTOR, DECODE, ENCODER, LOADING, PREFILL, SELECTION
from .picture import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What fills every stage.
MARKS = {
    "load": LOADING,
    "vision": ENCODER,
    "connector": CONNECTOR,
    "selection": SELECTION,
    "prefill": PREFILL,
    "decode": DECODE,
}
FIRST, LAST = "first token", "last token"
RUNS = {
    "baseline": "dense",
    "scheduled": "scheduled",
    "text only": "no visual tokens\nin the LLM",
}


def plot(found: Latency) -> Plot:
    """Return the time of every stage of the runs, as intervals."""
    shown = rows(found)
    said = _caption(found)
    return Plot(
        "latency",
        payload(found),
        {**provenance(found.report), "device": found.device.id},
        shown,
        lambda look: _draw(shown, said, look),
    )


def rows(found: Latency) -> list[Row]:
    """Return a row for each stage and total of each run, in seconds."""
    runs = {"baseline": found.dense, "text only": found.text_only}
    if found.report.schedule is not None:
        scheduled = found.scheduled
        runs = {"baseline": found.dense, "scheduled": scheduled, "text only": found.text_only}
    timed = [name for name in STAGES if any(side.stages[name].time.upper for side in runs.values())]
    return [
        row
        for run, side in runs.items()
        for row in (*_stages(run, side, timed), *_totals(run, side))
    ]


def _stages(run: str, side: Side, timed: list[Any]) -> list[Row]:
    return [_row(run, "stage", name, side.stages[name].time) for name in timed]


def _totals(run: str, side: Side) -> list[Row]:
    found = [_row(run, "total", FIRST, side.ttft)]
    return [*found, _row(run, "total", LAST, side.end_to_end)] if side.forwards else found


def _row(run: str, kind: str, name: str, time: Interval) -> Row:
    bounds = {bound: float(one) for bound, one in zip(BOUNDS, time, strict=True)}
    return {"run": run, "kind": kind, "name": name, "unit": "s", **bounds}


def _draw(found: list[Row], said: Caption, look: Look) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    with styled(look):
        figure = Figure(figsize=(look.width, 3), layout="constrained")
        upper, lower = figure.subplots(2, 1, height_ratios=(1, 1.15))
        stages = list(dict.fromkeys(row["name"] for row in found if row["kind"] == "stage"))
        marks = [*_stacked(upper, found, stages, look)]
        _apart(lower, found, stages, look)
        columns = 3 if look.narrow else 4
        handles: list[Any] = [Patch(label=name, **MARKS[name].style) for name in stages]
        handles += marks
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        crown(figure, said, look, 3.5, -(-len(handles) // columns))
    return figure


def _of(found: list[Row], run: str, name: str) -> Row | None:
    return next((row for row in found if (row["run"], row["name"]) == (run, name)), None)


def _milliseconds(row: Row) -> tuple[float, float, float]:
    lower, central, upper = (1e3 * row[bound] for bound in BOUNDS)
    return lower, central, upper


def _whisker(row: Row) -> list[list[float]]:
    lower, central, upper = _milliseconds(row)
    return [[central - lower], [upper - central]]


def _stacked(axis: Axes, found: list[Row], stages: list[str], look: Look) -> list[Any]:
    """Draw the stages of every run one after the other, and return the marks of totals."""
    runs = list(dict.fromkeys(row["run"] for row in found))
    marks: dict[str, Any] = {}
    bars: Any = {"linestyle": "", "color": BLACK, "capsize": 2.5, "linewidth": 0.8 * look.line}
    for place, run in enumerate(runs):
        left = 0.0
        for name in stages:
            row = _of(found, run, name)
            assert row is not None
            width = _milliseconds(row)[1]
            alpha = 0.45 if run == "text only" else 1.0
            axis.barh(place, width, left=left, height=0.62, alpha=alpha, **MARKS[name].style)
            left += width
        totals = [row for row in found if row["run"] == run and row["kind"] == "total"]
        for row, shift, mark in zip(totals, (0.0, 0.18), ("D", "s"), strict=False):
            at = place + (shift if len(totals) > 1 else 0) - (0.18 if len(totals) > 1 else 0)
            drawn = axis.errorbar(
                _milliseconds(row)[1],
                at,
                xerr=_whisker(row),
                marker=mark,
                markersize=0.8 * look.marker,
                markerfacecolor="white",
                label=f"{row['name']}, lower to upper",
                **bars,
            )
            marks[row["name"]] = drawn
    axis.set_yticks(range(len(runs)), [RUNS[run] for run in runs])
    axis.set_ylim(len(runs) - 0.5, -0.5)
    axis.set_xlim(left=0)
    axis.set_xlabel("ms")
    axis.grid(axis="x")
    return list(marks.values())


def _apart(axis: Axes, found: list[Row], stages: list[str], look: Look) -> None:
    """Draw every stage of both runs beside each other, each with its own bounds.

    Stages differ by orders of magnitude, hence the logarithm; a bound of 0 leaves the panel.
    """
    runs = [run for run in dict.fromkeys(row["run"] for row in found) if run != "text only"]
    shown = [row for row in found if row["run"] in runs and row["kind"] == "stage"]
    floor = min(bound for row in shown for bound in _milliseconds(row) if bound) / 2
    for row in shown:
        lower, central, upper = _milliseconds(row)
        if not central:
            continue
        shift = (runs.index(row["run"]) - (len(runs) - 1) / 2) * 0.3
        colour = MARKS[row["name"]].colour
        filled = row["run"] == runs[-1]
        at = stages.index(row["name"]) + shift
        axis.errorbar(
            at,
            central,
            yerr=[[central - (lower or floor / 10)], [upper - central]],
            linestyle="",
            color=BLACK,
            capsize=2.5,
            linewidth=0.8 * look.line,
        )
        axis.plot(
            at,
            central,
            linestyle="",
            marker="o" if filled else "D",
            markersize=1.2 * look.marker,
            markerfacecolor=colour if filled else "white",
            markeredgecolor=BLACK if filled else colour,
            markeredgewidth=0.5 if filled else 1.2 * look.line,
            zorder=3,
        )
    axis.set_yscale("log")
    axis.set_ylim(floor, 2 * max(_milliseconds(row)[2] for row in shown))
    axis.set_xlim(-0.6, len(stages) - 0.4)
    axis.set_xticks(range(len(stages)), stages)
    axis.set_ylabel("ms")
    axis.grid(axis="y")
    if len(runs) > 1:
        axis.set_title("stages: dense (empty), scheduled (filled)")


def _caption(found: Latency) -> Caption:
    report = found.report
    until = "last" if found.dense.forwards else "first"
    headline = f"time until the {until} token on {found.device.name}, central estimate and bounds"
    if report.schedule is not None:
        gain = speed_up(found.dense.end_to_end, found.scheduled.end_to_end)
        headline += (
            f"; {times(gain.central)} as fast with the schedule "
            f"({times_between(gain.lower, gain.upper)})"
        )
    facts = tuple(f"{name}: {text}" for name, text in device_facts(found))
    return caption(report, headline, None, (), more=facts)
