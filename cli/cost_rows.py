"""The bill of `tokencost cost` as flat rows: phases, components, layers, terms."""

from typing import Any, NamedTuple

from ..costmodel import Bill, Report
from ..costmodel.flops import UNITS, Convention
from ..costmodel.operators import COMPONENTS
from ..costmodel.parameters import layer_parameters
from ..costmodel.report import Phase
from .rows import Row
from .units import ranges


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


def layer_rows(report: Report, name: Convention) -> list[Row]:
    """Return one row per layer of the prefill, and one for what lies outside the layers.

    The choice of tokens lies outside the layers and has no parameters.
    """
    dense = report.bill(name, scheduled=False).by_layer()
    scheduled = report.bill(name).by_layer()
    parameters = layer_parameters(report.model)
    places: list[Any] = list(dense)
    if name == "exact":  # embedding and final norm have parameters, but no FLOPs
        others = dict.fromkeys([*parameters, *scheduled])
        places += [place for place in others if place not in dense]
        order = {component: place for place, component in enumerate((*COMPONENTS, "other"))}
        places.sort(key=lambda place: (order[place[0]], -1 if place[1] is None else place[1]))
    rows = []
    for component, layer in places:
        baseline, amount = dense.get((component, layer), 0), scheduled.get((component, layer), 0)
        rows.append(
            {
                "convention": name,
                "phase": "prefill",
                "component": component,
                "layer": layer,
                "baseline_tokens": _tokens(report, component, layer, scheduled=False),
                "scheduled_tokens": _tokens(report, component, layer, scheduled=True),
                **_cached(report, component, layer),
                "parameters": parameters.get((component, layer), 0),
                "unit": UNITS[name],
                "baseline": baseline,
                "scheduled": amount,
                "ratio": amount / baseline if baseline else None,
            }
        )
    return rows


def _tokens(report: Report, component: str, layer: int | None, *, scheduled: bool) -> int | None:
    plan = report.scheduled if scheduled else report.dense
    if component == "connector":
        return plan.connector_tokens
    if component == "vision":
        return sum(plan.tower_positions) if layer is None else plan.encoder_tokens[layer]
    return None if layer is None else plan.query[layer]


def _cached(report: Report, component: str, layer: int | None) -> Row:
    """Return the tokens of the prefill that a layer caches and decode forwards read of them."""
    dense, plan = report.dense, report.scheduled
    counts = (dense.kv_stored, plan.kv_stored, plan.kv_read)
    names = ("baseline_kv_tokens", "scheduled_kv_tokens", "scheduled_kv_read_tokens")
    return {
        name: None if component != "decoder" or layer is None else count[layer]
        for name, count in zip(names, counts, strict=True)
    }


def term_rows(report: Report, bill: PhaseBill) -> list[Row]:
    """Return one row per term; without a schedule only the baseline's."""
    phase, bills = bill.explained
    return [
        {
            "convention": bill.convention,
            "phase": phase,
            "side": side,
            "component": entry.component,
            "layers": ranges(entry.layers),
            "term": entry.name,
            "formula": entry.formula,
            "substitution": entry.substitution,
            "result": entry.each,
            "times": len(entry.layers) or 1,
            "total": entry.amount,
            "unit": UNITS[bill.convention],
        }
        for side, one in zip(("baseline", "scheduled"), bills, strict=True)
        if side == "baseline" or report.schedule is not None
        for entry in one.entries
    ]
