"""Cost per layer: encoder and decoder side by side, stacked by part, baseline over schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...costmodel import Report
from ...costmodel.flops import UNITS, Convention
from ..rows import Row
from ..summary import heading, provenance
from ..units import percent, prefix, with_prefix
from .caption import Caption, caption, crown
from .figure import BLACK, GREY, PALE, SCREEN, Look, edges, layer_axis, styled
from .fills import FEED_FORWARD, PROJECTIONS, SCORES
from .picture import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Parts in stacking order, from the bottom, and what fills them.
PARTS = {
    "feed-forward": FEED_FORWARD,
    "attention projections": PROJECTIONS,
    "attention scores": SCORES,
}
_SIDES = ("baseline", "scheduled")
#: side → component → layer → part → amount.
_Stacks = dict[str, dict[str, dict[int, dict[str, int]]]]


def plot(report: Report, convention: Convention) -> Plot:
    """Return the prefill's cost per layer under a convention."""
    found = rows(report, convention)
    about = {**heading(report), "convention": convention, "unit": UNITS[convention]}

    def drawn(look: Look) -> Figure:
        return _draw(report, convention, found, look)

    return Plot("layers", about, provenance(report), found, drawn)


def draw(report: Report, convention: Convention, look: Look = SCREEN) -> Figure:
    """Draw the prefill's cost per layer under a convention.

    Bars are the scheduled run, pale bars behind them and a stepped line the baseline; under
    `exact` the encoder's layers stand to the left of the decoder's. A dashed line parts the layers
    of a second encoder from those of the first, and an LLM's own encoder from its decoder.
    """
    return _draw(report, convention, rows(report, convention), look)


def rows(report: Report, convention: Convention) -> list[Row]:
    """Return a row for each component, layer and part: baseline and scheduled cost."""
    bills = [report.bill(convention, scheduled=side == "scheduled") for side in _SIDES]
    amounts = [bill.by_part() for bill in bills]
    places = {
        (component, layer, part)
        for (component, layer, part) in amounts[0].keys() | amounts[1].keys()
        if layer is not None and component in ("vision", "decoder")
    }
    names = list(PARTS)

    def order(place: Any) -> tuple[bool, int, int]:
        component, layer, part = place
        return component == "decoder", layer, names.index(part)

    return [
        {
            "component": place[0],
            "layer": place[1],
            "part": place[2],
            "convention": convention,
            "unit": UNITS[convention],
            **{side: one.get(place, 0) for side, one in zip(_SIDES, amounts, strict=True)},
        }
        for place in sorted(places, key=order)
    ]


def _draw(report: Report, convention: Convention, found: list[Row], look: Look) -> Figure:
    from matplotlib.figure import Figure

    with styled(look):
        stacks = _stacks(found)
        per_layer = [
            amount for side in stacks.values() for one in side.values() for amount in _totals(one)
        ]
        baselines = [amount for one in stacks["baseline"].values() for amount in _totals(one)]
        letter, power = prefix([max(_totals(stacks["baseline"]["decoder"]), default=0)])
        names = [name for name in ("vision", "decoder") if stacks["baseline"][name]]
        assert baselines, "a model has layers"
        sizes = [len(stacks["baseline"][name]) for name in names]
        figure = Figure(figsize=(look.width, 3), layout="constrained")
        axes = figure.subplots(1, len(names), sharey=True, squeeze=False, width_ratios=sizes)[0]
        for axis, name in zip(axes, names, strict=True):
            _bars(axis, stacks["baseline"][name], stacks["scheduled"][name], power)
            stack, border = _axis_title(report, name, look)
            axis.set_title(stack)
            if border:
                axis.axvline(border - 0.5, color="0.4", linestyle="--", linewidth=0.8)
        axes[0].set_ylim(0, 1.06 * max(per_layer) / 10**power)
        axes[0].set_ylabel(f"{letter}{UNITS[convention]} per layer")
        columns = 2 if look.narrow else 5
        _legend(figure, report, columns)
        crown(figure, _caption(report, convention), look, 2.45, rows=5 / columns)
    return figure


def _axis_title(report: Report, component: str, look: Look) -> tuple[str, int]:
    """Return what an axis shows, and the first layer of its second stack; 0 where it has one."""
    model = report.model
    if component == "vision":
        if model.second_vision is None:
            return "vision encoder", 0
        border = model.vision.num_hidden_layers
        if look.narrow:
            return f"vision encoders,\nthe second from {border} on", border
        return f"vision encoders, the second from layer {border} on", border
    if not model.decoder.encoder_layers:
        return "LLM decoder", 0
    border = model.decoder.encoder_layers
    if look.narrow:
        return f"LLM encoder,\ndecoder from layer {border} on", border
    return f"LLM encoder, and decoder from layer {border} on", border


def _stacks(found: list[Row]) -> _Stacks:
    stacks: _Stacks = {side: {"vision": {}, "decoder": {}} for side in _SIDES}
    for row in found:
        for side in _SIDES:
            layers = stacks[side][row["component"]]
            layers.setdefault(row["layer"], {})[row["part"]] = row[side]
    return stacks


def _totals(layers: dict[int, dict[str, int]]) -> list[int]:
    return [sum(parts.values()) for parts in layers.values()]


def _bars(
    axis: Axes,
    dense: dict[int, dict[str, int]],
    scheduled: dict[int, dict[str, int]],
    power: int,
) -> None:
    for side, alpha in ((dense, PALE), (scheduled, 1.0)):
        if side is dense and dense == scheduled:
            continue
        drawn, bottom = list(side), [0.0] * len(side)
        for part, fill in PARTS.items():
            heights = [side[layer].get(part, 0) / 10**power for layer in drawn]
            axis.bar(drawn, heights, 0.86, bottom=bottom, alpha=alpha, **fill.style)
            bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    layers = range(max(dense) + 1)  # layers that are left out are 0
    outline = [sum(dense.get(layer, {}).values()) / 10**power for layer in layers]
    axis.stairs(outline, edges(len(outline)), color=BLACK, linewidth=1.0)
    layer_axis(axis, len(outline))
    axis.grid(axis="y")


def _legend(figure: Figure, report: Report, columns: int) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(label=part, **fill.style) for part, fill in reversed(PARTS.items())]
    if report.schedule:
        handles.append(Patch(color=GREY, alpha=PALE, label="saved (pale)"))
    line = "dense baseline" if report.schedule else "total"
    handles.append(Line2D([], [], color=BLACK, linewidth=1.0, label=line))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def _caption(report: Report, convention: Convention) -> Caption:
    dense, amount = (report.bill(convention, scheduled=side).total for side in (False, True))
    unit = UNITS[convention]
    cost = with_prefix(dense, unit)
    if report.schedule:
        cost = f"{with_prefix(amount, unit)} of {cost} ({percent(amount, dense)})"
    outside = (_not_drawn(report),) if convention == "exact" else ()
    headline = f"cost per layer of the prefill, {cost}, convention {convention}"
    return caption(report, headline, convention, outside)


def _not_drawn(report: Report) -> str:
    """Return what lies outside the layers: parts and their sum in the scheduled run, exact."""
    by_part = report.bill("exact").by_part()
    outside = {part: 0 for _, layer, part in by_part if layer is None}
    for (_, layer, part), amount in by_part.items():
        if layer is None:
            outside[part] += amount
    *first, last = outside
    share = with_prefix(sum(outside.values()), UNITS["exact"])
    side = " of the scheduled run" if report.schedule else ""
    chosen = outside.get("selection", 0)
    selection = f", selection {with_prefix(chosen, UNITS['exact'])} of it" if chosen else ""
    return f"not drawn: {', '.join(first)} and {last}{side}, {share} together{selection}"
