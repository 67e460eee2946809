"""The answer of `tokencost memory` in all its forms."""

from __future__ import annotations

from typing import Any, Literal

from ..costmodel import Report
from ..costmodel.capacity import MOST, Fit
from ..costmodel.device import Device
from ..costmodel.peak import Asking, Peak, Phase, stored_in
from ..costmodel.sharding import Sharding
from .document import Column, Document, Table
from .memory_rows import (
    SIDES,
    Answer,
    answer,
    fit_payload,
    memory_rows,
    side_payload,
    traffic_payload,
)
from .memory_words import gib, notes, options_text, sentence
from .summary import facts, heading, provenance
from .units import percent, runs, span

LEFT: Literal["left"] = "left"


def document(report: Report, asking: Asking, device: Device | None, typed: Any) -> Document:
    """Return the answer."""
    found = answer(report, asking, device)
    sides = SIDES if report.schedule is not None else SIDES[:1]
    tables = [_phase_table(found, sides), _peak_table(found, sides), _weight_table(found, sides)]
    tables.append(_cache_table(found, sides))
    if found.fits is not None:
        tables.append(_fit_table(found, sides))
    if found.prefill is not None:
        tables.append(_traffic_table(found, sides, asking.sharding))
    return Document(
        title=f"{report.model.id}: memory"
        + (" of the fullest device" if asking.sharding.devices > 1 else "")
        + (", scheduled against dense" if report.schedule is not None else ""),
        facts=(*facts(report, ()), *options_text(report, asking, device)),
        tables=tuple(tables),
        notes=notes(report, asking, found, device),
        sentence=sentence(report, found),
        payload={**heading(report), "memory": _payload(report, asking, device, found)},
        records=tuple({**provenance(report), **row} for row in memory_rows(found)),
    )


def _payload(
    report: Report, asking: Asking, device: Device | None, found: Answer
) -> dict[str, Any]:
    stored = (stored_in(asking, None), stored_in(asking, report.schedule))
    return {
        "unit": "byte",
        "options": {
            "attention": asking.running.attention,
            "output_attentions": asking.running.output_attentions,
            "transformers": "old" if asking.running.old else "new",
            "logits": "all" if asking.running.old else report.counting.logits,
            "weight_bits": [one.bits for one in stored],
            "quantization": [one.scheme.text for one in stored],
            "quantized": "all" if asking.storage.everywhere else "llm",
            "overhead": "device" if asking.context else "torch",
        },
        **{side: side_payload(found.of(side)) for side in SIDES},
        "ratio": found.peaks[1].total / found.peaks[0].total,
        "fit": fit_payload(found, device),
        "sharding": traffic_payload(found, asking),
    }


def _columns(first: str, sides: tuple[str, ...], unit: str = "GiB") -> list[Column]:
    columns = [Column(first, LEFT), *(Column(f"{side}\n[{unit}]") for side in sides)]
    return [*columns, Column("ratio")] if len(sides) > 1 else columns


def _cells(amounts: list[int | None]) -> list[str]:
    """Return amounts in GiB and, of two, their ratio."""
    shown = [gib(amount) for amount in amounts]
    return shown if len(amounts) == 1 else [*shown, percent(amounts[1], amounts[0])]


def _phase_table(found: Answer, sides: tuple[str, ...]) -> Table:
    columns = [*_columns("phase", sides), Column("largest besides weights", LEFT)]
    peaks = [found.of(side) for side in sides]
    # A schedule's selection has its place between the others.
    names = dict.fromkeys(phase.name for one in reversed(peaks) for phase in one.phases)
    rows = []
    for name in names:
        phases = [next((p for p in one.phases if p.name == name), None) for one in peaks]
        last = phases[-1] or phases[0]
        assert last is not None
        totals = [None if one is None else one.total for one in phases]
        largest = f"{last.largest_term}: {gib(last.terms[last.largest_term])}"
        rows.append((_phase_label(name, phases, peaks), *_cells(totals), largest))
    return Table("Alive at once, by phase", tuple(columns), tuple(rows))


def _phase_label(name: str, phases: list[Phase | None], peaks: list[Peak]) -> str:
    """Return a phase with its fullest layers, and whether it is the peak."""
    layers = dict.fromkeys(one.layer for one in phases if one is not None)
    at = "" if None in layers else f" (layer {' / '.join(map(str, layers))})"
    if name == "decode" and not peaks[-1].generates:
        return f"{name} (not run)"
    peak = [side for side, one in zip(SIDES, peaks, strict=False) if one.phase.name == name]
    if not peak:
        return name + at
    return f"{name}{at} = peak" + (f", {peak[0]}" if len(peak) < len(peaks) else "")


def _peak_table(found: Answer, sides: tuple[str, ...]) -> Table:
    peaks = [found.of(side) for side in sides]
    terms = dict.fromkeys(term for one in peaks for term in one.phase.terms)
    rows = [("total", *_cells([one.total for one in peaks]))]
    ordered = sorted(terms, key=lambda term: -max(one.phase.terms.get(term, 0) for one in peaks))
    for term in ordered:
        rows.append((f"  {term}", *_cells([one.phase.terms.get(term, 0) for one in peaks])))
    names = dict.fromkeys(one.phase.name for one in peaks)
    title = f"The peak: {' / '.join(names)}"
    return Table(title, tuple(_columns("term", sides)), tuple(rows))


def _weight_table(found: Answer, sides: tuple[str, ...]) -> Table:
    peaks = [found.of(side) for side in sides]
    rows = [("total", *_cells([sum(one.weights.values()) for one in peaks]))]
    for part in dict.fromkeys(part for one in peaks for part in one.weights):
        amounts = [one.weights.get(part, 0) for one in peaks]
        if any(amounts):
            rows.append((f"  {part}", *_cells(list(amounts))))
    return Table("Weights", tuple(_columns("component", sides)), tuple(rows))


def _cache_table(found: Answer, sides: tuple[str, ...]) -> Table:
    peaks = [found.of(side) for side in sides]
    rows = [
        ("after the prefill", *_cells([sum(one.kv_per_layer) for one in peaks])),
        ("at the end", *_cells([one.kv_final for one in peaks])),
    ]
    counts = [_codes(one) for one in peaks]
    if all(len(one) == len(counts[0]) for one in counts):
        merged = list(zip(*counts, strict=True))
        codes = [merged.index(one) for one in merged]
        for first, last, code in runs(codes):
            rows.append((f"  each of layers {span(first, last)}", *_cells(list(merged[code]))))
    return Table("KV cache", tuple(_columns("", sides)), tuple(rows))


def _codes(one: Peak) -> list[int]:
    return list(one.kv_per_layer)


def _fit_table(found: Answer, sides: tuple[str, ...]) -> Table:
    assert found.fits is not None
    fits = found.fits[: len(sides)]
    columns = [Column("", LEFT), *(Column(side) for side in sides)]
    rows = [
        ("memory of the device [GiB]", *(gib(one.capacity) for one in fits)),
        ("peak, CUDA context included [GiB]", *(gib(one.peak.total) for one in fits)),
        ("left [GiB]", *(gib(-one.excess) for one in fits)),
        ("largest batch", *(_most(one.batch) for one in fits)),
        *_context_rows(fits),
    ]
    return Table("What fits", tuple(columns), tuple(rows))


def _context_rows(fits: tuple[Fit, ...]) -> list[tuple[str, ...]]:
    """Return the largest contexts, a row for each batch that one is given for."""
    rows = []
    for batch in dict.fromkeys(one.context_batch for one in fits):
        cells = [_most(one.context) if one.context_batch == batch else "—" for one in fits]
        rows.append((f"largest context at batch {batch:,} [tokens]", *cells))
    return rows


def _most(count: int | None) -> str:
    """Return a largest number; the search ends at `MOST`."""
    if count is None:
        return "—"
    return f"≥ {MOST:,}" if count >= MOST else f"{count:,}"


def _traffic_table(found: Answer, sides: tuple[str, ...], sharding: Sharding) -> Table:
    staged = sharding.pp > 1 and sharding.tp > 1
    assert found.prefill is not None
    assert found.decode is not None
    rows: list[tuple[str, ...]] = []
    for name, pair in (("prefill", found.prefill), ("one decode forward", found.decode)):
        own = pair[: len(sides)]
        if staged:
            rows.append((f"{name}: stage that sends most", *(f"{one.stage + 1}" for one in own)))
        rows.append((f"{name}: all-reduces", *(f"{one.all_reduces:,}" for one in own)))
        rows.append((f"{name}: sent by a device [MiB]", *(_mib(one.tensor) for one in own)))
        rows.append((f"{name}: stage to stage [MiB]", *(_mib(one.pipeline) for one in own)))
    columns = [Column("", LEFT), *(Column(side) for side in sides)]
    return Table("Communication", tuple(columns), tuple(rows))


def _mib(amount: int) -> str:
    return f"{amount / 2**20:,.3f}"
