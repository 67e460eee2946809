"""What an answer says of parts of a model that could be counted in another way."""

from __future__ import annotations

from ..costmodel import Report
from .units import ranges


def model_notes(report: Report) -> tuple[str, ...]:
    """Return what the exact figures assume of a Q-Former's text and of layers without keys."""
    notes = []
    text = report.dense.text_tokens
    if text and any(stage.reads_text for stage in report.model.connector.stages):
        notes.append(
            f"connector: all N = {text} text tokens count as the instruction that the Q-Former "
            "reads; its own tokenizer may make another number of it"
        )
    if report.model.decoder.crosses:
        notes.append(_without_keys(report))
    return tuple(notes)


def _without_keys(report: Report) -> str:
    """Return how cross-attention layers are counted whose keys are all gone."""
    plan = report.scheduled
    layers = [
        layer
        for layer, (one, keys) in enumerate(zip(plan.layout, plan.cross, strict=True))
        if one.crosses and not keys
    ]
    where = f"layers {ranges(layers)} and those of the floor" if layers else "those of the floor"
    return (
        f"cross-attention layers without keys ({where}) run all the same: query, output and "
        "feed-forward network are counted; code that skips them, as transformers' Mllama, does so "
        "only where a prompt has no image at all"
    )
