"""Figures of one reduction method in a comparison; null where a method refuses the request."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from ..costmodel import InvalidInput, Report, Schedule, UnknownName
from ..costmodel.flops import CONVENTIONS, UNITS, Bill, Convention
from ..costmodel.memory import kv_cache_bytes, kv_read_bytes
from ..costmodel.operators import COMPONENTS
from ..costmodel.solving import Target
from ..costmodel.version import __version__
from .asked import Asked
from .origins import SCHEDULE_FIELDS, MethodOrigin
from .selection_words import selection_payload
from .summary import SCHEMA_VERSION, heading

if TYPE_CHECKING:
    from ..presets import Method

Row = dict[str, Any]
#: Components of what a language model alone costs.
LLM = ("decoder", "head")
DENSE = "dense"


class Compared(NamedTuple):
    """A method in a comparison.

    Attributes:
        report: Its answer; None where it refuses the request.
        row: Its figures, as JSON gives them.
    """

    report: Report | None
    row: Row


def dense(asked: Asked) -> Compared:
    """Return the dense model's row."""
    report = asked.report()
    return Compared(report, _row(asked, None, None, report))


def chosen_methods(text: str | None) -> list[Method]:
    """Return the methods that a list of ids names; all of them by default.

    Raises:
        InvalidInput: An unknown id, one that is given twice, or none.
    """
    from ..presets import list_methods, load_method

    known = list_methods()
    if text in (None, "all"):
        return [load_method(method_id) for method_id in known]
    ids = [name.strip() for name in str(text).split(",")]
    for place, name in enumerate(ids):
        if not name:
            raise InvalidInput("--methods", text, "names no method", "give ids, as in fastv,tome")
        if name not in known:
            raise UnknownName("--methods", name, known, "tokencost methods list")
        if name in ids[:place]:
            raise InvalidInput("--methods", name, "is named twice", "name it once")
    return [load_method(method_id) for method_id in ids]


def applied(asked: Asked, method: Method, budget: int | None) -> Compared:
    """Return a method's figures, or why it has none."""
    try:
        schedule: Schedule = method.schedule(asked.model, asked.workload, budget)
        report = asked.report(schedule)
        return Compared(report, _row(asked, method, budget, report))
    except InvalidInput as error:
        return refused(asked, method, budget, reason(asked, method, budget, error))


def refused(asked: Asked, method: Method, budget: int | None, why: str) -> Compared:
    """Return the row of a method that has no figures."""
    return Compared(None, {**_row(asked, method, budget, None), "reason": why})


def reason(asked: Asked, method: Method, budget: int | None, error: InvalidInput) -> str:
    """Return why a method has no figures, in one sentence."""
    if error.field.startswith(SCHEDULE_FIELDS):
        workload = asked.workload
        video = bool(workload.frames or (asked.dense.frames and not workload.images))
        text = None if budget is None else str(budget)
        error = MethodOrigin(method.id, text, None, video).complaint(error)
    own = "its default budget" if budget is None else "--budget"
    return error.sentence(own if error.field == "budget" else error.field)


def _row(asked: Asked, method: Method | None, budget: int | None, report: Report | None) -> Row:
    scheduled = None if report is None else report.scheduled
    baseline = asked.report()
    return {
        "schema_version": SCHEMA_VERSION,
        "tokencost_version": __version__,
        "model": asked.model.id,
        "status": asked.model.status,
        "workload": heading(baseline)["workload"],
        "counting": asked.counting.model_dump(),
        "method": DENSE if method is None else method.id,
        "title": "dense model" if method is None else method.title,
        "paper": None if method is None else method.paper,
        "budget": budget,
        "reason": None,
        "entering_visual_tokens": scheduled and scheduled.entering_visual_tokens,
        "average_visual_tokens": scheduled and float(scheduled.average_visual_tokens),
        "conventions": {name: _convention(baseline, report, name) for name in CONVENTIONS},
        "kv_cache_bytes": _kv(baseline, report),
        "decode_step": _decode_step(baseline, report),
        "selection": None if report is None else selection_payload(report),
        "training": None if method is None else method.trained,
        "schedule_known": None if method is None else method.schedule_known,
        "assumed_fields": [] if method is None else assumed_fields(asked, method, budget, report),
        "assumed": _assumed(report),
        "target": None,
    }


def _convention(dense: Report, report: Report | None, name: Convention) -> dict[str, Any]:
    """Return a convention's total on both sides, and under exact its parts."""
    obstacle = dense.obstacle(name)
    if obstacle:
        return {"unit": UNITS[name], "phase": None, **_sides(None, None), "reason": obstacle}
    new = dense.workload.new_tokens
    phase = dense.priced_phase(name) if new > 1 else "prefill"
    before = dense.bill(name, scheduled=False, phase=phase)
    after = None if report is None else report.bill(name, phase=phase)
    found = {"unit": UNITS[name], "phase": phase, **_sides(before.total, after and after.total)}
    if name != "exact":
        return found
    parts = before.by_component(), {} if after is None else after.by_component()
    found["components"] = {
        part: {
            "baseline": parts[0].get(part, 0),
            "scheduled": None if after is None else parts[1].get(part, 0),
        }
        for part in COMPONENTS
    }
    without = tuple(part for part in COMPONENTS if part != "selection")
    for key, chosen in (("llm_alone", LLM), ("without_selection", without)):
        found[key] = _sides(_sum(before, chosen), None if after is None else _sum(after, chosen))
    return found


def _sides(baseline: int | None, scheduled: int | None) -> dict[str, Any]:
    ratio = None if scheduled is None or not baseline else scheduled / baseline
    return {"baseline": baseline, "scheduled": scheduled, "ratio": ratio}


def _sum(bill: Bill, components: tuple[str, ...]) -> int:
    return sum(amount for part, amount in bill.by_component().items() if part in components)


def _kv(dense: Report, report: Report | None) -> dict[str, int | None]:
    model, execution = dense.model, dense.counting.execution
    return {
        "baseline": kv_cache_bytes(model, dense.dense, 16, execution),
        "scheduled": report and kv_cache_bytes(model, report.scheduled, None, execution),
    }


def _decode_step(dense: Report, report: Report | None) -> dict[str, Any]:
    """Return the first decode forward: FLOPs and bytes of keys and values read."""
    model, execution = dense.model, dense.counting.execution
    flops = report and report.decode_forward().total
    read = report and kv_read_bytes(model, report.scheduled, None, execution)
    before = dense.decode_forward(scheduled=False).total
    return {
        "flops": {"baseline": before, "scheduled": flops},
        "kv_bytes_read": {
            "baseline": kv_read_bytes(model, dense.dense, 16, execution),
            "scheduled": read,
        },
    }


def assumed_fields(
    asked: Asked, method: Method, budget: int | None, report: Report | None
) -> list[str]:
    """Return the fields that are assumed and matter for the request.

    "details" where no whole field is, but something in the schedule.
    """
    unused = {"budget" if budget is None else "default"}
    if asked.model.decoder.num_hidden_layers == method.reference.layers:
        unused.add("other depth")
    found = [
        name
        for name, told in method.provenance.items()
        if told.status == "assumed" and name not in unused
    ]
    return found or (["details"] if _assumed(report) else [])


def _assumed(report: Report | None) -> list[str]:
    applied_method = getattr(report.schedule, "method", None) if report else None
    return [] if applied_method is None else list(applied_method.assumed)


def with_target(compared: Compared, target: Target) -> Row:
    """Return a row that also says how far its cost is from the target."""
    reached = None if compared.report is None else target.measured(compared.report)
    return {
        **compared.row,
        "target": {
            "quantity": target.quantity,
            "convention": target.convention if target.quantity in ("ratio", "flops") else None,
            "unit": target.unit or "1",
            "amount": number(target.amount),
            "reached": None if reached is None else number(reached),
            "distance": None if reached is None else number(reached - target.amount),
            "relative_distance": None if reached is None else float(reached / target.amount - 1),
        },
    }


def number(amount: Fraction) -> int | float:
    """Return an exact amount as JSON holds it: whole numbers stay whole."""
    return amount.numerator if amount.denominator == 1 else float(amount)
