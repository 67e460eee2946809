"""What `tokencost solve` says: the answer and the next value above it."""

from __future__ import annotations

from typing import Any

from ..costmodel import Report
from ..costmodel.flops import UNITS
from ..costmodel.memory import kv_cache_bytes
from .document import Column, Document, Table
from .free import Solved
from .method_rows import number
from .schedule_words import schedule_text
from .summary import facts, heading, notes, provenance
from .targets import distance_text, name_of, signed_percent, target_text
from .units import percent, prefix, scaled

_SIDES = ("within", "above")
#: Options as words, for headers and papers.
_NAMES = {
    "keep": "keep ratio",
    "prune_layer": "prune layer",
    "tokens": "visual tokens",
    "budget": "budget",
}

_LARGEST = {**_NAMES, "tokens": "number of visual tokens"}


def document(solved: Solved) -> Document:
    """Return the answer in all its forms."""
    free, target = solved.free, solved.target
    report = solved.reports[0][2]
    rows = [_row(solved, place) for place in range(len(solved.reports))]
    conventions = (target.convention,)
    return Document(
        title=f"{report.model.id}: the largest {_LARGEST[free.name]} within the target",
        facts=(
            ("target", f"{name_of(target)}: {target_text(target)}"),
            ("free", _searched(solved)),
            *facts(report, conventions),
        ),
        tables=(_table(solved),),
        notes=(*_own_notes(solved), *notes(report, conventions)),
        sentence=_sentence(solved),
        payload={**_heading(report), **_payload(solved, rows)},
        records=tuple({**provenance(report), **row} for row in rows),
    )


def _row(solved: Solved, place: int) -> dict[str, Any]:
    """Return a neighbour's figures."""
    target = solved.target
    value, text, report = solved.reports[place]
    amount = target.measured(report)
    dense, cost = (report.total(target.convention, scheduled=side) for side in (False, True))
    return {
        "side": _SIDES[place],
        "option": solved.free.option,
        "typed": text,
        "value": value,
        "amount": number(amount),
        "distance": number(amount - target.amount),
        "relative_distance": float(amount / target.amount - 1),
        "unit": target.unit or "1",
        "cost_convention": target.convention,
        "cost_unit": UNITS[target.convention],
        "baseline": dense,
        "scheduled": cost,
        "ratio": cost / dense,
        "entering_visual_tokens": report.scheduled.entering_visual_tokens,
        "average_visual_tokens": float(report.scheduled.average_visual_tokens),
        "kv_cache_bytes": _kv(report),
    }


def _kv(report: Report) -> int:
    return kv_cache_bytes(report.model, report.scheduled, None, report.counting.execution)


def _table(solved: Solved) -> Table:
    target, keeps = solved.target, solved.free.name == "keep"
    reports = [report for _, _, report in solved.reports]
    costs = [report.total(target.convention) for report in reports]
    letter, power = prefix(costs)
    kv_letter, kv_power = prefix([_kv(report) for report in reports])
    columns = [
        Column("solution", "left"),
        Column(_NAMES[solved.free.name].replace(" ", "\n")),
        *([Column("tokens\nkept")] if keeps else []),
        Column("average\ntokens"),
        Column(f"cost, {target.convention}\n[{letter}{UNITS[target.convention]}]"),
        Column("share\nof dense"),
        Column(f"KV cache\n[{kv_letter}B]"),
        Column("off the\ntarget"),
        Column("in percent\nof it"),
    ]
    rows = []
    for side, cost, (kept, text, report) in zip(_SIDES, costs, solved.reports, strict=False):
        amount = target.measured(report)
        rows.append(
            (
                side,
                text,
                *([f"{kept:,}"] if keeps else []),
                f"{float(report.scheduled.average_visual_tokens):.2f}",
                scaled(cost, power),
                percent(cost, report.total(target.convention, scheduled=False)),
                scaled(_kv(report), kv_power),
                distance_text(target, amount),
                signed_percent(float(amount / target.amount - 1)),
            )
        )
    return Table("", tuple(columns), tuple(rows))


def _searched(solved: Solved) -> str:
    found, free = solved.solution, solved.free
    unit = " kept tokens" if free.name == "keep" else ""
    what = f"{free.option} of {found.first:,} to {found.last:,}{unit}"
    if found.exhaustive and found.tried < found.last - found.first + 1:
        return f"{what}, all {found.tried:,} values that there are priced"
    if found.exhaustive:
        return f"{what}, every value priced"
    return f"{what}, by bisection; {found.tried:,} values priced, none cheaper than a smaller one"


def _own_notes(solved: Solved) -> list[str]:
    """Return what the neighbours are."""
    found, free = solved.solution, solved.free
    lines = ["within: the largest value whose cost does not exceed the target"]
    if found.above is None:
        lines.append("above: no value is larger")
    else:
        lines.append("above: the next value that can be had")
    if free.name == "keep":
        lines.append("keep ratio: the one of the fewest decimals that leaves so many tokens")
    if not found.monotone:
        lines.append(
            "cost does not always grow with the value, so that smaller values may exceed the target"
        )
    return lines


def _heading(report: Report) -> dict[str, Any]:
    """Return what every JSON answer begins with; the schedules are those of the solutions."""
    found = heading(report)
    del found["schedule"]
    return found


def _payload(solved: Solved, rows: list[dict[str, Any]]) -> dict[str, Any]:
    found, target = solved.solution, solved.target
    solutions = [
        {
            **{key: value for key, value in row.items() if key not in ("option", "unit")},
            "tokens_per_layer": list(report.scheduled.query),
            "visual_tokens_per_layer": list(report.scheduled.visual),
        }
        for row, (_, _, report) in zip(rows, solved.reports, strict=True)
    ]
    return {
        "target": {
            "quantity": target.quantity,
            "convention": target.convention if target.quantity in ("ratio", "flops") else None,
            "unit": target.unit or "1",
            "amount": number(target.amount),
        },
        "free": {
            "option": solved.free.option,
            "first": found.first,
            "last": found.last,
            "values_priced": found.tried,
            "exhaustive": found.exhaustive,
            "monotone": found.monotone,
            "least": number(found.least),
            "most": number(found.most),
        },
        "solutions": solutions,
    }


def _sentence(solved: Solved) -> str:
    """Return one sentence ready for a paper's methods section."""
    free, target = solved.free, solved.target
    report = solved.reports[0][2]
    plan = report.dense
    texts = []
    for value, text, neighbour in solved.reports:
        kept = f" ({value:,} visual tokens)" if free.name == "keep" else ""
        texts.append(f"{text}{kept} with {target_text(target, target.measured(neighbour))}")
    request = (
        f"For {report.model.id} with {plan.dense_visual_tokens} visual, {plan.structural_tokens} "
        f"structural and {plan.text_tokens} text tokens at batch {plan.batch}, "
    )
    answer = (
        f"the largest {_LARGEST[free.name]} whose {name_of(target)} does not exceed "
        f"{target_text(target)} is {texts[0]}"
    )
    following = f"; the next is {texts[1]}" if texts[1:] else ""
    return f"{request}{answer} ({schedule_text(report)}){following}."
