"""`mixture`: plans of several ways, and what they cost on average."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from .architecture.model import Model
from .errors import InvalidInput
from .flops import Bill
from .plan import plan
from .schedule import Schedule
from .tokenplan import TokenPlan
from .workload import Workload

#: Vectors of a plan whose expectation is shown.
_VECTORS = (
    "encoder_tokens",
    "encoder_pairs",
    "encoder_ffn",
    "tower_positions",
    "visual",
    "query",
    "key",
    "ffn",
    "attended",
    "pairs",
    "kv_stored",
    "kv_read",
    "visual_stored",
    "visual_read",
    "cross",
    "cross_stored",
)


def ways(schedule: Schedule) -> list[tuple[Fraction, Schedule | None]]:
    """Return every way's probability and schedule; None where the model does not run.

    A way's own primitives replace those of the whole; selection and training stay with the whole.
    """
    shared = {name: getattr(schedule, name) for name in schedule.primitives}
    for name in ("mixture", "selection", "training"):
        shared.pop(name, None)
    found: list[tuple[Fraction, Schedule | None]] = []
    for branch in schedule.mixture:
        if branch.skipped:
            found.append((branch.probability, None))
            continue
        own: dict[str, Any] = {}
        rounding = schedule.rounding
        if branch.schedule is not None:
            own = {name: getattr(branch.schedule, name) for name in branch.schedule.primitives}
            rounding = branch.schedule.rounding
        found.append((branch.probability, Schedule(**{**shared, **own}, rounding=rounding)))
    return found


def mixed_plan(model: Model, workload: Workload, schedule: Schedule) -> TokenPlan:
    """Return the plan of a mixture: its ways, and the expectation of their counts.

    Raises:
        InvalidInput: A way that does not fit; the field names it.
    """
    branches: list[tuple[Fraction, TokenPlan | None]] = []
    for index, (probability, way) in enumerate(ways(schedule)):
        try:
            branches.append((probability, None if way is None else plan(model, workload, way)))
        except InvalidInput as error:
            own = schedule.mixture[index].schedule
            if own is None or error.field.split(".")[0] not in own.primitives:
                raise
            field = f"mixture.{index}.schedule.{error.field}"
            raise InvalidInput(field, error.value, error.problem, error.way_out) from None
    dense = plan(model, workload)
    mixed: dict[str, Any] = {}
    for name in _VECTORS:
        mixed[name] = tuple(
            _expected((share, getattr(way, name)[place]) for share, way in branches if way)
            for place in range(len(getattr(dense, name)))
        )
    for name in ("entering_visual_tokens", "connector_tokens"):
        mixed[name] = _expected((share, getattr(way, name)) for share, way in branches if way)
    return dense._replace(**mixed, branches=tuple(branches), bits=schedule.bits, uniform=False)


def expected_bill(bills: Iterable[tuple[Fraction, Bill]], unit: str) -> Bill:
    """Return the expectation of bills; every entry is rounded to the nearest whole unit."""
    entries = tuple(
        entry._replace(
            name=f"{entry.name} (× {share})" if share != 1 else entry.name,
            each=round(share * entry.each),
        )
        for share, bill in bills
        for entry in bill.entries
    )
    return Bill(unit, entries)


def _expected(weighted: Iterable[tuple[Fraction, int]]) -> int:
    return round(sum((share * count for share, count in weighted), Fraction(0)))
