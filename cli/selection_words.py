"""What choosing the tokens is counted as, in words and as figures."""

from __future__ import annotations

from ..costmodel import Report
from ..costmodel.choosing import SELECTION as SELECTION
from ..costmodel.choosing import rule_name
from ..costmodel.choosing import selection_payload as selection_payload
from ..costmodel.choosing import selection_rule as selection_rule
from ..costmodel.flops import Convention
from ..costmodel.units import with_prefix


def selection_text(report: Report, conventions: tuple[Convention, ...]) -> str:
    """Return what the conventions count of the choice of tokens, for people."""
    rule = rule_name(report)
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
    how = "as its released code computes it" if released else "as priced here"
    ideal = f" ({work['computes']})"  # the bracket is of the ideal form, which may differ
    if counted == other:
        return f"{rule} {how}{ideal}: {_figures(counted)}"
    if released:
        return f"{rule} {how}: {_figures(other)}; ideal{ideal}: {_figures(counted)}"
    return f"{rule} {how}{ideal}: {_figures(counted)}; as released: {_figures(other)}"


def selection_scope(report: Report) -> str:
    """Return whether the exact figures count the choice of tokens, as a clause."""
    rule = rule_name(report)
    return f"token selection by {rule} counted" if rule else "token selection not counted"


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
