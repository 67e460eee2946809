"""Writes index and lines of all presets: `python -m vlm_tokencost.presets.indexing`."""

from __future__ import annotations

import json

from ..costmodel import Model, Workload, model_parameters, plan
from .built import NAME as BUILT
from .files import replace
from .index import NAME, Entry
from .loader import MODELS, built_lines, load_file


def entry_of(model: Model, file: str) -> Entry:
    """Return the entry of a model."""
    dense = plan(model, Workload())
    height, width = model.token_rule.default_image
    return Entry(
        id=model.id,
        family=model.family,
        status=model.status,
        file=file,
        unverified=model.unverified,
        parameters=sum(model_parameters(model).values()),
        default_image=f"{height}x{width}",
        frames=dense.frames,
        visual_tokens=dense.dense_visual_tokens,
    )


def index_text() -> str:
    """Return the index as it should be."""
    entries = [
        entry_of(model, path.name)
        for path in sorted(MODELS.glob("*.toml"))
        for model in load_file(path)
    ]
    lines = [json.dumps(entry._asdict(), ensure_ascii=False) for entry in entries]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def built_text() -> str:
    """Return the lines of all models as they should be."""
    return "\n".join(built_lines()) + "\n"


if __name__ == "__main__":
    replace(MODELS / NAME, index_text().encode())
    replace(MODELS / BUILT, built_text().encode())
