"""The answer of `tokencost crossover` in all its forms."""

from __future__ import annotations

from typing import Any, Literal

from ..costmodel.latency import Latency
from .crossover_search import Found
from .document import Column, Document, Table
from .latency_memory import fitting, memory_notes
from .latency_rows import bounds, gain_bounds, times_between
from .latency_tables import device_facts, milliseconds
from .latency_words import RANGE, timing_notes
from .method_notes import method_notes
from .schedule_words import schedule_text
from .summary import heading, provenance

LEFT: Literal["left"] = "left"


def document(found: Found) -> Document:
    """Return the answer."""
    search, own = found.search, found.crossing
    some = next(iter(found.answers.values()))
    report = some.report
    rows = _rows(found)
    name = search.over.replace("-", " ")
    columns = [Column(name), Column("", LEFT), Column("baseline\n[ms]"), Column("scheduled\n[ms]")]
    columns += [Column("speed-up"), Column("lower – upper")]
    lines = [
        (
            f"{row['value']:,}",
            row["kind"],
            milliseconds(row["baseline_central"]),
            milliseconds(row["scheduled_central"]),
            f"{row['speed_up_central']:.4f}×",
            times_between(row["speed_up_lower"], row["speed_up_upper"]),
        )
        for row in rows
    ]
    head = heading(report)
    del head["schedule"]
    return Document(
        title=f"{report.model.id} on {some.device.name}: when the schedule is faster",
        facts=(
            ("model", f"{report.model.id} ({report.model.family})"),
            ("schedule", f"{schedule_text(report)} (at {search.amount(rows[0]['value'])})"),
            *device_facts(some),
            ("searched", _searched(found)),
        ),
        tables=(Table("", tuple(columns), tuple(lines)),),
        notes=(_answer(found), *_notes(found), *timing_notes(some), *method_notes(report.schedule)),
        sentence=f"For {report.model.id} on {some.device.name}, {_answer(found)}.",
        payload={
            **head,
            "device": {"id": some.device.id, "verification": some.device.verification},
            "over": search.over,
            "until": search.until,
            "gain": float(search.gain),
            "pays_from": own.value,
            "first": own.first,
            "last": own.last,
            "tried": own.tried,
            "exhaustive": own.exhaustive,
            "lasting": own.lasting,
            "best": {"value": own.at, "speed_up": own.best},
            "unit": "s",
            "times": [
                {**_times(found, value, one), "memory": fitting(one).payload()}
                for value, one in found.answers.items()
            ],
            "sentence": _answer(found),
        },
        records=tuple(
            {**provenance(report), "device": some.device.id, "over": search.over, **row}
            for row in rows
        ),
    )


def _times(found: Found, value: int, one: Latency) -> dict[str, Any]:
    before, after = (found.search.time(side) for side in (one.dense, one.scheduled))
    return {
        "value": value,
        "baseline": bounds(before),
        "scheduled": bounds(after),
        **gain_bounds(before, after),
    }


def _rows(found: Found) -> list[dict[str, Any]]:
    rows = []
    for value, one in found.answers.items():
        kind = "pays" if value == found.crossing.value else "does not"
        row: dict[str, Any] = {"value": value, "kind": kind, "unit": "s"}
        for label, interval in _times(found, value, one).items():
            if label != "value":
                row |= {f"{label}_{bound}": amount for bound, amount in interval.items()}
        rows.append(row)
    return rows


def _searched(found: Found) -> str:
    own, name = found.crossing, found.search.over.replace("-", " ")
    how = "every one priced" if own.exhaustive else f"{own.tried:,} priced, by bisection"
    until = found.search.until.replace("-", " ")
    more = f"more than {float(found.search.gain):g} times as fast" if found.search.gain > 1 else ""
    return f"{name} from {own.first:,} to {own.last:,}, {how}; time to the {until}" + (
        f", {more}" if more else ""
    )


def _answer(found: Found) -> str:
    """Return the one sentence that answers."""
    own, count = found.crossing, found.search.amount
    if found.search.gain > 1:
        pays = f"is more than {float(found.search.gain):g} times as fast"
        never = pays.replace("is", "is never", 1)
    else:
        pays, never = "is faster", "is never faster"
    if own.value is None:
        return (
            f"the schedule {never} up to {count(own.last)} (best: {own.best:.4f}× at "
            f"{count(own.at)})"
        )
    if own.value == own.first:
        return f"the schedule {pays} from the smallest number on ({count(own.value)})"
    return f"the schedule {pays} from {count(own.value)} on"


def _notes(found: Found) -> list[str]:
    own = found.crossing
    lines = []
    if own.value is not None and not own.lasting:
        lines.append("some larger numbers do not pay: the gain rises and falls")
    if not own.exhaustive:
        lines.append(
            "where the gain rises and falls between the numbers that were priced, smaller ones may "
            "pay too"
        )
    lines.append("central estimates decide; selection, encoder and host are included")
    lines.append(f"{RANGE}: where it reaches below 1, the schedule may be slower")
    lines += _same_images(found)
    if found.search.over != "batch":
        lines.append(
            "context: how many positions the model was trained for is not checked; look it up "
            "before relying on long sequences"
        )
    for value, one in found.answers.items():
        lines += memory_notes(one, f" at {found.search.amount(value)}")
    return list(dict.fromkeys(lines))


def _same_images(found: Found) -> list[str]:
    """Return what a search over visual tokens leaves out: encoders of the images behind them."""
    if found.search.over != "visual-tokens":
        return []
    plan = next(iter(found.answers.values())).report.dense
    own = plan.visual_input.visual_tokens
    images = "image" if len(plan.images) == 1 else f"{len(plan.images)} images"
    return [
        f"encoder and connector run for {'the one' if images == 'image' else 'the'} {images} with "
        f"{own:,} visual tokens whatever their number is: where more images or a video bring them, "
        "first tokens take longer and gains are smaller; --over frames has that priced"
    ]
