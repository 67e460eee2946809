"""Model presets with their parts filled in, one line of JSON each: what a command reads.

Reading TOML takes longer than pricing a model. The lines are written from the TOML files by
`python -m vlm_tokencost.presets.indexing`, a test compares them, and a line whose sources have
changed since is not used.
"""

import json
from pathlib import Path
from typing import Any
from zlib import crc32

NAME = "built.jsonl"


def checksum(*sources: Path) -> int:
    """Return a checksum of the files that a preset is made of."""
    total = 0
    for source in sources:
        total = crc32(source.read_bytes(), total)
    return total


def line(model_id: str, sources: tuple[Path, ...], table: dict[str, Any]) -> str:
    """Return a model's line; paths are relative to the folder of presets."""
    head: dict[str, Any] = {
        "id": model_id,
        "of": [f"{one.parent.name}/{one.name}" for one in sources],
    }
    head["checksum"] = checksum(*sources)
    return json.dumps({**head, "table": table}, ensure_ascii=False)


def built(models: Path, model_id: str) -> dict[str, Any] | None:
    """Return a model's table, if there is a line for it that is current."""
    path = models / NAME
    if '"' in model_id or not path.exists():
        return None
    text = path.read_text(encoding="utf-8")
    start = text.find(f'{{"id": {json.dumps(model_id, ensure_ascii=False)}, ')
    if start < 0:
        return None
    found = json.loads(text[start : text.index("\n", start)])
    sources = [models.parent / name for name in found["of"]]
    if not all(one.exists() for one in sources) or checksum(*sources) != found["checksum"]:
        return None
    table: dict[str, Any] = found["table"]
    return table
