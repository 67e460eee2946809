"""Operators on a device: FLOPs per byte against FLOPs per second, below both roofs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...costmodel.latency import Latency
from ..kernel_rows import kernel_rows
from ..latency_tables import device_facts, milliseconds
from ..rows import Row
from ..summary import heading, provenance
from .caption import Caption, caption, crown
from .figure import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILLION, Look, styled
from .picture import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colour and marker of every stage.
MARKS = {
    "vision": (GREEN, "^"),
    "connector": (PURPLE, "D"),
    "selection": (VERMILLION, "P"),
    "prefill": (BLUE, "o"),
    "decode": (ORANGE, "s"),
}
#: Area of the largest marker over the square of the look's marker size.
_LARGEST = 14
#: Operators that are named, of those that take longest.
_NAMED = 4
_LETTERS = "ABCD"
#: Where letters stand from their operators, in points.
_FAN = ((3, -32), (13, -27), (21, -19), (26, -9))


def plot(found: Latency) -> Plot:
    """Return the operators of a prefill and of the first decode forward on a device.

    Raises:
        InvalidInput: A schedule of several ways, whose operators are no one run's.
    """
    shown = rows(found)
    roofs = _roofs(found)
    report, device = found.report, found.device
    about = {
        **heading(report),
        "device": device.id,
        "unverified_device": list(device.unverified),
        "peaks_flop_per_second": roofs,
        "bandwidth_byte_per_second": device.bandwidth,
        "not_drawn_seconds": {side: _undrawn(found, side) for side in _sides(shown)},
    }
    said = _caption(found, shown)

    def drawn(look: Look) -> Figure:
        return _draw(shown, roofs, device.bandwidth, said, look)

    return Plot("roofline", about, {**provenance(report), "device": device.id}, shown, drawn)


def rows(found: Latency) -> list[Row]:
    """Return a row for each operator with FLOPs: all its launches, and both axes' quotients.

    Intensity is FLOPs over bytes moved, the rate FLOPs over the central time.
    """
    shown = []
    for row in _kernels(found):
        moved = row["weight_bytes"] + row["kv_bytes"] + row["other_bytes"]
        if row["flops"] and moved:
            quotients = {
                "bytes": moved,
                "flop_per_byte": row["flops"] / moved,
                "flop_per_second": row["flops"] / row["central"],
            }
            shown.append({**row, **quotients})
    return shown


def _kernels(found: Latency) -> list[Row]:
    return kernel_rows(found)


def _undrawn(found: Latency, side: str) -> float:
    """Return the central seconds of what computes no FLOPs."""
    own = [row for row in _kernels(found) if row["side"] == side and not row["flops"]]
    return float(sum(row["central"] for row in own))


def _roofs(found: Latency) -> dict[str, float]:
    """Return the peak rate of every precision that is used."""
    used = dict.fromkeys(name for one in found.arithmetic for name in (one.usual, one.narrow))
    return {name: found.device.peak(name) for name in used}


def _sides(shown: list[Row]) -> list[str]:
    return list(dict.fromkeys(row["side"] for row in shown))


def _draw(
    shown: list[Row], roofs: dict[str, float], bandwidth: float, said: Caption, look: Look
) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    with styled(look):
        figure = Figure(figsize=(look.width, 3), layout="constrained")
        axis = figure.subplots()
        axis.set_xscale("log")
        axis.set_yscale("log")
        intensities = [row["flop_per_byte"] for row in shown]
        ridge = max(roofs.values()) / bandwidth
        left, right = min(*intensities, ridge) / 2, 2.5 * max(*intensities, ridge)
        peaks = _draw_roofs(axis, roofs, bandwidth, (left, right), look)
        _points(axis, shown, look)
        axis.set_xlim(left, right)
        slowest = min(row["flop_per_second"] for row in shown)
        axis.set_ylim(slowest / 2, 2 * max(roofs.values()))
        axis.set_xlabel("FLOP per byte moved")
        axis.set_ylabel("FLOP per second, central estimate")
        axis.grid(which="major")
        stages = [name for name in MARKS if any(row["stage"] == name for row in shown)]
        handles: list[Any] = [
            Line2D([], [], linestyle="", marker=MARKS[name][1], color=MARKS[name][0], label=name)
            for name in stages
        ]
        if len(_sides(shown)) > 1:
            for label, fill in (("dense", "white"), ("scheduled", BLACK)):
                style: Any = {"marker": "o", "color": BLACK, "markerfacecolor": fill}
                handles.append(Line2D([], [], linestyle="", label=label, **style))
        handles += peaks
        columns = 4 if look.narrow and not peaks else 3 if look.narrow else 7
        pad = 0.4 if peaks else 0.1
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, handletextpad=pad)
        crown(figure, said, look, 2.4 if look.narrow else 3.2, -(-len(handles) // columns))
    return figure


def _time(row: Row) -> str:
    return f"{milliseconds(row['central'])} ms"


def _named(shown: list[Row]) -> list[tuple[str, Row]]:
    """Return the operators of the last side that take longest, with a letter each."""
    last = [row for row in shown if row["side"] == _sides(shown)[-1]]
    longest = sorted(last, key=lambda row: -row["central"])[:_NAMED]
    return list(zip(_LETTERS, longest, strict=False))


def _draw_roofs(
    axis: Axes, roofs: dict[str, float], bandwidth: float, ends: tuple[float, float], look: Look
) -> list[Any]:
    """Draw the bandwidth's slope up to the highest peak, and every peak from where it is met.

    Returns:
        Peaks whose names are the legend's to show.
    """
    top = max(roofs.values())
    axis.plot([ends[0], top / bandwidth], [ends[0] * bandwidth, top], color=BLACK)
    drawn = []
    for (name, peak), style in zip(roofs.items(), ("-", "--"), strict=False):
        label = f"{peak / 1e12:g} TFLOP/s {name}"
        across = [peak / bandwidth, ends[1]], [peak, peak]
        drawn += axis.plot(*across, color=BLACK, linestyle=style, label=label)
    if len(drawn) == 1:  # of several, the legend says which is which
        axis.annotate(
            str(drawn.pop().get_label()),
            (ends[1], top),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            fontsize=look.small,
        )
    axis.annotate(
        f"{bandwidth / 1e9:g} GB/s",
        _on_slope(ends[0], top, bandwidth),
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=look.small,
    )
    return drawn


def _on_slope(left: float, top: float, bandwidth: float) -> tuple[float, float]:
    """Return the middle of the bandwidth's slope, left of which there is room above it."""
    at = (left * top / bandwidth) ** 0.5
    return at, at * bandwidth


def _points(axis: Axes, shown: list[Row], look: Look) -> None:
    longest = max(row["central"] for row in shown)
    sides = _sides(shown)
    for row in sorted(shown, key=lambda row: -row["central"]):
        colour, marker = MARKS[row["stage"]]
        filled = row["side"] == sides[-1]
        size = _LARGEST * look.marker**2 * row["central"] / longest
        axis.scatter(
            row["flop_per_byte"],
            row["flop_per_second"],
            s=max(size, 0.15 * look.marker**2),
            marker=marker,
            facecolor=colour if filled else "none",
            edgecolor="white" if filled else colour,
            linewidth=0.4 if filled else 0.8 * look.line,
            alpha=0.85,
            zorder=3 if filled else 2.5,
        )
    # Leaders fan out to the lower right, in order, so that they do not cross.
    named = sorted(_named(shown), key=lambda one: one[1]["flop_per_byte"])
    for (letter, row), offset in zip(named, _FAN, strict=False):
        axis.annotate(
            letter,
            (row["flop_per_byte"], row["flop_per_second"]),
            xytext=offset,
            textcoords="offset points",
            fontsize=look.small,
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0},
            zorder=4,
        )


def _caption(found: Latency, shown: list[Row]) -> Caption:
    report = found.report
    forwards = "prefill and the first decode forward" if found.dense.forwards else "prefill"
    headline = f"operators of the {forwards} on {found.device.name}; area: central time"
    facts = [f"{name}: {text}" for name, text in device_facts(found)]
    longest = "; ".join(
        f"{letter} {row['kernel']}, {row['stage']}, {_time(row)}" for letter, row in _named(shown)
    )
    side = " in the scheduled run" if len(_sides(shown)) > 1 else ""
    facts.append(f"longest{side}: {longest}")
    undrawn = " and ".join(
        f"{milliseconds(_undrawn(found, side))} ms ({side})" for side in _sides(shown)
    )
    undrawn = undrawn.replace("baseline", "dense") if report.schedule else undrawn.split(" (")[0]
    facts.append(f"not drawn: passes and launches without FLOPs, {undrawn}; host time")
    counted = "1 MAC = 2 FLOP"
    if found.running.attention != "eager":
        counted += "; fused attention leaves out the pairs that a causal mask hides"
    return caption(report, headline, None, (counted,), more=tuple(facts))
