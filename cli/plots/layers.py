"""Cost per layer: encoder and decoder side by side, stacked by part, baseline over schedule."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from ...costmodel import Report
from ...costmodel.flops import UNITS, Convention
from ..summary import counted, schedule_text, sizes_text
from ..units import percent, prefix, with_prefix
from .figure import COLOURS, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Stacking order, from the bottom.
PARTS = ("feed-forward", "attention projections", "attention scores")
#: Opacity of what the schedule saves.
PALE = 0.3
#: Characters of a title line at the figure's width.
TITLE_WIDTH = 112


def draw(report: Report, convention: Convention) -> Figure:
    """Draw the prefill's cost per layer under a convention.

    Bars are the scheduled run, pale bars behind them and a stepped line the baseline; under
    `exact` the encoder's layers stand to the left of the decoder's. A dashed line parts the layers
    of a second encoder from those of the first, and an LLM's own encoder from its decoder.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        stacks = _stacks(report, convention)
        letter, power = prefix([max(_totals(stacks, "decoder", "baseline"), default=0)])
        names = [name for name in ("vision", "decoder") if stacks[name]["baseline"]]
        sizes = [len(stacks[name]["baseline"]) for name in names]
        title = _title(report, convention)
        height = 2.75 + 0.15 * (title.count("\n") + 1)
        figure = Figure(figsize=(6.9, height), layout="constrained")
        axes = figure.subplots(1, len(names), sharey=True, squeeze=False, width_ratios=sizes)[0]
        for axis, name in zip(axes, names, strict=True):
            _bars(axis, stacks[name], power)
            stack, border = _axis_title(report, name)
            axis.set_title(stack, fontsize=8)
            if border:
                axis.axvline(border - 0.5, color="0.4", linestyle="--", linewidth=0.8)
            axis.set_xlabel("layer")
        highest = max(
            amount
            for name in names
            for side in ("baseline", "scheduled")
            for amount in _totals(stacks, name, side)
        )
        axes[0].set_ylim(0, 1.06 * highest / 10**power)
        axes[0].set_ylabel(f"{letter}{UNITS[convention]} per layer")
        _legend(figure, report)
        figure.suptitle(title, fontsize=8, x=0.01, ha="left", parse_math=False)
    return figure


def _axis_title(report: Report, component: str) -> tuple[str, int]:
    """Return what an axis shows, and the first layer of its second stack; 0 where it has one."""
    model = report.model
    if component == "vision":
        if model.second_vision is None:
            return "vision encoder", 0
        border = model.vision.num_hidden_layers
        return f"vision encoders, the second from layer {border} on", border
    if not model.decoder.encoder_layers:
        return "LLM decoder", 0
    border = model.decoder.encoder_layers
    return f"LLM encoder, and decoder from layer {border} on", border


def _stacks(report: Report, convention: Convention) -> dict[str, dict[str, dict[int, Any]]]:
    """Return component → side → layer → part → amount, layers in order."""
    stacks: dict[str, dict[str, dict[int, Any]]] = {
        name: {"baseline": {}, "scheduled": {}} for name in ("vision", "decoder")
    }
    for side in ("baseline", "scheduled"):
        bill = report.bill(convention, scheduled=side == "scheduled")
        for (component, layer, part), amount in bill.by_part().items():
            if layer is not None and component in stacks:
                stacks[component][side].setdefault(layer, {})[part] = amount
    for sides in stacks.values():  # a bill groups layers that are alike
        for side, layers in sides.items():
            sides[side] = dict(sorted(layers.items()))
    return stacks


def _totals(stacks: dict[str, dict[str, dict[int, Any]]], component: str, side: str) -> list[int]:
    return [sum(parts.values()) for parts in stacks[component][side].values()]


def _bars(axis: Axes, stack: dict[str, dict[int, Any]], power: int) -> None:
    pruned = stack["scheduled"] != stack["baseline"]
    for side, alpha in (("baseline", PALE), ("scheduled", 1.0)):
        if side == "baseline" and not pruned:
            continue
        drawn, bottom = list(stack[side]), [0.0] * len(stack[side])
        for part in PARTS:
            heights = [stack[side][layer].get(part, 0) / 10**power for layer in drawn]
            style: Any = {"width": 0.86, "color": COLOURS[part], "linewidth": 0}
            axis.bar(drawn, heights, bottom=bottom, alpha=alpha, **style)
            bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    layers = range(max(stack["baseline"]) + 1)  # layers that are left out are 0
    baseline = [sum(stack["baseline"].get(layer, {}).values()) / 10**power for layer in layers]
    edges = [layer - 0.5 for layer in range(len(baseline) + 1)]
    axis.stairs(baseline, edges, color="black", linewidth=1.0)
    axis.set_xlim(-0.7, len(baseline) - 0.3)
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(
        MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )
    axis.grid(axis="y", linewidth=0.3, color="0.8")
    axis.set_axisbelow(True)


def _legend(figure: Figure, report: Report) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(color=COLOURS[part], label=part) for part in reversed(PARTS)]
    if report.schedule:
        handles.append(Patch(color=COLOURS["other"], alpha=PALE, label="saved (pale)"))
    line = "dense baseline" if report.schedule else "total"
    handles.append(Line2D([], [], color="black", linewidth=1.0, label=line))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=7.5)


def _title(report: Report, convention: Convention) -> str:
    plan = report.dense
    dense, amount = (report.bill(convention, scheduled=side).total for side in (False, True))
    unit = UNITS[convention]
    cost = with_prefix(dense, unit)
    if report.schedule:
        cost = f"{with_prefix(amount, unit)} of {cost} ({percent(amount, dense)})"
    tokens = (
        f"{sizes_text(plan.images)}: {plan.dense_visual_tokens} visual + {plan.structural_tokens} "
        f"structural + {plan.text_tokens} text tokens, batch {plan.batch}"
    )
    lines = [f"{report.model.id}, prefill: {cost}, convention {convention}", tokens]
    if report.schedule:
        lines.append(f"schedule: {schedule_text(report)}")
    if convention == "exact":
        lines.append(counted(report))
        lines.append(_not_drawn(report))
    lines += report.model.uncertainty
    return "\n".join(textwrap.fill(line, TITLE_WIDTH, subsequent_indent="    ") for line in lines)


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
