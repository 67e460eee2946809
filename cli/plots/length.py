"""What a prefill spends its FLOPs on, against the length of the sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...costmodel import Report
from ...costmodel.flops import UNITS, Bill, Convention
from ..rows import Row
from ..summary import heading, provenance
from .caption import Caption, caption, convention_text, crown
from .figure import Look, styled
from .fills import CONNECTOR, ENCODER, FEED_FORWARD, HEAD, PROJECTIONS, SCORES, SELECTION
from .picture import Plot
from .sequences import sequence_tokens

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Shares in stacking order, from the bottom, and what fills them.
SHARES = {
    "encoder": ENCODER,
    "connector": CONNECTOR,
    "LLM feed-forward": FEED_FORWARD,
    "LLM attention projections": PROJECTIONS,
    "LLM attention scores": SCORES,
    "head": HEAD,
    "selection": SELECTION,
}
_LLM = "decoder"
#: Names of components other than the LLM.
_NAMES = {"vision": "encoder"}
_SIDES = ("baseline", "scheduled")


def plot(over: str, counts: list[int], reports: list[Report], convention: Convention) -> Plot:
    """Return shares of the prefill's cost for growing counts of what `over` names."""
    found = rows(over, counts, reports, convention)
    last = reports[-1]
    about = heading(last)
    del about["workload"]
    about |= {"over": over, "convention": convention, "unit": UNITS[convention]}
    said = _caption(last, over, counts, convention)
    return Plot(
        "length",
        about,
        provenance(last),
        found,
        lambda look: _draw(found, last, said, look),
    )


def rows(over: str, counts: list[int], reports: list[Report], convention: Convention) -> list[Row]:
    """Return a row for each count, side and share."""
    found = []
    for count, report in zip(counts, reports, strict=True):
        for side in _SIDES[: 1 + (report.schedule is not None)]:
            bill = report.bill(convention, scheduled=side == "scheduled")
            amounts, plan = _shares(bill), report.dense
            for name in SHARES:
                if amounts.get(name):
                    found.append(
                        {
                            "over": over,
                            "count": count,
                            "visual_tokens": plan.dense_visual_tokens,
                            "structural_tokens": plan.structural_tokens,
                            "text_tokens": plan.text_tokens,
                            "sequence_tokens": sequence_tokens(report),
                            "side": side,
                            "part": name,
                            "convention": convention,
                            "unit": UNITS[convention],
                            "amount": amounts[name],
                            "share": amounts[name] / bill.total,
                        }
                    )
    return found


def _shares(bill: Bill) -> dict[str, int]:
    amounts: dict[str, int] = {}
    for (component, _, part), amount in bill.by_part().items():
        name = f"LLM {part}" if component == _LLM else _NAMES.get(component, component)
        amounts[name] = amounts.get(name, 0) + amount
    return amounts


def _draw(found: list[Row], last: Report, said: Caption, look: Look) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    with styled(look):
        sides = list(dict.fromkeys(row["side"] for row in found))
        stacked = look.narrow
        figure = Figure(figsize=(look.width, 3), layout="constrained")
        shape = (len(sides), 1) if stacked else (1, len(sides))
        axes = figure.subplots(*shape, squeeze=False, sharex=True, sharey=True).flatten()
        for axis, side in zip(axes, sides, strict=True):
            _stack(axis, [row for row in found if row["side"] == side])
            if len(sides) > 1:
                axis.set_title("dense" if side == "baseline" else "scheduled")
        crosses = last.model.decoder.crosses
        length = "tokens before any reduction" + (", visual keys included" if crosses else "")
        for axis in axes[-1:] if stacked else axes:
            axis.set_xlabel(length)
        for axis in axes if stacked else axes[:1]:
            axis.set_ylabel("share of the cost [%]")
        present = [name for name in SHARES if any(row["part"] == name for row in found)]
        handles = [Patch(label=name, **SHARES[name].style) for name in reversed(present)]
        columns = 2 if look.narrow else 4
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        body = 2.5 if len(sides) == 1 or not stacked else 4.0
        crown(figure, said, look, body, -(-len(handles) // columns))
    return figure


def _stack(axis: Axes, found: list[Row]) -> None:
    """Draw one run's shares."""
    lengths = list(dict.fromkeys(row["sequence_tokens"] for row in found))
    bottom = [0.0] * len(lengths)
    for name in SHARES:
        shares = {
            row["sequence_tokens"]: 100 * row["share"] for row in found if row["part"] == name
        }
        if not shares:
            continue
        tops = [low + shares.get(length, 0) for low, length in zip(bottom, lengths, strict=True)]
        axis.fill_between(lengths, bottom, tops, **SHARES[name].style)
        bottom = tops
    axis.set_xscale("log")
    axis.set_xlim(lengths[0], lengths[-1])
    axis.set_ylim(0, 100)
    axis.spines[["top", "right"]].set_visible(True)


def _caption(last: Report, over: str, counts: list[int], convention: Convention) -> Caption:
    word = over.replace("-", " ")
    headline = (
        f"what the prefill's cost is spent on, over {counts[0]:,} to {counts[-1]:,} {word}, "
        f"{convention_text(convention)}"
    )
    said = caption(last, headline, convention)
    lines = (said.lines[0], f"at the right end {said.lines[1]}", *said.lines[2:])
    return said._replace(lines=lines)
