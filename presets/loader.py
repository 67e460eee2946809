"""Loads model presets from the TOML files beside this module, one file per family.

A family file holds `[family]` (what its models share) and `[models."ID"]` tables. A table may name
a shared part by `base`; its other keys override that part's.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from ..costmodel import InvalidInput, Model, TokencostError, UnknownName

MODELS = Path(__file__).parent / "models"
PARTS = Path(__file__).parent / "parts"


def list_models() -> list[str]:
    """Return the ids of all presets, by family."""
    return [model_id for path in _family_files() for model_id in _read(path)["models"]]


def load_model(model_id: str) -> Model:
    """Return the preset called `model_id`.

    Raises:
        UnknownName: No preset has that id.
        TokencostError: A preset file is wrong; the message names file, model and field.
    """
    if not isinstance(model_id, str):
        raise InvalidInput("model", model_id, "is not a model id", "see `tokencost models list`")
    for path in _family_files():
        # Only files that name the model are parsed: start-up does not grow with the presets.
        if model_id in path.read_text(encoding="utf-8"):
            content = _read(path)
            if model_id in content["models"]:
                return _build(path, model_id, content)
    raise UnknownName("model", model_id, list_models(), "tokencost models list")


def _family_files() -> list[Path]:
    return sorted(MODELS.glob("*.toml"))


@cache
def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        try:
            return tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise TokencostError(f"{path.name}: is not TOML: {error}") from None


def _build(path: Path, model_id: str, content: dict[str, Any]) -> Model:
    data = {**content["family"], **content["models"][model_id], "id": model_id}
    try:
        for section, part in data.items():
            if isinstance(part, dict) and "base" in part:
                data[section] = _with_base(section, part)
        return Model(**data)
    except InvalidInput as error:
        raise TokencostError(
            f"{path.name}: {error.sentence(f'{model_id}.{error.field}')}"
        ) from None


def _with_base(section: str, part: dict[str, Any]) -> dict[str, Any]:
    path = PARTS / f"{section}.toml"
    parts = _read(path) if path.exists() else {}
    if part["base"] not in parts:
        raise UnknownName(f"{section}.base", part["base"], list(parts), "presets/parts")
    own = {key: value for key, value in part.items() if key != "base"}
    return {**parts[part["base"]], **own}
