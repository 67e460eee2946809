"""The full bill: every phase under every convention, and what `cost` says of it in JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from .decoding import SIDES, cache_groups, decode_payload, forward_bytes
from .flops import Bill, Convention
from .parameters import model_parameters
from .payload import floor_payload, heading
from .plan import decode_keys
from .report import Phase, Report
from .rows import Row, component_rows, null_row


class PhaseBill(NamedTuple):
    """One phase under one convention.

    Attributes:
        phase, convention: What is priced.
        sides: Baseline and scheduled bill.
        explained: The bills whose terms explain it, with their phase; a generation is explained
            by its decode forwards alone, because its prefill is a phase of its own.
    """

    phase: str
    convention: Convention
    sides: tuple[Bill, Bill]
    explained: tuple[str, tuple[Bill, Bill]]


def phase_bills(report: Report, name: Convention, step: int) -> list[PhaseBill]:
    """Return every phase that is priced under a convention."""

    def sides(phase: Phase) -> tuple[Bill, Bill]:
        dense = report.bill(name, scheduled=False, phase=phase)
        return dense, report.bill(name, scheduled=True, phase=phase)

    prefill = sides("prefill")
    bills = [PhaseBill("prefill", name, prefill, ("prefill", prefill))]
    if name == "exact":
        forward = report.decode_forward(step, scheduled=False), report.decode_forward(step)
        phase = f"decode forward {step}"
        bills.append(PhaseBill(phase, name, forward, (phase, forward)))
        if report.workload.new_tokens > 1:
            forwards = (f"decode forwards 1–{report.workload.new_tokens - 1}", sides("decode"))
            bills.append(PhaseBill("generation", name, sides("generation"), forwards))
    return bills


def bill_rows(report: Report, chosen: Iterable[Convention], step: int) -> list[Row]:
    """Return the rows of every phase, those of conventions without a figure first."""
    names = tuple(chosen)
    rows = [null_row(name) for name in names if report.obstacle(name)]
    for name in names:
        if not report.obstacle(name):
            for bill in phase_bills(report, name, step):
                rows += component_rows(bill.phase, bill.convention, bill.sides)
    return rows


def bill_payload(report: Report, components: list[Row], step: int) -> dict[str, Any]:
    """Return what `cost --format json` holds, of rows that `bill_rows` gives."""
    parameters = model_parameters(report.model)
    figures: Row = {}
    for row in components:
        convention = figures.setdefault(row["convention"], {"unit": row["unit"]})
        key = "decode_forward" if row["phase"].startswith("decode") else row["phase"]
        phase = convention.setdefault(key, {})
        amounts = {key: row[key] for key in ("baseline", "scheduled", "ratio")}
        if row["component"] == "total":
            phase.update(amounts)
            obstacle = report.obstacle(row["convention"])
            if obstacle:
                phase["reason"] = obstacle
        else:
            phase.setdefault("components", {})[row["component"]] = amounts
    if "exact" in figures:
        figures["exact"]["decode_forward"]["step"] = step
        figures["exact"]["decode_forward"]["keys_per_layer"] = decode_keys(report.scheduled, step)
        read = dict(zip(SIDES, forward_bytes(report, step, step), strict=True))
        figures["exact"]["decode_forward"]["kv_read_bytes"] = read
        figures["exact"]["unused_encoder_layers"] = report.unused_encoder_flops()
    answer: dict[str, Any] = {
        **heading(report),
        "parameters": {**parameters, "total": sum(parameters.values())},
        "conventions": figures,
    }
    if "exact" in figures:
        answer["floor"] = floor_payload(report)
        answer["kv_cache"] = cache_groups(report)
        answer["decode"] = decode_payload(report)
    return answer
