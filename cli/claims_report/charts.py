"""The report's figures, as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...presets.claim import QUANTITIES, UNITS
from ..claim_words import printed, recomputed
from .axes import Panel, Point, panel
from .picture import (
    COLOURS,
    DARK,
    INK,
    PALE_INK,
    PAPER,
    Bar,
    Label,
    Line,
    Mark,
    Picture,
    fitted,
    legend,
)

if TYPE_CHECKING:
    from ...presets.auditing import Verdict

WIDTH = 720.0
#: Bars at most; methods with fewer claims are drawn together.
MOST_BARS = 32
_ROW, _NAMES = 15.0, 150.0
#: Dimensions that are drawn against each other, with the title of their panel and base unit.
_PANELS = {
    "compute": "cost [FLOP or MAC]",
    "share": "shares [%]",
    "factor": "factors",
    "count": "tokens",
    "bytes": "memory [B]",
    "time": "times [s]",
}
#: Quantities whose claims are factors of time, and those that are reductions of it.
_FACTORS = ("speed-up", "throughput factor", "training speed-up")
_REDUCTIONS = ("time reduction", "training reduction")


def by_method(counts: Mapping[str, Mapping[str, int]]) -> Picture | None:
    """Return stacked bars: claims of each method by verdict; None without any claim."""
    rows = [(name, dict(found)) for name, found in counts.items() if sum(found.values())]
    if not rows:
        return None
    rows.sort(key=lambda row: (-sum(row[1].values()), row[0].casefold()))
    rows, rest = rows[:MOST_BARS], rows[MOST_BARS:]
    if rest:
        together = {name: sum(found[name] for _, found in rest) for name in rest[0][1]}
        rows.append((f"{len(rest)} others", together))
    used = [name for name in COLOURS if any(found.get(name) for _, found in rows)]
    marks, head = legend(used, WIDTH, bars=True)
    top = head + 6
    most = max(sum(found.values()) for _, found in rows)
    scale = (WIDTH - _NAMES - 34) / most
    for place, (name, found) in enumerate(rows):
        marks += _bar(name, found, top + place * _ROW, scale)
    bottom = top + len(rows) * _ROW
    marks.append(Line(_NAMES, top - 2, _NAMES, bottom, INK))
    total = sum(sum(found.values()) for _, found in rows)
    summary = f"Stacked bars of {total} claims by method; the table of methods has the numbers."
    return Picture(WIDTH, bottom + 4, summary, tuple(marks))


def _bar(name: str, found: Mapping[str, int], y: float, scale: float) -> list[Mark]:
    marks: list[Mark] = [
        Label(_NAMES - 6, y + 9.5, fitted(name, _NAMES - 8, 9), 9, "end"),
    ]
    left = _NAMES + 1
    for verdict, colour in COLOURS.items():
        number = found.get(verdict, 0)
        if not number:
            continue
        width = number * scale
        marks.append(Bar(left, y, width - 0.8, _ROW - 4, colour, f"{name}: {number} {verdict}"))
        if width > 7 * len(str(number)):
            ink = PAPER if verdict in DARK else INK
            marks.append(Label(left + width / 2, y + 8.5, str(number), 8, "middle", ink))
        left += width
    marks.append(Label(left + 4, y + 9.5, str(sum(found.values())), 9, "start", PALE_INK))
    return marks


def agreement(verdicts: Sequence[Verdict]) -> Picture | None:
    """Return printed figures against recomputed ones, a panel for each kind of unit."""
    points: dict[str, list[Point]] = {name: [] for name in _PANELS}
    for one in verdicts:
        base, dimension = one.claim.base, QUANTITIES[one.claim.quantity]
        if one.value is None or base is None or dimension not in points:
            continue
        size = float(UNITS[one.claim.unit].size) * (100 if dimension == "share" else 1)
        printed_value = float(base) * (100 if dimension == "share" else 1)
        if min(printed_value, one.value) > 0:
            tip = f"{one.claim.id}: printed {printed(one.claim)}, recomputed {recomputed(one)}"
            points[dimension].append(Point(printed_value, one.value * size, one.verdict, tip))
    drawn = [(name, found) for name, found in points.items() if len(found) > 1]
    if not drawn:
        return None
    panels = [
        Panel(_PANELS[name], "printed", "recomputed", tuple(found), linear=name == "share")
        for name, found in drawn
    ]
    total = sum(len(found) for _, found in drawn)
    return _grid(panels, 3, f"Scatter of {total} printed figures against recomputed ones.")


def bounds(verdicts: Sequence[Verdict]) -> Picture | None:
    """Return claimed factors of time against the bounds that decided."""
    points = []
    for one in verdicts:
        base = one.claim.base
        if one.bound is None or base is None:
            continue
        claimed, bound = float(base), one.bound * float(UNITS[one.claim.unit].size)
        if one.claim.quantity in _REDUCTIONS:
            if max(claimed, bound) >= 1:
                continue
            claimed, bound = 1 / (1 - claimed), 1 / (1 - bound)
        elif one.claim.quantity not in _FACTORS:
            continue
        if min(claimed, bound) > 0:
            tip = f"{one.claim.id}: claimed {claimed:.3g}×, bound {bound:.3g}×"
            points.append(Point(claimed, bound, one.verdict, tip))
    if len(points) < 2:
        return None
    drawn = Panel("", "claimed factor", "bound", tuple(points), shaded="above the bound")
    return _grid([drawn], 1, f"Scatter of {len(points)} claimed factors against their bounds.")


def _grid(panels: Sequence[Panel], columns: int, summary: str) -> Picture:
    """Return panels side by side under one legend."""
    verdicts = {point.verdict for one in panels for point in one.points}
    marks, head = legend([name for name in COLOURS if name in verdicts], WIDTH)
    width = WIDTH / columns if columns > 1 else 420.0
    height = 236.0 if columns > 1 else 380.0
    for place, one in enumerate(panels):
        row, column = divmod(place, columns)
        marks += panel(one, column * width, head + 6 + row * height, width - 12, height - 8)
    rows = -(-len(panels) // columns)
    return Picture(WIDTH, head + 6 + rows * height, summary, tuple(marks))
