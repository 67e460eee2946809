"""A schedule in words: what it reduces, and what choosing the tokens is counted as."""

from __future__ import annotations

from fractions import Fraction

from ..costmodel import Report
from ..costmodel.flops import Convention
from ..costmodel.schedule import ratio_text
from .units import compact

SELECTION = "not specified, 0 counted"


def schedule_text(report: Report) -> str:
    """Return the schedule in words."""
    schedule, plan = report.schedule, report.scheduled
    if schedule is None:
        return "none: the dense model on both sides"
    parts = [schedule.name] if schedule.name else []
    if schedule.encoder:
        parts.append(_encoder_text(report))
    if schedule.compress:
        ratio = _amount(schedule.compress.ratio)
        entering = _visual(plan.entering_visual_tokens)
        parts.append(f"{ratio}{entering} {schedule.compress.at.replace('-', ' the ')}")
    for stage in schedule.stages:
        left = _visual(plan.visual[stage.first_layer])
        parts.append(f"from layer {stage.first_layer} on {_amount(stage.ratio)}{left}")
    if not (schedule.encoder or schedule.compress or schedule.stages):
        parts.append(f"all {_visual(plan.dense_visual_tokens)} everywhere")
    amounts = [schedule.compress, *schedule.stages]
    if any(amount and amount.ratio is not None for amount in amounts):
        parts[-1] += f", rounding {schedule.rounding}"
    return "; ".join(parts)


def _encoder_text(report: Report) -> str:
    plan, vision = report.scheduled, report.model.vision
    merged = plan.merged_per_crop
    amounts = str(merged[0]) if len(set(merged)) == 1 else compact(merged)
    crops = len(plan.visual_input.crops)
    each = " of each crop" if crops > 1 else ""
    left = plan.encoder_ffn[vision.contributing_layers - 1] - vision.extra_tokens * crops
    patches = f"{left} of {plan.encoder_positions} patches leave it"
    return f"encoder merges tokens{each} per layer ({amounts}): {patches}"


def _visual(tokens: int) -> str:
    return f"{tokens} visual token{'s' * (tokens != 1)}"


def _amount(ratio: Fraction | None) -> str:
    return "" if ratio is None else f"keep {ratio_text(ratio)}: "


def merges(report: Report) -> bool:
    """Tell whether the encoder merges tokens."""
    return report.scheduled.encoder_ffn != report.dense.encoder_ffn


def off_grid(report: Report) -> bool:
    """Tell whether merging keeps the connector's tokens from being un-padded and separated."""
    seen, used = report.dense.visual_input, report.model.vision.contributing_layers
    before, after = report.dense.encoder_ffn[used - 1], report.scheduled.encoder_ffn[used - 1]
    return before != after and seen.visual_tokens != seen.connector_tokens


def selection_rule(report: Report) -> str | None:
    """Return the schedule's selection rule, or that there is none; None without a schedule."""
    return (report.schedule.selection or SELECTION) if report.schedule else None


def selection_text(report: Report, conventions: tuple[Convention, ...]) -> str:
    """Return what the conventions count of the choice of tokens, for people."""
    rule = report.schedule.selection if report.schedule else None
    if rule is None:
        return SELECTION
    if "exact" not in conventions:
        return f"{rule}, which exact alone counts"
    if "selection" not in report.bill("exact").by_component():
        return f"{rule}, which has nothing to choose here, 0 counted"
    from ..costmodel.selection import RULES  # few schedules name a rule

    return (
        f"{rule} as this project implements it ({RULES[rule].computes}); released code may cost "
        "more"
    )


def selection_scope(report: Report) -> str:
    """Return whether the exact figures count the choice of tokens, as a clause."""
    rule = report.schedule.selection if report.schedule else None
    return f"token selection by {rule} counted" if rule else "token selection not counted"
