"""Memory over the phases of a generation, and the cache of every layer."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from ...costmodel import Report
from ...costmodel.device import Device
from ...costmodel.peak import Asking, Peak, Phase
from ..memory_rows import SIDES
from ..memory_words import gib, options_text
from ..rows import Row
from ..summary import heading, provenance
from .caption import Caption, caption, crown
from .figure import (
    BLACK,
    PALE,
    VERMILLION,
    Look,
    edges,
    layer_axis,
    styled,
)
from .fills import CACHE, FIXED, TENSORS, WEIGHTS
from .picture import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GIB = 2**30
#: Terms in stacking order, from the bottom: fill, and what they are called.
TERMS = {
    "weights": (WEIGHTS, "weights"),
    "fixed": (FIXED, "fixed"),
    "kv_cache": (CACHE, "KV cache"),
    "other": (TENSORS, "tensors alive at once"),
}
#: Phases around the layers of the prefill, in order.
_BEFORE = ("load", "vision", "second vision", "connector", "selection")
_AFTER = ("logits", "decode")
#: A phase, and of the prefill its layer.
_Name = tuple[str, int]


def plot(report: Report, peaks: tuple[Peak, Peak], asking: Asking, device: Device | None) -> Plot:
    """Return what is alive in every phase, and the cache of every layer after the prefill."""
    found = rows(report, peaks)
    about = {
        **heading(report),
        "unit": "byte",
        "overhead": "device" if asking.context else "torch",
        "device": None if device is None else device.id,
        "capacity_bytes": None if device is None else device.memory_bytes,
        "pipeline_stages": [one.stage for one in peaks],
    }
    said = _caption(report, peaks, asking, device)
    capacity = None if device is None else device.memory_bytes

    def drawn(look: Look) -> Figure:
        return _draw(report, found, capacity, said, look)

    return Plot("memory", about, provenance(report), found, drawn)


def rows(report: Report, peaks: tuple[Peak, Peak]) -> list[Row]:
    """Return a row for each phase and layer of each side, and for each layer's cache."""
    found = []
    for side, one in zip(SIDES, peaks, strict=True):
        if side == "scheduled" and report.schedule is None:
            continue
        found += [_row(side, one, phase) for phase in _timeline(one)]
        layers = [phase.layer for phase in one.layers]
        for layer, amount in zip(layers, one.kv_per_layer, strict=True):
            row = dict.fromkeys(found[0])
            row |= {"panel": "KV cache", "side": side, "layer": layer, "unit": "byte"}
            found.append({**row, "total": amount, "peak": False})
    return found


def _timeline(one: Peak) -> list[Phase]:
    """Return the phases that run in order, those of the prefill layer by layer."""
    before = [phase for phase in one.phases if phase.name in _BEFORE]
    after = [phase for phase in one.phases if phase.name in _AFTER]
    if not one.generates:
        after = [phase for phase in after if phase.name != "decode"]
    return [*before, *one.layers, *after]


def _row(side: str, one: Peak, phase: Phase) -> Row:
    layer = one.phase.layer
    same = phase.name == one.phase.name and phase.layer == layer
    return {
        "panel": "phases",
        "side": side,
        "phase": phase.name,
        "layer": phase.layer,
        "unit": "byte",
        "weights": phase.terms.get("weights", 0),
        "fixed": phase.terms.get("fixed", 0),
        "kv_cache": phase.terms.get("KV cache", 0),
        "other": phase.transient,
        "total": phase.total,
        "peak": same,
    }


def _draw(
    report: Report, found: list[Row], capacity: int | None, said: Caption, look: Look
) -> Figure:
    from matplotlib.figure import Figure

    with styled(look):
        figure = Figure(figsize=(look.width, 3), layout="constrained")
        phases, cache = figure.subplots(2, 1, height_ratios=(2, 1))
        timeline = [row for row in found if row["panel"] == "phases"]
        handles = _phases(phases, timeline, capacity, look)
        handles += _cache(cache, [row for row in found if row["panel"] == "KV cache"])
        columns = 2 if look.narrow else 4
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        crown(figure, said, look, 3.7, -(-len(handles) // columns))
    return figure


class _Steps(NamedTuple):
    """Where phases stand: a layer of the prefill is 1 wide, others as many as their names need."""

    names: list[_Name]
    edges: list[float]

    @classmethod
    def of(cls, found: list[Row]) -> _Steps:
        """Return the steps of both sides, each once, in order."""
        order = [*_BEFORE, "prefill", *_AFTER]
        names = sorted({_step(row) for row in found}, key=lambda one: (order.index(one[0]), one[1]))
        layers = sum(name == "prefill" for name, _ in names)
        widths = [1.0 if name == "prefill" else max(1.0, layers / 12) for name, _ in names]
        return cls(names, list(accumulate(widths, initial=0.0)))

    def span(self, row: Row) -> tuple[float, float]:
        """Return where a row's step begins, and its width."""
        place = self.names.index(_step(row))
        return self.edges[place], self.edges[place + 1] - self.edges[place]

    def middle(self, row: Row) -> float:
        """Return the middle of a row's step."""
        begin, width = self.span(row)
        return begin + width / 2

    def values(self, found: list[Row], hidden: int) -> list[float]:
        """Return every step's total above what is hidden; none where a side has no such step."""
        totals = {_step(row): (row["total"] - hidden) / _GIB for row in found}
        return [totals.get(name, float("nan")) for name in self.names]

    def label(self, axis: Axes, look: Look) -> None:
        """Name phases below the axis, and the first and last layer of the prefill."""
        middles = [(low + high) / 2 for low, high in pairwise(self.edges)]
        shown = [(at, name) for at, (name, _) in zip(middles, self.names, strict=True)]
        layers = [at for at, name in shown if name == "prefill"]
        ticks = [(at, name) for at, name in shown if name != "prefill"]
        if layers:
            numbers = [layer for name, layer in self.names if name == "prefill"]
            ticks.append((layers[0], f"prefill, layer {numbers[0]}"))
            if len(layers) > 1:
                ticks.append((layers[-1], f"layer {numbers[-1]}"))
        axis.set_xticks(
            [at for at, _ in ticks],
            [name for _, name in ticks],
            rotation=45,
            ha="right",
            rotation_mode="anchor",
        )
        axis.tick_params(axis="x", labelsize=look.small)
        axis.set_xlim(-0.2, self.edges[-1] + 0.2)


def _step(row: Row) -> _Name:
    return row["phase"], row["layer"] if row["phase"] == "prefill" else -1


def _phases(axis: Axes, found: list[Row], capacity: int | None, look: Look) -> list[Any]:
    """Draw the timeline, and return what its signs stand for."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    steps = _Steps.of(found)
    sides = {side: [row for row in found if row["side"] == side] for side in SIDES}
    filled = sides["scheduled"] or sides["baseline"]
    # Weights are the same in all phases: what is above them shows, where both sides store alike.
    weights = {row["weights"] for row in found}
    hidden = weights.pop() if len(weights) == 1 else 0
    handles: list[Any] = []
    bottom = [0.0] * len(filled)
    begins, widths = zip(*(steps.span(row) for row in filled), strict=True)
    for term, (fill, label) in TERMS.items():
        heights = [row[term] / _GIB for row in filled]
        if (term == "weights" and hidden) or not any(heights):
            continue
        axis.bar(begins, heights, bottom=bottom, width=widths, align="edge", **fill.style)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
        handles.insert(0, Patch(label=label, **fill.style))
    highest = max((row["total"] - hidden) / _GIB for row in found)
    if sides["scheduled"]:
        dense = steps.values(sides["baseline"], hidden)
        axis.stairs(dense, steps.edges, baseline=None, color=BLACK)
        handles.append(Line2D([], [], color=BLACK, label="dense total"))
    for row in found:
        if row["peak"]:
            side = {"baseline": "dense", "scheduled": "scheduled"}[row["side"]]
            label = f"{side} peak" if sides["scheduled"] else "peak"
            handles.append(_peak(axis, row, steps, hidden, label, look))
    limit = 0.0 if capacity is None else (capacity - hidden) / _GIB
    if 0 < limit < 1.3 * highest:
        label = "memory of the device"
        handles.append(axis.axhline(limit, color=VERMILLION, linestyle="--", label=label))
        highest = max(highest, limit)
    axis.set_ylim(0, 1.12 * highest)
    axis.set_ylabel(f"GiB above the weights\nof {gib(hidden)} GiB" if hidden else "GiB")
    axis.grid(axis="y")
    steps.label(axis, look)
    return handles


def _peak(axis: Axes, row: Row, steps: _Steps, hidden: int, label: str, look: Look) -> Any:
    """Mark a peak."""
    dense = label.startswith("dense")
    (mark,) = axis.plot(
        steps.middle(row),
        (row["total"] - hidden) / _GIB,
        marker="v" if dense else "^",
        linestyle="",
        color=BLACK if dense else VERMILLION,
        markerfacecolor="white" if dense else VERMILLION,
        markersize=1.5 * look.marker,
        label=f"{label} {gib(row['total'])} GiB",
        zorder=4,
    )
    return mark


def _cache(axis: Axes, found: list[Row]) -> list[Any]:
    """Draw each layer's cache after the prefill, and return what its pale bars stand for."""
    from matplotlib.patches import Patch

    sides = {side: [row for row in found if row["side"] == side] for side in SIDES}
    last = max(row["layer"] for row in found)
    filled = sides["scheduled"] or sides["baseline"]
    mib = [row["total"] / 2**20 for row in filled]
    axis.bar([row["layer"] for row in filled], mib, width=0.86, **CACHE.style)
    handles: list[Any] = []
    if sides["scheduled"]:
        amounts = {row["layer"]: row["total"] / 2**20 for row in sides["baseline"]}
        steps = [amounts.get(layer, float("nan")) for layer in range(last + 1)]
        axis.stairs(steps, edges(last + 1), baseline=0, color=BLACK)
        dense = [amounts.get(row["layer"], 0) for row in filled]
        saved = [max(before - after, 0) for before, after in zip(dense, mib, strict=True)]
        pale: Any = {**CACHE.style, "alpha": PALE}
        axis.bar([row["layer"] for row in filled], saved, bottom=mib, width=0.86, **pale)
        if any(saved):
            handles.append(Patch(label="KV cache saved (pale)", **pale))
    layer_axis(axis, last + 1)
    axis.set_ylim(0, 1.07 * max(row["total"] for row in found) / 2**20 or 1)
    axis.set_ylabel("MiB of KV cache\nafter the prefill")
    axis.grid(axis="y")
    return handles


def _fitting(report: Report, peaks: tuple[Peak, Peak], capacity: int) -> str:
    """Return whether either side fits."""
    words = ["fits" if one.total <= capacity else "does not fit" for one in peaks]
    if report.schedule is None or words[0] == words[1]:
        return words[0]
    return f"dense {words[0]}, scheduled {words[1]}"


def _caption(
    report: Report, peaks: tuple[Peak, Peak], asking: Asking, device: Device | None
) -> Caption:
    before, after = peaks
    sides = f"{gib(before.total)} GiB"
    if report.schedule is not None:
        sides = f"{gib(before.total)} → {gib(after.total)} GiB"
    counted = "CUDA context included" if asking.context else "as torch counts"
    where = ", of the fullest device" if asking.sharding.devices > 1 else ""
    headline = f"peak memory {sides} ({counted}{where}; 1 GiB = 2³⁰ bytes)"
    facts = [f"{name}: {text}" for name, text in options_text(report, asking, device)]
    if device is not None:
        facts[-1] += f"; {_fitting(report, peaks, device.memory_bytes)}"
    return caption(report, headline, None, (), more=tuple(facts))
