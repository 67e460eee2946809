"""What choosing the tokens is counted as, in words and as figures."""

from __future__ import annotations

from typing import Any

from ..costmodel import Report
from ..costmodel.flops import Convention
from .units import with_prefix

SELECTION = "not specified, 0 counted"


def selection_rule(report: Report) -> str | None:
    """Return the schedule's selection rule, or that there is none; None without a schedule."""
    return (_name(report) or SELECTION) if report.schedule else None


def selection_text(report: Report, conventions: tuple[Convention, ...]) -> str:
    """Return what the conventions count of the choice of tokens, for people."""
    rule = _name(report)
    if rule is None:
        return SELECTION
    if "exact" not in conventions:
        return f"{rule}, which exact alone counts"
    work = selection_payload(report)
    assert work is not None
    counted, other = work["ideal"], work["released"]
    if not any(counted.values()) and not any(other.values()):
        return f"{rule}: nothing to choose here, 0 counted"
    released = report.counting.selection == "released"
    how = "as its released code computes it" if released else "as this project implements it"
    both = other if released else counted
    text = f"{rule} {how} ({work['computes']}): {_figures(both)}"
    if counted != other:
        name, rest = ("ideal", counted) if released else ("as released", other)
        text += f"; {name}: {_figures(rest)}"
    return text


def selection_scope(report: Report) -> str:
    """Return whether the exact figures count the choice of tokens, as a clause."""
    rule = _name(report)
    return f"token selection by {rule} counted" if rule else "token selection not counted"


def selection_payload(report: Report) -> dict[str, Any] | None:
    """Return what choosing the tokens takes in a prefill, both ways; None without a rule.

    Of a mixture it is what `report_selection` says: expected FLOP and bytes, the rounds of the
    whole and of the way with the most, and the largest attention maps.
    """
    chosen = _rules(report)
    if not chosen:
        return None
    from ..costmodel.selection import RULES, report_selection  # few schedules name a rule

    named: Any = RULES
    computes = [
        named[rule].computes if isinstance(rule, str) else str(rule.computes) for rule in chosen
    ]
    found: dict[str, Any] = {
        "name": _name(report),
        "computes": "; ".join(computes),
        "counted": report.counting.selection,
    }
    for variant in ("ideal", "released"):
        counting = report.counting.model_copy(update={"selection": variant})
        work = report_selection(report, counting)
        found[variant] = {
            "flops": work.flops,
            "moved_bytes": work.moved_bytes,
            "serial_launches": work.launches,
            "attention_map_bytes": work.attention_map_bytes,
            "parameters": work.parameters,
        }
    return found


def _figures(work: dict[str, int]) -> str:
    """Return what one way takes, in one clause."""
    parts = [with_prefix(work["flops"], "FLOP")]
    rounds = work["serial_launches"]
    if rounds:
        parts.append(f"{rounds:,} serial round{'s' * (rounds > 1)}")
    maps = work["attention_map_bytes"]
    parts.append(f"attention maps of {with_prefix(maps, 'B')}" if maps else "no attention map")
    if work["parameters"]:
        parts.append(f"{work['parameters']:,} added weights")
    return ", ".join(parts)


def _name(report: Report) -> str | None:
    names = [rule if isinstance(rule, str) else str(rule.name) for rule in _rules(report)]
    return " and ".join(names) or None


def _rules(report: Report) -> list[Any]:
    """Return the rules of the schedule and of its ways, each once."""
    schedule = report.schedule
    if schedule is None or (schedule.selection is None and not schedule.mixture):
        return []
    from ..costmodel.selection.mixed import rules  # few schedules name a rule

    return rules(schedule)
