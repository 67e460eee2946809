"""How the token counts that a bill rests on came about, as arithmetic to check by hand.

The bill's own arithmetic is in its entries: formula, substitution, result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..costmodel.plan import alike
from ..costmodel.report import Report
from ..costmodel.schedule import Stage, ratio_text
from ..costmodel.tokenplan import TokenPlan, decode_reads
from .encoder_working import Steps, encoder_steps
from .units import ranges


def token_steps(report: Report) -> tuple[tuple[str, str], ...]:
    """Return how the token counts came about, as (what, arithmetic)."""
    dense, plan = report.dense, report.scheduled
    seen = dense.visual_input
    lines = encoder_steps(report)
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
    lines += _lengths(report)
    if report.model.decoder.encoder_layers:
        lines += _generating_steps(report)
    lines += _rows_of_products(report)
    lines.append(("decoder pairs", _pairs(report)))
    lines += _decode_steps(report)
    if plan.batch > 1:
        lines.append((f"batch {plan.batch}", f"n and pairs below are {plan.batch} times as many"))
    return tuple(lines)


def _lengths(report: Report) -> Steps:
    """Return the sequence length n, or the keys of cross-attention, before and after stages."""
    dense, plan, lines = report.dense, report.scheduled, []
    rest = f"{plan.structural_tokens} + {plan.text_tokens}"
    crosses = report.model.decoder.crosses
    if crosses:
        lines.append(("n = S + N", f"{rest} = {plan.query[0]}"))
    entering, whole = plan.entering_visual_tokens, dense.dense_visual_tokens
    if entering != whole:
        reduced = "compression" if report.schedule and report.schedule.compress else "merging"
        if not crosses:
            lines.append(("n of the baseline", f"{whole} + {rest} = {dense.query[0]}"))
        lines.append((f"M after {reduced}", f"{entering} visual tokens enter the LLM"))
    prompt = plan.structural_tokens + plan.text_tokens
    if crosses:
        lines.append(("keys of cross-attention", f"M = {entering}"))
    else:
        lines.append(("n = M + S + N", f"{entering} + {rest} = {entering + prompt}"))
    rounding = report.schedule.rounding if report.schedule else "floor"
    for stage in report.schedule.stages if report.schedule else ():
        left = plan.visual[stage.first_layer]
        amount = _amount(stage, entering, left, rounding)
        generates = 0 < report.model.decoder.encoder_layers <= stage.first_layer
        if crosses:
            lines.append((f"keys from layer {stage.first_layer} on", amount))
        elif generates:
            keys = f"{amount} + {rest} = {left + prompt}"
            lines.append((f"keys of cross-attention from layer {stage.first_layer} on", keys))
        else:
            length = f"{amount} + {rest} = {left + prompt}"
            lines.append((f"n from layer {stage.first_layer} on", length))
    return lines + _activity(report)


def _activity(report: Report) -> Steps:
    """Return what tokens do in the layers in which they do not all do everything."""
    plan, lines = report.scheduled, []
    if plan.uniform or plan.branches:
        return []
    groups = alike(zip(plan.query, plan.key, plan.attended, plan.ffn, plan.pairs, strict=True))
    for layers, (query, key, attended, ffn, pairs) in groups:
        text = f"q = {query} updated, k = {key} projected, {attended} attended to, f = {ffn} "
        text += f"in the FFN, {pairs:,} pairs"
        lines.append((f"layers {ranges(layers)}", text))
    return lines


def _generating_steps(report: Report) -> Steps:
    """Return what the layers of the LLM's own encoder are, and what those behind it process."""
    plan, first = report.scheduled, report.model.decoder.encoder_layers
    layers = f"{first}–{len(plan.query) - 1}"
    keys = ", ".join(str(count) for count in dict.fromkeys(plan.cross[first:]))
    return [
        (f"layers {ranges(range(first))} of the LLM", "its encoder, which no decode forward runs"),
        (f"n in layers {layers}", f"1 start token; cross-attention to {keys} keys"),
    ]


def _rows_of_products(report: Report) -> Steps:
    """Return where `exact` has products with more rows than a layer has tokens."""
    plan, counting, lines = report.scheduled, report.counting, []
    heads, experts = [], []
    for block in report.model.decoder.blocks:
        attention: Any = block.attention
        network: Any = block.feed_forward
        latent = attention is not None and attention.kind == "latent"
        heads.append(attention.num_attention_heads if latent else 0)
        routed = "num_experts_per_tok" if counting.experts == "routed" else "num_experts"
        experts.append(getattr(network, routed) if network.kind == "experts" else 0)
    if any(heads) and counting.latent == "absorbed":
        lines.append(("n of absorbed key, value", f"heads · n = {_times(heads, plan.query)}"))
    if any(heads) and counting.latent == "recomputed":
        text = "all keys that attention reads, in decode forwards those of the cache too"
        lines.append(("n of key-value expansion", text))
    if any(experts):
        each = "experts per token" if counting.experts == "routed" else "all experts"
        lines.append(("n of experts", f"{each} · n = {_times(experts, plan.ffn)}"))
    return lines


def _times(factors: Sequence[int], counts: Sequence[int]) -> str:
    """Return factor · n by layers, those without a factor left out."""
    groups = alike(zip(factors, counts, strict=True))
    return "; ".join(
        f"{factor} · {n} = {factor * n} in layers {ranges(layers)}"
        for layers, (factor, n) in groups
        if factor
    )


def _pairs(report: Report) -> str:
    decoder = report.model.decoder
    if not report.scheduled.uniform and not report.scheduled.branches:
        return "⌊a · q · k⌋ of visual tokens, and all pairs with others; see the layers above"
    if not report.counting.causal or decoder.bidirectional == "prefix":
        return "n · n per layer"
    text = "n · (n + 1) / 2 per layer"
    if decoder.encoder_layers:
        text = "n · n per layer of the LLM's encoder"
    if decoder.sliding_window is not None:
        size, layers = decoder.sliding_window.size, ranges(decoder.sliding_window.layers)
        text += f", at most {size} keys per query in layers {layers}"
    if decoder.bidirectional == "images":
        text += ", and all pairs inside each image"
    return text


def _decode_steps(report: Report) -> Steps:
    plan, forwards, lines = report.scheduled, report.workload.new_tokens - 1, []
    if not forwards:
        return []
    if plan.branches:
        return [(f"keys of {forwards} decode forwards", "those of each way, times its probability")]
    runs = [layer.generates and layer.self_attention for layer in plan.layout]
    windows = [layer.window for layer in plan.layout]
    for layers, (kept, visual, window, runs_here) in alike(
        zip(plan.kv_read, plan.visual_read, windows, runs, strict=True)
    ):
        if not runs_here:
            continue
        what = f"keys of {forwards} decode forwards, layers {ranges(layers)}"
        total, _ = decode_reads(plan, layers[0], 1, forwards)
        if window is not None and kept + forwards > window:
            text = f"Σ min({kept} + i, {window}), i = 1 to {forwards}, = {total}"
        elif plan.cache is None or (plan.cache.generated == 1 and not plan.cache.shrink):
            text = f"{forwards} · {kept} + (1 + {forwards}) · {forwards} / 2 = {total}"
        else:
            text = f"{_cached_keys(plan, kept, visual, forwards)} = {total}"
        lines.append((what, text))
    return lines


def _cached_keys(plan: TokenPlan, kept: int, visual: int, forwards: int) -> str:
    """Return the keys of decode forwards that keep or read fewer tokens, summed over i."""
    cache, own = plan.cache, f"(1 + {forwards}) · {forwards} / 2"
    if cache.generated != 1:
        own = f"Σ (⌊{ratio_text(cache.generated)} · (i − 1)⌋ + 1)"
    if not cache.shrink:
        return f"{forwards} · {kept} + {own}"
    each = ratio_text(cache.shrink * plan.entering_visual_tokens)
    return (
        f"{forwards} · {kept - visual} + Σ max(0, {visual} − ⌊{each} · (i − 1)⌋) + {own}, "
        f"i = 1 to {forwards},"
    )


def _amount(stage: Stage, entering: int, left: int, rounding: str) -> str:
    if stage.ratio is None:
        return str(left)
    return f"{rounding}({ratio_text(stage.ratio)} · {entering}) [{left}]"


def _connector_step(report: Report) -> str:
    dense, scheduled = report.dense.connector_tokens, report.scheduled.connector_tokens
    kept = f", {scheduled} under the schedule" if scheduled != dense else ""
    return f"{dense} leave the connector{kept}"
