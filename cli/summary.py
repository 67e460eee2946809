"""What every answer says about its question: workload, schedule, choices, provenance."""

from __future__ import annotations

from typing import Any

from ..costmodel import Report
from ..costmodel.flops import MEANINGS, UNITS, Convention
from ..costmodel.memory import kv_cache_bytes
from ..costmodel.schedule import Stage, ratio_text
from ..costmodel.tokens import Size
from ..costmodel.version import __version__
from .units import compact, percent, with_prefix

#: Version of the JSON layout; a key that changes its meaning or goes away raises it.
SCHEMA_VERSION = "1"
SELECTION = "not specified, 0 counted"


def facts(report: Report) -> tuple[tuple[str, str], ...]:
    """Return what was asked and assumed, for people."""
    model, plan = report.model, report.scheduled
    lines = [
        ("model", f"{model.id} ({model.family}), figures {model.status}"),
        ("images", f"{sizes_text(plan.images)} → {plan.visual_input.note}"),
        ("tokens", _tokens(report)),
        ("request", _request(report)),
        ("schedule", schedule_text(report)),
        ("per layer", f"{compact(plan.query)} tokens"),
        ("average", _average(report)),
        ("counted", counted(report)),
    ]
    return tuple(lines)


def _request(report: Report) -> str:
    batch, new = report.workload.batch, report.workload.new_tokens
    requests = f"batch {batch}" + (f": totals are for all {batch} requests" if batch > 1 else "")
    forwards = "prefill" if new == 1 else f"prefill and {new - 1} decode forwards"
    return f"{requests}; {new} new token{'s' * (new > 1)}: {forwards}"


def sizes_text(images: tuple[Size, ...]) -> str:
    """Return the images' sizes, height × width, shortened when there are many."""
    shown = [f"{height}×{width}" for height, width in images]
    if len(shown) > 1 and len(set(shown)) == 1:
        return f"{len(shown)} images of {shown[0]}"
    if len(shown) > 4:
        return f"{len(shown)} images: {', '.join(shown[:3])}, …"
    return ", ".join(shown)


def _tokens(report: Report) -> str:
    plan, seen = report.dense, report.dense.visual_input
    parts = [f"{plan.dense_visual_tokens} visual"]
    if report.workload.visual_tokens is not None:
        parts[0] += (
            f" (given; the images make {seen.visual_tokens}, which encoder and connector run)"
        )
    elif seen.separator_tokens:
        parts[0] += f" ({seen.separator_tokens} of them learned separators)"
    parts += [f"{plan.structural_tokens} structural", f"{plan.text_tokens} text"]
    total = plan.dense_visual_tokens + plan.structural_tokens + plan.text_tokens
    return f"{' + '.join(parts)} = {total}"


def schedule_text(report: Report) -> str:
    """Return the schedule in words."""
    schedule, dense = report.schedule, report.dense.dense_visual_tokens
    if schedule is None:
        return "none: the dense model on both sides"
    parts = [schedule.name] if schedule.name else []
    if schedule.compress:
        parts.append(
            f"{report.scheduled.entering_visual_tokens} visual tokens {schedule.compress.at}"
        )
    for stage in schedule.stages:
        left = report.scheduled.visual[stage.first_layer]
        parts.append(f"from layer {stage.first_layer} on {_amount(stage)}{left} visual tokens")
    if not (schedule.compress or schedule.stages):
        parts.append(f"all {dense} visual tokens everywhere")
    return f"{'; '.join(parts)}, rounding {schedule.rounding}"


def _amount(stage: Stage) -> str:
    return f"keep {ratio_text(stage.ratio)}: " if stage.ratio is not None else ""


def _average(report: Report) -> str:
    average = report.scheduled.average_visual_tokens
    dense = report.dense.dense_visual_tokens
    return f"{float(average):.2f} visual tokens per decoder layer (Σ n_l / T), dense {dense}"


def counted(report: Report) -> str:
    """Return the choices behind `exact` in words."""
    counting, vision = report.counting, report.model.vision
    pairs = "causal pairs" if counting.causal else "all query–key pairs, masks ignored"
    head = "last position" if counting.logits == "last" else "all positions"
    computed, contributing = vision.num_hidden_layers, vision.contributing_layers
    layers = f"{computed} encoder layers computed"
    if counting.encoder_layers == "contributing":
        layers = f"{contributing} contributing encoder layers of {computed}"
    elif contributing < computed:
        layers += f" ({computed - contributing} without use)"
    return f"{pairs}; logits of the {head}; {layers}"


def notes(report: Report, conventions: tuple[Convention, ...]) -> tuple[str, ...]:
    """Return what a reader must know about the figures."""
    lines = [f"{name} [{UNITS[name]}]: {MEANINGS[name]}" for name in conventions]
    if "exact" in conventions:
        floor, dense = report.floor(), report.total("exact", scheduled=False)
        lines.append(
            f"floor [exact]: {with_prefix(floor, 'FLOP')} = {percent(floor, dense)} of the "
            "baseline: encoder, connector, head and LLM over text; no pruning in the LLM goes below"
        )
        unused = report.unused_encoder_flops()
        if unused:
            included = "included" if report.counting.encoder_layers == "computed" else "left out"
            lines.append(
                f"encoder layers without use: {with_prefix(unused, 'FLOP')}, {included} "
                "(--encoder-layers)"
            )
        if report.schedule is not None:
            lines.append(f"selection: {SELECTION}")
    if report.workload.new_tokens > 1 and conventions != ("exact",):
        lines.append("survey and gated are prefill formulas; exact includes the decode forwards")
    if report.model.unverified:
        lines.append(f"unverified figures: {', '.join(report.model.unverified)}")
    return tuple(lines)


def heading(report: Report) -> dict[str, Any]:
    """Return the keys that every JSON answer begins with."""
    model, workload, plan = report.model, report.workload, report.dense
    seen = plan.visual_input
    return {
        "schema_version": SCHEMA_VERSION,
        "tokencost_version": __version__,
        "model": model.id,
        "status": model.status,
        "unverified": list(model.unverified),
        "workload": {
            "image_sizes": [f"{height}x{width}" for height, width in plan.images],
            "image_rule": seen.note,
            "visual_tokens": plan.dense_visual_tokens,
            "visual_tokens_given": workload.visual_tokens is not None,
            "separator_tokens": seen.separator_tokens,
            "structural_tokens": plan.structural_tokens,
            "text_tokens": plan.text_tokens,
            "encoder_tokens": plan.encoder_tokens,
            "connector_tokens": plan.connector_tokens,
            "new_tokens": workload.new_tokens,
            "batch": workload.batch,
        },
        "counting": report.counting.model_dump(),
        "schedule": _schedule(report),
    }


def _schedule(report: Report) -> dict[str, Any]:
    schedule, plan = report.schedule, report.scheduled
    return {
        "name": schedule.name if schedule else None,
        "rounding": schedule.rounding if schedule else None,
        "compress": _compress(report),
        "stages": [
            {
                "first_layer": stage.first_layer,
                "ratio": float(stage.ratio) if stage.ratio is not None else None,
                "visual_tokens": plan.visual[stage.first_layer],
            }
            for stage in (schedule.stages if schedule else ())
        ],
        "selection": SELECTION if schedule else None,
        "tokens_per_layer": list(plan.query),
        "visual_tokens_per_layer": list(plan.visual),
        "average_visual_tokens": float(plan.average_visual_tokens),
        "connector_tokens": plan.connector_tokens,
        "kv_cache_bytes": {
            "bits": 16,
            "baseline": kv_cache_bytes(report.model, report.dense),
            "scheduled": kv_cache_bytes(report.model, plan),
        },
    }


def _compress(report: Report) -> dict[str, Any] | None:
    compress = report.schedule.compress if report.schedule else None
    if compress is None:
        return None
    return {"visual_tokens": report.scheduled.entering_visual_tokens, "at": compress.at}
