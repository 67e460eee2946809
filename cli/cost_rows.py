"""The bill of `tokencost cost` as flat rows: layers, terms."""

from typing import Any

from ..costmodel import Report
from ..costmodel.billing import PhaseBill
from ..costmodel.flops import UNITS, Convention
from ..costmodel.operators import COMPONENTS
from ..costmodel.parameters import layer_parameters
from .rows import Row
from .units import ranges


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
