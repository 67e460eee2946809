"""What a figure says of itself: model, workload, schedule, convention, wrapped to its width."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ...costmodel import Report
from ...costmodel.flops import UNITS, Convention
from ..method_notes import method_notes
from ..summary import counted, schedule_text, sizes_text
from .figure import Look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Height of a line over the size of its letters.
_LINE = 1.2
#: A number and its unit, which no line parts.
_UNIT = re.compile(r"(\d) (%|[kMGTPE]?(?:FLOP|MAC|B)\b|GiB|ms\b|tokens\b)")


class Caption(NamedTuple):
    """Lines above a figure.

    Attributes:
        lines: What every figure says.
        details: What a narrow one leaves to its data and to the other commands.
        doubts: What is not verified; every figure says it, last.
    """

    lines: tuple[str, ...]
    details: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def text(self, look: Look) -> str:
        """Return the lines, each wrapped to the figure's width."""
        shown = [*self.lines, *(() if look.narrow else self.details), *self.doubts]
        return "\n".join(_wrapped(line, look) for line in shown)


def caption(
    report: Report,
    headline: str,
    convention: Convention | None = None,
    details: tuple[str, ...] = (),
    *,
    more: tuple[str, ...] = (),
) -> Caption:
    """Return what a figure of a report says: a headline, workload, schedule, and `more`."""
    lines = [f"{report.model.id}: {headline}", workload_text(report)]
    if report.schedule:
        lines.append(f"schedule: {schedule_text(report)}")
    choices = (counted(report),) if convention == "exact" else ()
    doubts = (*_assumed(report), *report.model.uncertainty)
    return Caption((*lines, *more), (*choices, *details), doubts)


def workload_text(report: Report) -> str:
    """Return images or video, tokens, batch and generated tokens."""
    plan, workload = report.dense, report.workload
    what = sizes_text(plan.images)
    if plan.frames:
        what = f"{plan.frames} frames of {what}"
    tokens = (
        f"{what}: {plan.dense_visual_tokens} visual + {plan.structural_tokens} structural + "
        f"{plan.text_tokens} text tokens, batch {plan.batch}"
    )
    new = workload.new_tokens
    return f"{tokens}, {new} new tokens" if new > 1 else tokens


def convention_text(convention: Convention) -> str:
    """Return a convention with its unit."""
    return f"convention {convention} [{UNITS[convention]}]"


def _assumed(report: Report) -> tuple[str, ...]:
    """Return how much of a method's schedule is assumed."""
    head, *assumed = method_notes(report.schedule) or ("",)
    if not assumed:
        return ()
    what = "1 detail" if len(assumed) == 1 else f"{len(assumed)} details"
    name = head.removeprefix("method ").partition(":")[0]
    return (f"assumed: {what} of the schedule (`tokencost methods show {name}`)",)


def crown(figure: Figure, said: Caption, look: Look, body: float, rows: float = 1) -> None:
    """Write the caption above a figure, whose panels stay `body` inches high.

    `rows` are those of the legend below.
    """
    text = said.text(look)
    lines = text.count("\n") + 1
    height = body + (lines * _LINE * look.small + rows * 1.6 * look.small + 8) / 72
    figure.set_size_inches(look.width, height)
    figure.suptitle(text, fontsize=look.small, x=0.01, ha="left", parse_math=False)


def _wrapped(line: str, look: Look) -> str:
    """Return a line broken where it would leave the figure; what follows is set in."""
    rows = [""]
    most = 0.97 * 72 * look.width
    for word in _UNIT.sub("\\1\u00a0\\2", line).split(" "):
        longer = f"{rows[-1]} {word}" if rows[-1].strip() else rows[-1] + word
        if rows[-1].strip() and _points(longer, look) > most:
            rows.append(f"    {word}")
        else:
            rows[-1] = longer
    return "\n".join(rows).replace("\u00a0", " ")


def _points(text: str, look: Look) -> float:
    """Return how wide a text is."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    properties = FontProperties(size=look.small)
    return float(text_to_path.get_text_width_height_descent(text, properties, False)[0])
