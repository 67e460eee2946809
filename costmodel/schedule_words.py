"""A schedule in words: what it reduces."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from .numeric import Spec
from .report import Report
from .schedule import EncoderMerge, Schedule, ratio_text
from .tokenplan import TokenPlan
from .units import compact, ranges

#: Where a schedule compresses, in words.
PLACES = {
    "after-connector": "after the connector",
    "before-connector": "before the connector",
    "instead-of-connector": "instead of the connector",
}


def schedule_text(report: Report) -> str:
    """Return the schedule in words."""
    schedule, plan = report.schedule, report.scheduled
    if schedule is None:
        return "none: the dense model on both sides"
    parts = [schedule.name] if schedule.name else []
    if schedule.input:
        parts.append(_input_text(report))
    if isinstance(schedule.encoder, EncoderMerge):
        parts.append(_encoder_text(report))
    elif schedule.encoder:
        counts = compact(plan.encoder_tokens)
        parts.append(f"encoder ({schedule.encoder.op}) of {counts} tokens in its layers")
    if schedule.compress:
        ratio = _amount(schedule.compress.ratio)
        entering = _visual(plan.entering_visual_tokens)
        more = [
            f"{count} of them {name}"
            for name in ("extra", "learned")
            if (count := getattr(schedule.compress, name))
        ]
        extra = f", {', '.join(more)}" if more else ""
        parts.append(f"{ratio}{entering}{extra} {PLACES[schedule.compress.at]}")
    for stage in schedule.stages:
        left = _visual(plan.visual[stage.first_layer])
        parts.append(f"from layer {stage.first_layer} on {_amount(stage.ratio)}{left}")
    parts += _rare_texts(report)
    if not set(schedule.primitives) - {"selection", "training"}:
        parts.append(f"all {_visual(plan.dense_visual_tokens)} everywhere")
    amounts = [schedule.compress, *schedule.stages]
    if any(amount and amount.ratio is not None for amount in amounts):
        parts[-1] += f", rounding {schedule.rounding}"
    return "; ".join(parts)


def _input_text(report: Report) -> str:
    assert report.schedule is not None
    spec, plan, parts = report.schedule.input, report.scheduled, []
    if spec.frames is not None:
        before = report.dense.frames or len(report.dense.images)
        left = plan.frames or len(plan.images)
        parts.append(f"keep {ratio_text(spec.frames)}: {left} of {before} frames")
    if spec.crops is not None:
        parts.append(f"at most {spec.crops} crop{'s' * (spec.crops != 1)} of an image")
    if spec.patches is not None:
        patches = f"{plan.encoder_positions} of {report.dense.encoder_positions} patches"
        parts.append(f"keep {ratio_text(spec.patches)}: {patches} enter the encoder")
    return ", ".join(parts)


def _rare_texts(report: Report) -> list[str]:
    """Return the primitives that few schedules have, by their fields."""
    schedule = report.schedule
    assert schedule is not None
    texts = [f"{rule.kind} {_fields(rule, ('kind',))}" for rule in schedule.layers]
    for name in ("cache", "channels", "bits", "stream", "training"):
        if getattr(schedule, name) is not None:
            texts.append(f"{name}: {_fields(getattr(schedule, name), ())}")
    if schedule.mixture:
        ways = []
        for branch, (_, way) in zip(schedule.mixture, report.scheduled.branches, strict=True):
            what = "not run" if branch.skipped else "dense"
            if branch.schedule is not None and way is not None:
                what = _way_text(branch.schedule, way) or what
            ways.append(f"{ratio_text(branch.probability)} {what}")
        texts.append(f"mixture of {', '.join(ways)}; figures are expectations")
    return texts


def primitive_texts(schedule: Schedule) -> list[tuple[str, str]]:
    """Return the primitives of a schedule by name, in words that fit every model.

    >>> primitive_texts(Schedule.keep(0.5, layer=2))
    [('stages', 'from layer 2 on keep 0.5'), ('rounding', 'floor')]
    """
    found = []
    for name in schedule.primitives:
        value = getattr(schedule, name)
        if name == "stages":
            text = "; ".join(_stage_text(stage) for stage in value)
        elif name == "selection":
            text = value if isinstance(value, str) else str(value.name)
        elif name == "encoder":
            text = _encoder_words(value)
        elif name == "layers":
            text = "; ".join(f"{rule.kind} {_fields(rule, ('kind',))}".strip() for rule in value)
        elif name == "mixture":
            text = ", ".join(f"{ratio_text(way.probability)} {_branch_text(way)}" for way in value)
        else:
            text = _fields(value, ()) or "as by default"
        found.append((name, text))
    amounts = [schedule.compress, *schedule.stages]
    if any(amount and amount.ratio is not None for amount in amounts):
        found.append(("rounding", schedule.rounding))
    return found


def _encoder_words(encoder: Any) -> str:
    """Return what happens in the encoder, for no model in particular."""
    if not isinstance(encoder, EncoderMerge):
        return f"{encoder.op} {'; '.join(_stage_text(stage) for stage in encoder.stages)}"
    merged = encoder.merged_per_layer
    if isinstance(merged, int):
        return f"merge {merged} tokens in every block"
    return f"merge tokens per layer ({compact(merged)})"


def _stage_text(stage: Any) -> str:
    if getattr(stage, "withdraw", False):
        return f"from layer {stage.first_layer} on no visual token"
    left = _visual(stage.tokens) if stage.ratio is None else ratio_text(stage.ratio)
    return f"from layer {stage.first_layer} on keep {left}"


def _branch_text(branch: Any) -> str:
    """Return a way of a mixture, for no model in particular."""
    if branch.skipped or branch.schedule is None:
        return "not run" if branch.skipped else "dense"
    return " and ".join(text for _, text in primitive_texts(branch.schedule))


def _way_text(schedule: Schedule, plan: TokenPlan) -> str:
    """Return what a way of a mixture does, with its amounts."""
    texts = []
    for name in schedule.primitives:
        if name == "compress":
            texts.append(f"with {_visual(plan.entering_visual_tokens)}")
        elif name == "stages":
            texts += [
                f"from layer {stage.first_layer} on {_visual(plan.visual[stage.first_layer])}"
                for stage in schedule.stages
            ]
        elif name != "selection":
            texts.append(name)
    return " and ".join(texts)


def _fields(spec: Spec, hidden: tuple[str, ...]) -> str:
    """Return the fields of a spec that were given, in words."""
    shown = []
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if name in hidden or name not in spec.model_fields_set or value is None:
            continue
        if isinstance(value, Fraction):
            value = ratio_text(value)
        elif isinstance(value, tuple):
            whole = all(isinstance(item, int) for item in value) and value == tuple(
                sorted(set(value))
            )
            value = ranges(value) if whole else f"{_ends(value)} over {len(value)} layers"
        shown.append(f"{name.replace('_', ' ')} {value}")
    return ", ".join(shown)


def _ends(values: tuple[Any, ...]) -> str:
    """Return the first and the last of a list of shares."""
    first, last = (
        ratio_text(item) if isinstance(item, Fraction) else str(item)
        for item in (values[0], values[-1])
    )
    return f"{first} → {last}"


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
    if report.schedule is None or report.schedule.encoder is None:
        return False  # fewer frames or crops lie on grids as before
    seen, used = report.dense.visual_input, report.model.vision.contributing_layers
    before, after = report.dense.encoder_ffn[used - 1], report.scheduled.encoder_ffn[used - 1]
    return before != after and seen.visual_tokens != seen.connector_tokens
