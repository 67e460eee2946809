"""Answers as data: the question, and what `ratio` says of it in JSON.

Raw integers in base units and unrounded doubles; docs/schemas has the JSON Schemas.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .choosing import selection_payload, selection_rule
from .flops import Convention
from .memory import kv_cache_bytes, kv_read_bytes
from .plan import entering_encoder
from .report import Report
from .rows import Row, component_rows, null_row
from .version import __version__

#: Version of the JSON layout; a key that changes its meaning or goes away raises it.
SCHEMA_VERSION = "1"
FLOOR = "encoder, connector, head and LLM over text, structural and generated tokens"


def ratio_rows(report: Report, chosen: Iterable[Convention]) -> list[Row]:
    """Return the rows of what a ratio compares; without new tokens that is the prefill."""
    rows = []
    for name in chosen:
        if report.obstacle(name):
            rows.append(null_row(name))
            continue
        phase = report.priced_phase(name) if report.workload.new_tokens > 1 else "prefill"
        dense = report.bill(name, scheduled=False, phase=phase)
        scheduled = report.bill(name, scheduled=True, phase=phase)
        rows += component_rows(phase, name, (dense, scheduled))
    return rows


def ratio_payload(report: Report, rows: list[Row]) -> dict[str, Any]:
    """Return what `ratio --format json` holds, of rows that `ratio_rows` gives."""
    result: dict[str, Any] = {**heading(report), "conventions": {}}
    for row in rows:
        figures = {"baseline": row["baseline"], "scheduled": row["scheduled"]}
        if row["component"] == "total":
            phase = {"unit": row["unit"], "phase": row["phase"]}
            obstacle = report.obstacle(row["convention"])
            ratio = None if obstacle else report.ratio(row["convention"])
            total = {**phase, **figures, "ratio": ratio}
            if obstacle:
                total["reason"] = obstacle
            result["conventions"][row["convention"]] = total
        else:
            exact = result["conventions"]["exact"]
            exact.setdefault("components", {})[row["component"]] = figures
    if "exact" in result["conventions"]:
        result["conventions"]["exact"]["unused_encoder_layers"] = report.unused_encoder_flops()
        result["floor"] = floor_payload(report)
        if report.workload.new_tokens > 1:
            from .decoding import decode_payload  # most ratios are of prefills alone

            result["decode"] = decode_payload(report)
    return result


def provenance(report: Report) -> dict[str, str]:
    """Return the columns that every flat row begins with."""
    model = report.model
    columns = {"model": model.id, "status": model.status}
    columns["unverified"] = " ".join(model.unverified)
    if model.defaulted:
        columns["defaulted"] = " ".join(model.defaulted)
    return columns


def floor_payload(report: Report) -> dict[str, Any]:
    """Return the floor as JSON gives it."""
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
        "method": _method(report),
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


def _method(report: Report) -> dict[str, Any] | None:
    """Return the method that a schedule comes from; a plain schedule comes from none."""
    method = getattr(report.schedule, "method", None)
    return None if method is None else dict(method.model_dump(mode="json"))


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
