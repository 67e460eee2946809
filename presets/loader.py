"""Loads model presets from the TOML files beside this module, one file per family.

A family file holds `[family]` (what its models share) and `[models."ID"]` tables. A table may name
a shared part by `base`: parts/<table>.toml holds those. A model's keys override its family's, and
those override the part's, table by table; sources add up.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..costmodel import InvalidInput, Model, TokencostError, UnknownName
from .built import built, line

if TYPE_CHECKING:
    from .index import Entry

MODELS = Path(__file__).parent / "models"
PARTS = Path(__file__).parent / "parts"


def list_models() -> list[str]:
    """Return the ids of all presets, by family.

    >>> "llava-1.5-7b" in list_models()
    True
    """
    return [model_id for path in _family_files() for model_id in _read(path)["models"]]


def load_model(model_id: str) -> Model:
    """Return the preset called `model_id`.

    Raises:
        UnknownName: No preset has that id.
        TokencostError: A preset file is wrong; the message names file, model and field.

    >>> print(load_model("llava-1.5-7b"))
    llava-1.5-7b (LLaVA-1.5), configuration verified: 7,063,427,072 parameters
    """
    if not isinstance(model_id, str):
        raise InvalidInput("model", model_id, "is not a model id", "see `tokencost models list`")
    model = built(MODELS, model_id)
    if model is not None:
        return model
    for path in _candidates(model_id):
        # Only files that name the model are parsed: start-up does not grow with the presets.
        if model_id in path.read_text(encoding="utf-8"):
            content = _read(path)
            if model_id in content["models"]:
                return _build(path, model_id, content)
    raise UnknownName("model", model_id, list_models(), "tokencost models list")


def load_file(path: Path) -> list[Model]:
    """Return the models of one preset file, such as `models import` writes.

    Raises:
        TokencostError: The file is wrong; the message names file, model and field.
    """
    content = _read(path)
    return [_build(path, model_id, content) for model_id in content["models"]]


def index_entries() -> list[Entry]:
    """Return the index's entries, or those of presets that have none yet."""
    from .index import read_index

    indexed = read_index(MODELS)
    if indexed:
        return list(indexed.values())
    from .indexing import entry_of  # a folder of presets that was never indexed

    return [entry_of(model, path.name) for path in _family_files() for model in load_file(path)]


def _candidates(model_id: str) -> list[Path]:
    """Return the file that the index names, or all of them."""
    from .index import file_of  # a model is read from its line

    path = file_of(MODELS, model_id)
    return [path] if path else _family_files()


def _family_files() -> list[Path]:
    return sorted(MODELS.glob("*.toml"))


@cache
def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return _parsed(path, file.read().decode("utf-8"))


def _parsed(path: Path, text: str) -> dict[str, Any]:
    import tomllib  # a command's model is read from its line

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TokencostError(f"{path.name}: is not TOML: {error}") from None


def built_lines() -> list[str]:
    """Return the lines of `built`, one for each preset, read anew and validated."""
    lines = []
    for path in _family_files():
        content = _read(path)
        for model_id in content["models"]:
            own = {**content["family"], **content["models"][model_id]}
            parts = [
                PARTS / f"{_file_of(section)}.toml"
                for section, part in own.items()
                if isinstance(part, dict) and "base" in part
            ]
            model = _build(path, model_id, content)
            lines.append(line(model, (path, *dict.fromkeys(parts))))
    return lines


def _filled(model_id: str, content: dict[str, Any]) -> dict[str, Any]:
    """Return a model's table with its family's keys and its parts."""
    data = {**_merged(content["family"], content["models"][model_id]), "id": model_id}
    for section, part in data.items():
        if isinstance(part, dict) and "base" in part:
            data[section] = _with_base(section, part)
    return data


def _build(path: Path, model_id: str, content: dict[str, Any]) -> Model:
    try:
        return Model(**_filled(model_id, content))
    except InvalidInput as error:
        raise TokencostError(
            f"{path.name}: {error.sentence(f'{model_id}.{error.field}')}"
        ) from None


def _merged(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return `shared` with the keys of `own` instead of its own, table by table."""
    merged = {**shared, **own}
    for key in shared.keys() & own.keys():
        below, above = shared[key], own[key]
        if isinstance(below, dict) and isinstance(above, dict):
            merged[key] = _merged(below, above)
        elif key == "source" and isinstance(below, list) and isinstance(above, list):
            merged[key] = [*below, *above]
    return merged


def _with_base(section: str, part: dict[str, Any]) -> dict[str, Any]:
    path = PARTS / f"{_file_of(section)}.toml"
    own = {key: value for key, value in part.items() if key != "base"}
    return _merged(_part(path, section, str(part["base"])), own)


def _file_of(section: str) -> str:
    return "vision" if section == "second_vision" else section


@cache
def _part(path: Path, section: str, name: str) -> dict[str, Any]:
    """Return one part; of its file, which is long, no other part is parsed."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    headings = (f"{name}]", f'"{name}"]', f"{name}.", f'"{name}".')
    tables = [table for table in f"\n{text}".split("\n[") if table.lstrip("[").startswith(headings)]
    parts = _parsed(path, "\n".join(f"[{table}" for table in tables))
    if name not in parts:
        known = list(_read(path)) if text else []
        raise UnknownName(f"{section}.base", name, known, "presets/parts")
    part: dict[str, Any] = parts[name]
    return part
