"""Tokens per layer: what runs, dense and scheduled, and what the KV cache keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ...costmodel import Report
from ...costmodel.tokenplan import TokenPlan
from ..rows import Row
from ..summary import heading, provenance
from ..units import compact
from .caption import Caption, caption, crown
from .figure import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PALE,
    SKY,
    VERMILLION,
    Look,
    edges,
    layer_axis,
    styled,
)
from .picture import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDES = ("baseline", "scheduled")
#: Panels from the top, with what their axis counts.
PANELS = {
    "encoder": "tokens in the encoder",
    "decoder": "tokens in the LLM",
    "cross-attention": "keys of cross-attention",
}
#: What a layer does with tokens.
PROCESSED, ATTENDED, FFN = "processed", "attended to", "in the FFN"
STORED, READ = "KV stored", "KV read"


class _Series(NamedTuple):
    """One line of a panel: tokens by layer; layers without a place for them are left out."""

    panel: str
    side: str
    quantity: str
    tokens: dict[int, int]


def plot(report: Report) -> Plot:
    """Return the tokens of every layer."""
    found = rows(report)
    return Plot(
        "tokens",
        {**heading(report), "unit": "token"},
        provenance(report),
        found,
        lambda look: _draw(report, found, look),
    )


def rows(report: Report) -> list[Row]:
    """Return a row for each layer and quantity of each side; tokens are of one sequence.

    Processed tokens are those of the layer's queries, through which projections and FFN run where
    all tokens do everything. The encoder is in it where the schedule changes it.
    """
    dense = report.dense
    plans = {"baseline": dense}
    if report.schedule is not None:
        plans["scheduled"] = report.scheduled
    prompt = dense.structural_tokens + dense.text_tokens
    return [
        {
            "panel": one.panel,
            "side": one.side,
            "quantity": one.quantity,
            "layer": layer,
            "unit": "token",
            "tokens": tokens,
            "text_and_structural_tokens": prompt if _prompted(dense, one.panel, layer) else None,
        }
        for one in _series(plans)
        for layer, tokens in one.tokens.items()
    ]


def _prompted(plan: TokenPlan, panel: str, layer: int) -> bool:
    """Tell whether text and structural tokens are among those that a panel shows of a layer."""
    return panel == "decoder" and not plan.layout[layer].one_token


def _series(plans: dict[str, TokenPlan]) -> list[_Series]:
    dense, last = plans["baseline"], plans.get("scheduled", plans["baseline"])
    found = []
    if last.encoder_tokens != dense.encoder_tokens or last.encoder_ffn != dense.encoder_ffn:
        for side, plan in plans.items():
            found.append(_Series("encoder", side, PROCESSED, _all(plan.encoder_tokens)))
            if plan.encoder_ffn != plan.encoder_tokens:
                found.append(_Series("encoder", side, FFN, _all(plan.encoder_ffn)))
    for side, plan in plans.items():
        found.append(_Series("decoder", side, PROCESSED, _all(plan.query)))
        if not plan.uniform:
            found.append(_Series("decoder", side, ATTENDED, _all(plan.attended)))
            found.append(_Series("decoder", side, FFN, _all(plan.ffn)))
        caching = [one.self_attention and one.generates for one in plan.layout]
        found.append(_Series("decoder", side, STORED, _some(plan.kv_stored, caching)))
        if plan.kv_read != plan.kv_stored:
            found.append(_Series("decoder", side, READ, _some(plan.kv_read, caching)))
    for side, plan in plans.items():
        crossing = [one.crosses for one in plan.layout]
        if any(crossing):
            found.append(_Series("cross-attention", side, PROCESSED, _some(plan.cross, crossing)))
            stored = [one.cross_cached for one in plan.layout]
            found.append(_Series("cross-attention", side, STORED, _some(plan.cross_stored, stored)))
    return [one for one in found if one.tokens]


def _all(tokens: Sequence[int]) -> dict[int, int]:
    return dict(enumerate(tokens))


def _some(tokens: Sequence[int], where: Sequence[bool]) -> dict[int, int]:
    return {layer: count for layer, count in enumerate(tokens) if where[layer]}


def _draw(report: Report, found: list[Row], look: Look) -> Figure:
    from matplotlib.figure import Figure

    with styled(look):
        panels = [name for name in PANELS if any(row["panel"] == name for row in found)]
        figure = Figure(figsize=(look.width, 3), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        layers = {
            "encoder": len(report.dense.encoder_tokens),
            "decoder": len(report.dense.query),
            "cross-attention": len(report.dense.query),
        }
        handles: dict[str, Any] = {}
        for axis, name in zip(axes, panels, strict=True):
            shown = [row for row in found if row["panel"] == name]
            handles |= _panel(axis, shown, layers[name], look, report.schedule is not None)
            layer_axis(axis, layers[name])
            axis.set_ylim(0, 1.07 * max(row["tokens"] for row in shown) or 1)
            axis.set_ylabel(PANELS[name])
            axis.grid(axis="y")
        columns = 2 if look.narrow else 4
        order = [*handles.values()]
        figure.legend(handles=order, loc="outside lower center", ncols=columns)
        rows_below = -(-len(order) // columns)
        crown(figure, _caption(report), look, 0.75 + 1.45 * len(panels), rows_below)
    return figure


def _panel(
    axis: Axes, shown: list[Row], layers: int, look: Look, scheduled: bool
) -> dict[str, Any]:
    """Draw a panel, and return what its signs stand for."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: dict[str, Any] = {}
    prompts = {row["layer"]: row["text_and_structural_tokens"] or 0 for row in shown}
    if any(prompts.values()):
        band: Any = {"facecolor": "0.85", "hatch": "....", "edgecolor": "white", "linewidth": 0}
        filled = [prompts.get(layer, 0) for layer in range(layers)]
        axis.stairs(filled, edges(layers), fill=True, **band)
        label = "text and structural"
        handles[label] = Patch(label=label, **band)
    lines: dict[tuple[str, str], Any] = {
        ("scheduled", PROCESSED): {"color": BLUE, "linewidth": 1.6 * look.line},
        ("baseline", PROCESSED): {"color": BLACK, "linewidth": look.line},
        ("scheduled", ATTENDED): {"color": VERMILLION, "linestyle": (0, (4, 2))},
        ("scheduled", FFN): {"color": GREEN, "linestyle": (0, (1, 1))},
        ("baseline", FFN): {"color": BLACK, "linestyle": (0, (1, 1))},
    }
    sides = {"baseline": "dense" if scheduled else "", "scheduled": "scheduled"}
    for (side, quantity), style in lines.items():
        values = _values(shown, side, quantity)
        if not values:
            continue
        steps = [values.get(layer, float("nan")) for layer in range(layers)]
        if (side, quantity) == ("scheduled", PROCESSED):
            filled = [values.get(layer, 0) for layer in range(layers)]
            axis.stairs(filled, edges(layers), fill=True, color=SKY, alpha=PALE, linewidth=0)
        # Layers without cross-attention leave gaps, beside which bars need sides.
        sided = 0 if len(values) < layers else None
        axis.stairs(steps, edges(layers), baseline=sided, **style)
        label = _label(sides[side], quantity)
        handles[label] = Line2D([], [], label=label, **style)
    marks: dict[tuple[str, str], Any] = {
        ("baseline", STORED): {"marker": "x", "color": "0.35", "markersize": 0.9 * look.marker},
        ("scheduled", STORED): {"marker": "o", "color": ORANGE, "markerfacecolor": "white"},
        ("scheduled", READ): {"marker": "+", "color": VERMILLION},
    }
    for (side, quantity), mark in marks.items():
        values = _values(shown, side, quantity)
        if values:
            label = _label(sides[side], quantity)
            style = {"linestyle": "", "markeredgewidth": 0.8 * look.line, **mark}
            (handles[label],) = axis.plot(list(values), list(values.values()), label=label, **style)
    return handles


def _values(shown: list[Row], side: str, quantity: str) -> dict[int, int]:
    return {
        row["layer"]: row["tokens"]
        for row in shown
        if (row["side"], row["quantity"]) == (side, quantity)
    }


def _label(side: str, quantity: str) -> str:
    words = f"{side}: {quantity}" if side else quantity
    return words.strip()


def _caption(report: Report) -> Caption:
    dense, plan = report.dense, report.scheduled
    average = float(plan.average_visual_tokens)
    where = "cross-attention layer" if report.model.decoder.crosses else "LLM layer"
    more = [f"average: {average:.2f} of {dense.dense_visual_tokens} visual tokens per {where}"]
    if plan.branches:
        more.append("of several ways: expectations, rounded")
    details: tuple[str, ...] = ()
    if plan.encoder_tokens == dense.encoder_tokens:
        counts = plan.encoder_tokens
        alike = f"{counts[0]} tokens in every layer"
        unlike = f"{compact(counts)} tokens in its layers"
        details = (f"encoder: {alike if len(set(counts)) == 1 else unlike}",)
    headline = "tokens per layer of one sequence, processed and cached"
    return caption(report, headline, None, details, more=tuple(more))
