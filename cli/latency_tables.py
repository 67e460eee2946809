"""The answer of `tokencost latency` in all its forms."""

from __future__ import annotations

from typing import Literal

from ..costmodel.gains import speed_up
from ..costmodel.latency import Latency, ceiling
from ..costmodel.timing import Interval
from .device_card import KNOWN
from .document import Column, Document, Table
from .latency_memory import memory_notes
from .latency_rows import (
    amdahl,
    ceiling_sentence,
    payload,
    records,
    timed_stages,
    times,
    times_between,
    totals,
)
from .latency_words import beyond_the_images, speed_up_notes, timing_notes, unverified_here
from .method_notes import method_notes
from .schedule_words import schedule_text
from .selection_words import selection_text
from .summary import facts, provenance
from .units import three_digits

LEFT: Literal["left"] = "left"
#: What `StageTime.limit` says, for a cell.
_BOUND = {"cache": "KV cache", "memory": "bandwidth"}


def document(found: Latency, per_kernel: bool = False) -> Document:
    """Return the answer; with kernels, CSV holds them alone."""
    report = found.report
    rows, tables, answer = records(found), [_totals(found), _stages(found)], payload(found)
    if per_kernel:
        from .kernel_rows import kernel_rows, kernel_tables  # few answers show them

        answer["kernels"] = rows = kernel_rows(found)
        tables += kernel_tables(rows)
    title = f"{report.model.id} on {found.device.name}: latency"
    return Document(
        title=title + (", scheduled against dense" if report.schedule else ""),
        facts=(*facts(report, ("exact",))[:-1], *device_facts(found)),
        tables=tuple(tables),
        notes=tuple(_notes(found)),
        sentence=_sentence(found),
        payload=answer,
        records=tuple({**provenance(report), "device": found.device.id, **row} for row in rows),
    )


def device_facts(found: Latency) -> list[tuple[str, str]]:
    """Return the device, and how the request runs on it."""
    device, running = found.device, found.running
    peak = found.arithmetic[0].narrow
    rate = (
        f"{float(device.peaks.__getattribute__(peak)):g} T{'OP' if peak[:3] == 'int' else 'FLOP'}/s"
    )
    text = f"{device.id}: {rate} {peak}, {float(device.bandwidth_gb_s):g} GB/s"
    text += f" ({KNOWN[device.verification]})"
    doubtful = unverified_here(found)
    if doubtful:
        text += f"; unverified: {', '.join(doubtful)}"
    before, after = found.arithmetic
    how = f"{running.runtime} runtime, {running.attention} attention, {_bits(before)}"
    if found.ways:
        each = " or ".join(dict.fromkeys(map(_bits, found.ways)))
        how += f"; scheduled, by way, {each}"
    elif after != before:
        how += f"; scheduled {_bits(after)}"
    if running.load_ms:
        how += f"; {float(running.load_ms):g} ms to load"
    return [("device", text), ("running", how)]


def _bits(one: object) -> str:
    numbers = one.numbers  # type: ignore[attr-defined]
    return f"W{numbers.weights}A{numbers.activations}, {numbers.kv}-bit cache"


def milliseconds(seconds: float) -> str:
    """Return milliseconds: one decimal, and below 9.995 three significant digits.

    >>> [milliseconds(seconds) for seconds in (0, 0.00054, 0.0072, 0.017, 1.9368)]
    ['0', '0.540', '7.20', '17.0', '1,936.8']
    """
    amount = 1e3 * seconds
    if not amount:
        return "0"
    return f"{amount:,.1f}" if amount >= 9.995 else f"{amount:#.3g}"


def _range(interval: Interval) -> str:
    return f"{milliseconds(interval.lower)} – {milliseconds(interval.upper)}"


def _gain(before: Interval, after: Interval) -> list[str]:
    if not (all(before[1:]) and all(after[1:])):
        return ["—", "—"]
    gain = speed_up(before, after)
    return [times(gain.central), times_between(gain.lower, gain.upper)]


def _totals(found: Latency) -> Table:
    columns = [Column("until", LEFT), Column("baseline\n[ms]"), Column("lower – upper\n[ms]")]
    if found.report.schedule is not None:
        columns += [Column("scheduled\n[ms]"), Column("lower – upper\n[ms]")]
        columns += [Column("speed-up"), Column("lower – upper")]
    rows = []
    for name, before, after in totals(found):
        cells = [name, milliseconds(before.central), _range(before)]
        if found.report.schedule is not None:
            cells += [milliseconds(after.central), _range(after), *_gain(before, after)]
        rows.append(tuple(cells))
    return Table("Time of a request", tuple(columns), tuple(rows))


def _stages(found: Latency) -> Table:
    whole = found.dense.end_to_end.central
    columns = [Column("stage", LEFT), Column("baseline\n[ms]"), Column("of\ntotal")]
    columns += [Column("bound by", LEFT), Column("if gone")]
    if found.report.schedule is not None:
        columns += [Column("scheduled\n[ms]"), Column("bound by", LEFT), Column("speed-up")]
    rows = []
    for name in timed_stages(found):
        before, after = (side.stages[name] for side in (found.dense, found.scheduled))  # type: ignore[index]
        gone = amdahl(found.dense, name)
        share = f"{100 * before.time.central / whole:.1f} %" if whole else "—"
        cells = [name, milliseconds(before.time.central), share, _bound(before)]
        cells.append("—" if gone is None else times(gone))
        if found.report.schedule is not None:
            cells += [milliseconds(after.time.central), _bound(after)]
            cells.append(_gain(before.time, after.time)[0])
        rows.append(tuple(cells))
    return Table("Stages, central estimate", tuple(columns), tuple(rows))


def _bound(stage: object) -> str:
    if not stage.time.central or not stage.device.central:  # type: ignore[attr-defined]
        return "—"
    limit: str = stage.limit  # type: ignore[attr-defined]
    return _BOUND.get(limit, limit)


def _notes(found: Latency) -> list[str]:
    report = found.report
    lines = [ceiling_sentence(found, ceiling(found)), *timing_notes(found)]
    if report.schedule is not None:
        ratio = report.ratio("exact")
        shown = f"{ratio:.4f}" if ratio >= 1e-4 else f"{ratio:.2g}"
        lines.append(f"FLOPs: {times(1 / ratio)} fewer (exact, ratio {shown})")
        lines += speed_up_notes(*totals(found)[-1])
        lines.append(f"selection: {selection_text(report, ('exact',))}")
        if found.scheduled.stages["selection"].time.central:
            lines.append(
                "a serial round is priced as one launch; rounds that wait for the host take longer"
            )
    energy = found.energy_joules
    if energy is not None:
        parts = [f"{three_digits(energy[0].central)} J"]
        if report.schedule is not None:
            parts.append(f"scheduled {three_digits(energy[1].central)} J")
        lines.append(
            f"energy: at most {', '.join(parts)} in the central time, at the board power of "
            f"{float(found.device.tdp_w or 0):g} W"
        )
    lines += memory_notes(found)
    lines += beyond_the_images(found)
    lines += method_notes(report.schedule)
    return lines + list(report.model.uncertainty)


def _sentence(found: Latency) -> str:
    """Return one sentence ready for a paper's methods section."""
    report = found.report
    before, after = found.dense.end_to_end, found.scheduled.end_to_end
    new = report.workload.new_tokens
    what = "the first token" if new == 1 else f"{new} new tokens"
    head = (
        f"For {report.model.id} on {found.device.name} ({found.running.runtime} runtime, "
        f"{found.running.attention} attention, batch {report.workload.batch}), a roofline model "
        f"with measured efficiencies estimates {milliseconds(before.central)} ms "
        f"[{_range(before)}] until {what}"
    )
    if report.schedule is None:
        return f"{head}."
    gain = _gain(before, after)
    return (
        f"{head}, and {milliseconds(after.central)} ms [{_range(after)}] with the schedule "
        f"({schedule_text(report)}), {gain[0]} as fast [{gain[1]}]."
    )
