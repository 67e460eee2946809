"""What every answer says about its question: workload, schedule, choices, provenance."""

from __future__ import annotations

from ..costmodel import Report
from ..costmodel.flops import MEANINGS, UNITS, Convention
from ..costmodel.payload import FLOOR
from ..costmodel.payload import SCHEMA_VERSION as SCHEMA_VERSION
from ..costmodel.payload import floor_payload as floor_payload
from ..costmodel.payload import heading as heading
from ..costmodel.payload import provenance as provenance
from ..costmodel.schedule_words import merges, off_grid
from ..costmodel.schedule_words import schedule_text as schedule_text
from ..costmodel.tokens.base import Size
from ..costmodel.units import compact, percent, ranges, with_prefix
from .implementation import implementation_parts
from .method_notes import method_notes, video_notes
from .model_notes import model_notes
from .selection_words import selection_text


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
    forwards = "prefill" if new == 1 else f"prefill and {new - 1} decode forward{'s' * (new > 2)}"
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
