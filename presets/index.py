"""The index of all model presets: what a listing shows, and which file holds a model.

A listing of every model would otherwise build every model. The index is written from the presets
by `python -m vlm_tokencost.presets.indexing`; a test compares both.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

NAME = "index.json"
_FILE = '"file": "'


class Entry(NamedTuple):
    """What a listing shows of a model.

    Attributes:
        id, family, status: As in the preset.
        file: The preset's file.
        unverified: Fields that could not be checked against a source.
        parameters: Stored parameters.
        default_image: Height x width of the default image, or of the default video's frames.
        frames: Frames of the default video; 0 for an image.
        visual_tokens: M for the default image or video.
    """

    id: str
    family: str
    status: str
    file: str
    unverified: tuple[str, ...]
    parameters: int
    default_image: str
    frames: int
    visual_tokens: int


def file_of(models: Path, model_id: str) -> Path | None:
    """Return the file that the index of a folder names for a model, if it does.

    Looks the one line up without parsing the rest: every command that prices a model waits for it.
    """
    try:
        text = (models / NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    line = text.find(f'{{"id": "{model_id}", ')
    if line < 0:
        return None
    start = text.index(_FILE, line) + len(_FILE)
    path = models / text[start : text.index('"', start)]
    return path if path.exists() else None


@cache
def read_index(models: Path) -> dict[str, Entry]:
    """Return the index of a folder of presets by id; empty where the folder has none."""
    import json

    try:
        rows = json.loads((models / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {row["id"]: Entry(**{**row, "unverified": tuple(row["unverified"])}) for row in rows}
