"""Models side by side, for `tokencost models compare`."""

from __future__ import annotations

from typing import Any

from ..costmodel import Model, Report, evaluate, kv_bytes_per_token, model_parameters
from ..costmodel.flops import CONVENTIONS, MEANINGS, UNITS
from ..costmodel.memory import kv_cache_bytes
from ..costmodel.plan import entering_encoder
from ..costmodel.version import __version__
from .document import Column, Document, Table
from .model_card import figures, shown
from .summary import SCHEMA_VERSION
from .units import with_prefix


def comparison(models: list[Model]) -> Document:
    """Return architectures and the cost of each model's default request, a column per model."""
    reports = [evaluate(model) for model in models]
    costs = [_costs(report) for report in reports]
    rows = _architecture_rows(models)
    header = tuple(Column(model.id) for model in models)
    notes = [f"{name} [{UNITS[name]}]: {MEANINGS[name]}" for name in CONVENTIONS]
    for report in reports:
        reasons = {name: report.obstacle(name) for name in CONVENTIONS}
        notes += [
            f"{report.model.id}, {name}: no figure: {reason}"
            for name, reason in reasons.items()
            if reason
        ]
        notes += [f"{report.model.id}: {told}" for told in report.model.uncertainty]
    return Document(
        title=f"{len(models)} models side by side",
        facts=(
            (
                "request",
                f"each model's default image or video, {reports[0].workload.text_tokens} text "
                "tokens, prefill, batch 1",
            ),
        ),
        tables=(
            Table(
                "Cost of the default request",
                (Column("figure", "left"), *header),
                tuple((label, *(_cell(cost[label]) for cost in costs)) for label in costs[0]),
            ),
            Table(
                "Architecture",
                (Column("part", "left"), Column("figure", "left"), *header),
                tuple((part, name, *map(shown, values)) for part, name, values in rows),
            ),
        ),
        notes=tuple(notes),
        sentence="",
        payload=[
            {
                "schema_version": SCHEMA_VERSION,
                "tokencost_version": __version__,
                **_summary(report),
                "architecture": [
                    {"part": part, "figure": name, "value": values[place]}
                    for part, name, values in rows
                    if values[place] is not None
                ],
            }
            for place, report in enumerate(reports)
        ],
        records=tuple(_flat(report) for report in reports),
    )


def _cell(value: tuple[int | None, str] | str) -> str:
    if isinstance(value, str):
        return value
    amount, unit = value
    if amount is None:
        return "—"
    return with_prefix(amount, unit) if unit else f"{amount:,}"


def _costs(report: Report) -> dict[str, Any]:
    plan, summary = report.dense, _summary(report)
    height, width = plan.images[0]
    image = f"{height}×{width}"
    costs: dict[str, Any] = {
        "configuration": report.model.status,
        "image or video": f"{plan.frames} × {image}" if plan.frames else image,
        "parameters": (summary["parameters"], ""),
        "encoder tokens": (entering_encoder(report.model, plan), ""),
        "connector tokens": (plan.connector_tokens, ""),
        "visual tokens": (plan.dense_visual_tokens, ""),
        "structural tokens": (plan.structural_tokens, ""),
    }
    for name in CONVENTIONS:
        costs[f"prefill, {name}"] = (summary["conventions"][name]["amount"], UNITS[name])
    for component, amount in summary["conventions"]["exact"]["components"].items():
        costs[f"  {component}, exact"] = (amount, "FLOP")
    costs["KV cache per token, 16 bit"] = (summary["kv_cache_bytes_per_token"], "B")
    costs["KV cache after the prefill"] = (summary["kv_cache_bytes"], "B")
    return costs


def _summary(report: Report) -> dict[str, Any]:
    model, plan = report.model, report.dense
    conventions: dict[str, Any] = {}
    for name in CONVENTIONS:
        reason = report.obstacle(name)
        amount = None if reason else report.bill(name).total
        conventions[name] = {"unit": UNITS[name], "amount": amount}
        if reason:
            conventions[name]["reason"] = reason
    components = report.bill("exact").by_component()
    conventions["exact"]["components"] = {
        name: components.get(name, 0) for name in ("vision", "connector", "decoder", "head")
    }
    height, width = plan.images[0]
    return {
        "id": model.id,
        "family": model.family,
        "status": model.status,
        "unverified": list(model.unverified),
        "default_image": f"{height}x{width}",
        "default_frames": plan.frames,
        "parameters": sum(model_parameters(model).values()),
        "encoder_tokens": entering_encoder(model, plan),
        "connector_tokens": plan.connector_tokens,
        "visual_tokens": plan.dense_visual_tokens,
        "structural_tokens": plan.structural_tokens,
        "text_tokens": plan.text_tokens,
        "conventions": conventions,
        "kv_cache_bytes_per_token": kv_bytes_per_token(model.decoder),
        "kv_cache_bytes": kv_cache_bytes(model, plan),
    }


def _flat(report: Report) -> dict[str, Any]:
    summary = _summary(report)
    conventions = summary.pop("conventions")
    summary["unverified"] = " ".join(summary["unverified"])
    for name, figures_of in conventions.items():
        summary[f"{name}_{figures_of['unit']}"] = figures_of["amount"]
        for component, amount in figures_of.get("components", {}).items():
            summary[f"{name}_{component}_{figures_of['unit']}"] = amount
    return summary


def _architecture_rows(models: list[Model]) -> list[tuple[str, str, list[Any]]]:
    """Return the union of the models' figures, in the order of the first that has each."""
    tables = [{(part, name): value for part, name, value in figures(model)} for model in models]
    keys: list[tuple[str, str]] = []
    for table in tables:
        place = 0
        for key in table:
            if key in keys:
                place = keys.index(key) + 1
            else:
                keys.insert(place, key)
                place += 1
    return [(*key, [table.get(key) for table in tables]) for key in keys]
