"""What every answer says about its question: workload, schedule, choices, provenance."""

from __future__ import annotations

from typing import Any

from ..costmodel import Report
from ..costmodel.flops import MEANINGS, UNITS, Convention
from ..costmodel.memory import kv_cache_bytes, kv_read_bytes
from ..costmodel.plan import entering_encoder
from ..costmodel.tokens.base import Size
from ..costmodel.version import __version__
from .implementation import implementation_parts
from .method_notes import method_notes, method_payload, video_notes
from .model_notes import model_notes
from .schedule_words import merges, off_grid
from .schedule_words import schedule_text as schedule_text
from .selection_words import selection_payload, selection_rule, selection_text
from .units import compact, percent, ranges, with_prefix

#: Version of the JSON layout; a key that changes its meaning or goes away raises it.
SCHEMA_VERSION = "1"
FLOOR = "encoder, connector, head and LLM over text, structural and generated tokens"


def facts(report: Report, conventions: tuple[Convention, ...]) -> tuple[tuple[str, str], ...]:
    """Return what was asked and assumed, for people."""
    model = report.model
    lines = [
        ("model", f"{model.id} ({model.family}), configuration {model.status}"),
        _images(report),
        ("tokens", _tokens(report)),
        ("request", _request(report)),
        ("schedule", schedule_text(report)),
        ("per layer", _per_layer(report)),
        ("average", _average(report)),
    ]
    if "exact" in conventions:
        lines.append(("exact", counted(report)))
    return tuple(lines)


def _images(report: Report) -> tuple[str, str]:
    plan, frames = report.scheduled, report.dense.frames
    note = plan.visual_input.note
    if frames:
        left = f", {plan.frames} kept," if plan.frames != frames else ""
        return (
            "video",
            f"{frames} frames{left} of {sizes_text(plan.images)} (height×width) → {note}",
        )
    return "images", f"{sizes_text(plan.images)} (height×width) → {note}"


def _per_layer(report: Report) -> str:
    plan = report.scheduled
    text = f"{compact(plan.query)} tokens"
    crossing = [layer for layer, one in enumerate(plan.layout) if one.crosses]
    if crossing:
        keys = [plan.cross[layer] for layer in crossing]
        amounts = str(keys[0]) if len(set(keys)) == 1 else ", ".join(map(str, keys))
        text += f"; cross-attention to {amounts} keys in layers {ranges(crossing)}"
    if not plan.uniform:
        text = f"{compact(plan.query)} tokens updated, {compact(plan.attended)} attended to, "
        text += f"{compact(plan.ffn)} in the FFN"
    return text


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
        parts[0] += f" (given; encoder and connector run as for the images' {seen.visual_tokens})"
    elif seen.separator_tokens:
        parts[0] += f" ({seen.separator_tokens} of them learned separators)"
    parts += [f"{plan.structural_tokens} structural", f"{plan.text_tokens} text"]
    if report.model.decoder.crosses:
        sequence = plan.structural_tokens + plan.text_tokens
        return f"{parts[0]} as keys of cross-attention; {' + '.join(parts[1:])} = {sequence}"
    total = plan.dense_visual_tokens + plan.structural_tokens + plan.text_tokens
    return f"{' + '.join(parts)} = {total}"


def _average(report: Report) -> str:
    average = report.scheduled.average_visual_tokens
    dense = report.dense.dense_visual_tokens
    layers = "cross-attention layer" if report.model.decoder.crosses else "decoder layer"
    return f"{float(average):.2f} of {dense} visual tokens n_l per {layers} (Σ n_l / T)"


def counted(report: Report) -> str:
    """Return the choices behind `exact` in words."""
    counting, towers = report.counting, report.model.towers
    pairs = "all query–key pairs, masks ignored"
    if counting.causal:
        pairs = "causal pairs in the decoder, all pairs in the encoder"
    head = "the last position" if counting.logits == "last" else "all positions"
    computed = sum(tower.num_hidden_layers for tower in towers)
    contributing = sum(tower.contributing_layers for tower in towers)
    layers = f"{computed} encoder layers computed"
    if counting.encoder_layers == "contributing":
        layers = f"{contributing} contributing encoder layers of {computed}"
    elif contributing < computed:
        layers += f" (output of {computed - contributing} not used)"
    return "; ".join([pairs, f"logits of {head}", layers, *_execution(report)])


def _execution(report: Report) -> list[str]:
    """Return how parts of the model that can run in more than one way are counted."""
    counting, words = report.counting, []
    parts = implementation_parts(report.model)
    if "latent" in parts:
        words.append(f"latent attention {counting.latent}")
    if "experts" in parts:
        how = "chosen by the router" if counting.experts == "routed" else "all, on all tokens"
        words.append(f"experts {how}")
    if "adapters" in parts:
        how = "beside the weights" if counting.adapters == "active" else "merged into the weights"
        words.append(f"adapters {how}")
    return words


def notes(report: Report, conventions: tuple[Convention, ...]) -> tuple[str, ...]:
    """Return what a reader must know about the figures."""
    lines = []
    for name in conventions:
        obstacle = report.obstacle(name)
        meaning = f"no figure for this model: {obstacle}" if obstacle else MEANINGS[name]
        lines.append(f"{name} [{UNITS[name]}]: {meaning}")
    if "exact" in conventions:
        floor, dense = report.floor(), report.total("exact", scheduled=False)
        phase = "generation" if report.workload.new_tokens > 1 else "prefill"
        lines.append(
            f"floor [exact]: {with_prefix(floor, 'FLOP')} = {percent(floor, dense)} of the "
            f"dense {phase}: {FLOOR}; no pruning in the LLM goes below"
        )
        unused = report.unused_encoder_flops()
        if unused:
            included = "included" if report.counting.encoder_layers == "computed" else "left out"
            side = " in the dense run" if merges(report) else ""
            lines.append(
                f"encoder layers whose output is not used: {with_prefix(unused, 'FLOP')}{side}, "
                f"{included} (--encoder-layers)"
            )
        lines += model_notes(report)
    if off_grid(report):
        lines.append("merged tokens lie on no grid: no un-padding, no learned separators")
    if report.schedule is not None:
        lines.append(f"selection: {selection_text(report, conventions)}")
    lines += method_notes(report.schedule)
    lines += video_notes(report)
    if report.workload.new_tokens > 1 and conventions != ("exact",):
        lines.append("survey and gated are prefill formulas; exact includes the decode forwards")
    lines += report.model.uncertainty
    return tuple(lines)


def provenance(report: Report) -> dict[str, str]:
    """Return the columns that every CSV row begins with."""
    model = report.model
    columns = {"model": model.id, "status": model.status}
    columns["unverified"] = " ".join(model.unverified)
    if model.defaulted:
        columns["defaulted"] = " ".join(model.defaulted)
    return columns


def floor_payload(report: Report) -> dict[str, Any]:
    """Return the floor as both commands' JSON gives it."""
    floor, dense = report.floor(), report.total("exact", scheduled=False)
    return {
        "convention": "exact",
        "unit": "FLOP",
        "amount": floor,
        "ratio": floor / dense,
        "meaning": FLOOR,
    }


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
        "defaulted": list(model.defaulted),
        "workload": {
            "image_sizes": [f"{height}x{width}" for height, width in plan.images],
            "frames": plan.frames,
            "processor": workload.processor.model_dump(exclude_defaults=True),
            "image_rule": seen.note,
            "visual_tokens": plan.dense_visual_tokens,
            "visual_tokens_given": workload.visual_tokens is not None,
            "separator_tokens": seen.separator_tokens,
            "structural_tokens": plan.structural_tokens,
            "text_tokens": plan.text_tokens,
            "encoder_tokens": entering_encoder(model, plan),
            "connector_tokens": plan.connector_tokens,
            "new_tokens": workload.new_tokens,
            "batch": workload.batch,
        },
        "counting": report.counting.model_dump(),
        "schedule": _schedule(report),
    }


def _schedule(report: Report) -> dict[str, Any]:
    schedule, plan, execution = report.schedule, report.scheduled, report.counting.execution
    return {
        "name": schedule.name if schedule else None,
        "method": method_payload(schedule),
        "rounding": schedule.rounding if schedule else None,
        "encoder": _encoder(report),
        "compress": _compress(report),
        "stages": [
            {
                "first_layer": stage.first_layer,
                "ratio": float(stage.ratio) if stage.ratio is not None else None,
                "visual_tokens": plan.visual[stage.first_layer],
            }
            for stage in (schedule.stages if schedule else ())
        ],
        "primitives": _primitives(report),
        "selection": selection_rule(report),
        "selection_work": selection_payload(report),
        "tokens_per_layer": list(plan.query),
        "activity": None if plan.uniform else _activity(report),
        "cross_tokens_per_layer": _cross_tokens(report),
        "visual_tokens_per_layer": list(plan.visual),
        "average_visual_tokens": float(plan.average_visual_tokens),
        "connector_tokens": plan.connector_tokens,
        "kv_per_layer": {"stored": list(plan.kv_stored), "read": list(plan.kv_read)},
        "kv_cache_bytes": {
            "bits": plan.bits.kv if plan.bits else 16,
            "baseline": kv_cache_bytes(report.model, report.dense, 16, execution),
            "scheduled": kv_cache_bytes(report.model, plan, None, execution),
            "read_per_step": kv_read_bytes(report.model, plan, None, execution),
        },
    }


def _primitives(report: Report) -> dict[str, Any]:
    """Return the primitives that few schedules have, as they were given."""
    if report.schedule is None:
        return {}
    usual = {"encoder", "compress", "stages", "selection"}
    rare = {name for name in report.schedule.primitives if name not in usual}
    if not rare:
        return {}
    return report.schedule.model_dump(mode="json", include=rare, exclude_none=True)


def _activity(report: Report) -> dict[str, Any]:
    """Return what tokens do in each layer where they do not all do everything."""
    plan = report.scheduled
    return {
        "updated_per_layer": list(plan.query),
        "projected_per_layer": list(plan.key),
        "attended_per_layer": list(plan.attended),
        "ffn_per_layer": list(plan.ffn),
        "pairs_per_layer": list(plan.pairs),
    }


def _cross_tokens(report: Report) -> list[int | None] | None:
    """Return the keys of cross-attention by layer, None where a layer or the model has none."""
    plan = report.scheduled
    if not any(layer.crosses for layer in plan.layout):
        return None
    layers = zip(plan.layout, plan.cross, strict=True)
    return [keys if layer.crosses else None for layer, keys in layers]


def _compress(report: Report) -> dict[str, Any] | None:
    compress = report.schedule.compress if report.schedule else None
    if compress is None:
        return None
    return {
        "visual_tokens": report.scheduled.entering_visual_tokens,
        "at": compress.at,
        "extra": compress.extra,
        "learned": compress.learned,
    }


def _encoder(report: Report) -> dict[str, Any] | None:
    if report.schedule is None or report.schedule.encoder is None:
        return None
    return {
        "merged_per_layer": list(report.scheduled.merged_per_crop),
        "tokens_per_layer": list(report.scheduled.encoder_tokens),
    }
