"""What choosing the tokens is counted as: the rule's name and its figures, both ways."""

from __future__ import annotations

from typing import Any

from .report import Report

SELECTION = "not specified, 0 counted"


def selection_rule(report: Report) -> str | None:
    """Return the schedule's selection rule, or that there is none; None without a schedule."""
    return (rule_name(report) or SELECTION) if report.schedule else None


def rule_name(report: Report) -> str | None:
    """Return the rules that choose the tokens, by name; None where no rule is named."""
    names = [rule if isinstance(rule, str) else str(rule.name) for rule in _rules(report)]
    return " and ".join(names) or None


def selection_payload(report: Report) -> dict[str, Any] | None:
    """Return what choosing the tokens takes in a prefill, both ways; None without a rule.

    Of a mixture it is what `report_selection` says: expected FLOP and bytes, the rounds of the
    whole and of the way with the most, and the largest attention maps.
    """
    chosen = _rules(report)
    if not chosen:
        return None
    from .selection import RULES, report_selection  # few schedules name a rule

    named: Any = RULES
    computes = [
        named[rule].computes if isinstance(rule, str) else str(rule.computes) for rule in chosen
    ]
    found: dict[str, Any] = {
        "name": rule_name(report),
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


def _rules(report: Report) -> list[Any]:
    """Return the rules of the schedule and of its ways, each once."""
    schedule = report.schedule
    if schedule is None or (schedule.selection is None and not schedule.mixture):
        return []
    from .selection.mixed import rules  # few schedules name a rule

    return rules(schedule)
