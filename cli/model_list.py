"""The models that are known, for `tokencost models list`: from the index, without building any."""

from __future__ import annotations

import fnmatch
from typing import Any

from ..costmodel import InvalidInput
from ..costmodel.errors import closest
from ..presets.index import Entry
from ..presets.loader import index_entries
from .document import Column, Document, Table


def listing(pattern: str) -> Document:
    """Return the models whose id contains or matches `pattern`.

    Raises:
        InvalidInput: It matches none.
    """
    known = index_entries()
    glob = pattern.lower() if any(sign in pattern for sign in "*?[") else f"*{pattern.lower()}*"
    found = [entry for entry in known if fnmatch.fnmatchcase(entry.id.lower(), glob)]
    if not found:
        close = closest(pattern, [entry.id for entry in known])
        hint = f"did you mean {close}?" if close else "see `tokencost models list` for all of them"
        raise InvalidInput("PATTERN", pattern, "matches no model", hint)
    rows = [_row(entry) for entry in found]
    return Document(
        title=f"{len(rows)} of {len(known)} models",
        facts=(),
        tables=(
            Table(
                "",
                (
                    Column("id", "left"),
                    Column("status", "left"),
                    Column("parameters"),
                    Column("default\ninput"),
                    Column("visual\ntokens"),
                ),
                tuple(
                    (
                        entry.id,
                        _status(entry),
                        f"{entry.parameters:,}",
                        _image(entry),
                        f"{entry.visual_tokens:,}",
                    )
                    for entry in found
                ),
            ),
        ),
        notes=(
            "status: how well a configuration was checked; * has unverified figures",
            "unverified figures and sources: `tokencost models show ID`",
            "default input: height×width of an image, or frames of a video",
        ),
        sentence="",
        payload=rows,
        records=tuple(rows),
    )


def _status(entry: Entry) -> str:
    marked = entry.unverified and entry.status != "from memory"  # which says it of all figures
    return f"{entry.status}*" if marked else entry.status


def _image(entry: Entry) -> str:
    return f"{entry.frames} frames" if entry.frames else entry.default_image.replace("x", "×")


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "family": entry.family,
        "status": entry.status,
        "unverified": list(entry.unverified),
        "parameters": entry.parameters,
        "default_image": entry.default_image,
        "default_frames": entry.frames,
        "visual_tokens": entry.visual_tokens,
    }
