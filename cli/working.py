"""How the token counts that a bill rests on came about, as arithmetic to check by hand.

The bill's own arithmetic is in its entries: formula, substitution, result.
"""

from __future__ import annotations

from ..costmodel import formulas
from ..costmodel.plan import TokenPlan, alike
from ..costmodel.report import Report
from ..costmodel.schedule import Stage, ratio_text
from .schedule_words import merges
from .units import ranges


def token_steps(report: Report) -> tuple[tuple[str, str], ...]:
    """Return how the token counts came about, as (what, arithmetic)."""
    dense, plan = report.dense, report.scheduled
    seen = dense.visual_input
    lines = [("encoder tokens", _encoder_step(plan)), ("encoder pairs", _pairs_step(report))]
    if merges(report):
        lines.append(("patches left", _merging_step(report)))
    lines.append(("connector tokens", _connector_step(report)))
    if report.workload.visual_tokens is not None:
        lines.append(("visual tokens M", f"{dense.dense_visual_tokens}, as given"))
    else:
        kept = seen.visual_tokens - seen.separator_tokens
        separators = f" + {seen.separator_tokens} separators" if seen.separator_tokens else ""
        summed = f" = {seen.visual_tokens}" if separators else ""
        lines.append(
            ("visual tokens M", f"{kept} from the connector{separators}{summed} ({seen.note})")
        )
    rest = f"{plan.structural_tokens} + {plan.text_tokens}"
    entering = plan.entering_visual_tokens
    if entering != dense.dense_visual_tokens:
        whole = dense.dense_visual_tokens
        lines.append(("n of the baseline", f"{whole} + {rest} = {dense.query[0]}"))
        reduced = "compression" if report.schedule and report.schedule.compress else "merging"
        lines.append((f"M after {reduced}", f"{entering} visual tokens enter the LLM"))
    length = entering + plan.structural_tokens + plan.text_tokens
    lines.append(("n = M + S + N", f"{entering} + {rest} = {length}"))
    rounding = report.schedule.rounding if report.schedule else "floor"
    for stage in report.schedule.stages if report.schedule else ():
        left = plan.visual[stage.first_layer]
        length = plan.query[stage.first_layer]
        amount = _amount(stage, entering, left, rounding)
        lines.append((f"n from layer {stage.first_layer} on", f"{amount} + {rest} = {length}"))
    pairs = "n · (n + 1) / 2 per layer" if report.counting.causal else "n · n per layer"
    lines.append(("decoder pairs", pairs))
    forwards = report.workload.new_tokens - 1
    for layers, (kept,) in alike(zip(plan.kv_read, strict=True)) if forwards else ():
        keys = f"{forwards} · {kept} + (1 + {forwards}) · {forwards} / 2"
        total = formulas.decode_pairs(kept, 1, forwards, forwards)
        lines.append(
            (f"keys of {forwards} decode forwards, layers {ranges(layers)}", f"{keys} = {total}")
        )
    if plan.batch > 1:
        lines.append((f"batch {plan.batch}", f"n and pairs below are {plan.batch} times as many"))
    return tuple(lines)


def _amount(stage: Stage, entering: int, left: int, rounding: str) -> str:
    if stage.ratio is None:
        return str(left)
    return f"{rounding}({ratio_text(stage.ratio)} · {entering}) [{left}]"


def _connector_step(report: Report) -> str:
    dense, scheduled = report.dense.connector_tokens, report.scheduled.connector_tokens
    kept = f", {scheduled} under the schedule" if scheduled != dense else ""
    return f"{dense} leave the connector{kept}"


def _encoder_step(plan: TokenPlan) -> str:
    crops = plan.visual_input.crops
    rows, columns = crops[0]
    extra = plan.encoder_tokens[0] - plan.encoder_positions
    class_tokens = f" + {extra} class tokens" if extra else ""
    if len(set(crops)) == 1:
        shape = f"{len(crops)} · {rows} · {columns}"
    else:
        shape = " + ".join(f"{high} · {wide}" for high, wide in crops)
    return f"{shape} patches{class_tokens} = {plan.encoder_tokens[0]}"


def _merging_step(report: Report) -> str:
    plan, used = report.scheduled, report.model.vision.contributing_layers
    merged = plan.merged_per_crop[:used]
    crops = len(plan.visual_input.crops)
    left = plan.encoder_positions - crops * sum(merged)
    return f"{plan.encoder_positions} - {crops} · ({' + '.join(map(str, merged))}) = {left}"


def _merged_pairs(report: Report) -> str:
    plan, token = report.scheduled, int(report.model.vision.class_token)
    merged, gone, steps = plan.merged_per_crop, 0, []
    sizes = [rows * columns + token for rows, columns in plan.visual_input.crops]
    for layer, pairs in enumerate(plan.encoder_pairs):
        squares = " + ".join(
            f"{sizes.count(size)} · {size - gone}²" for size in dict.fromkeys(sizes)
        )
        steps.append(f"{squares} = {pairs} in layer {layer}")
        gone += merged[layer]
    return "; ".join(steps)


def _pairs_step(report: Report) -> str:
    plan, vision = report.scheduled, report.model.vision
    if merges(report):
        return _merged_pairs(report)
    token = int(vision.class_token)
    sizes = [rows * columns + token for rows, columns in plan.visual_input.crops]
    same = len(set(sizes)) == 1
    squares = f"{len(sizes)} · {sizes[0]}²" if same else " + ".join(f"{size}²" for size in sizes)
    if vision.windows is None:
        return f"{squares} = {plan.encoder_pairs[0]} per layer"
    side, full = vision.windows.size, vision.windows.full_attention_layers
    windows = " + ".join(
        " · ".join(f"({size // side}·{side}² + {size % side}²)" for size in crop)
        for crop in plan.visual_input.crops
    )
    steps = []
    for layers, (pairs,) in alike(zip(plan.encoder_pairs, strict=True)):
        form = squares if layers[0] in full else windows
        steps.append(f"{form} = {pairs} in layers {ranges(layers)}")
    return "; ".join(steps)
