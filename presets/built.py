"""Model presets as they are once read and checked, one line of JSON each: what a command loads.

Reading TOML and validating what it says takes longer than pricing a model. The lines are written
from the TOML files by `python -m vlm_tokencost.presets.indexing`, a test compares them, and a line
whose sources have changed since is not used.

A spec is a table of the fields that were given, with its class under ""; a dict is a table with
its class alone beside its items; a tuple is a list.
"""

from importlib import import_module
from pathlib import Path
from typing import Any
from zlib import crc32

from pydantic_core import from_json

from ..costmodel import Model
from ..costmodel.numeric import Spec

NAME = "built.jsonl"
#: Where classes come from; a line that names anything else is none of ours.
HOME = Spec.__module__.rpartition(".")[0]
CLASS, ITEMS = "", "items"


def checksum(*sources: Path) -> int:
    """Return a checksum of the files that a preset is made of."""
    total = 0
    for source in sources:
        total = crc32(source.read_bytes(), total)
    return total


def line(model: Model, sources: tuple[Path, ...]) -> str:
    """Return a model's line; paths are relative to the folder of presets."""
    head: dict[str, Any] = {
        "id": model.id,
        "of": [f"{one.parent.name}/{one.name}" for one in sources],
    }
    import json  # the reader's is pydantic's, which is there already

    head["checksum"] = checksum(*sources)
    return json.dumps({**head, "model": _written(model)}, ensure_ascii=False)


def built(models: Path, model_id: str) -> Model | None:
    """Return a model, if there is a line for it that is current."""
    path = models / NAME
    if not model_id.isprintable() or not {'"', "\\"}.isdisjoint(model_id) or not path.exists():
        return None
    data = path.read_bytes()
    start = data.find(f'{{"id": "{model_id}", '.encode())
    if start < 0:
        return None
    found = from_json(data[start : data.index(b"\n", start)])
    sources = [models.parent / name for name in found["of"]]
    if not all(one.exists() for one in sources) or checksum(*sources) != found["checksum"]:
        return None
    model = _read(found["model"])
    assert isinstance(model, Model), "a line holds a model"
    return model


def _written(value: Any) -> Any:
    """Return a part of a spec as JSON has it."""
    if isinstance(value, Spec):
        fields = {name: _written(getattr(value, name)) for name in sorted(value.model_fields_set)}
        return {CLASS: _name(value), **fields}
    if isinstance(value, tuple):
        return [_written(item) for item in value]
    if isinstance(value, dict):
        return {CLASS: _name(value), ITEMS: dict(value)}
    if value is not None and type(value) not in (bool, int, str):
        raise TypeError(f"presets hold no {type(value).__name__}: {value!r}")
    return value


def _name(value: object) -> str:
    kind = type(value)
    return f"{kind.__module__.removeprefix(HOME)}:{kind.__qualname__}"


def _read(value: Any) -> Any:
    """Return a part of a spec from JSON, without validating it again."""
    if isinstance(value, list):
        return tuple([_read(item) for item in value])
    if not isinstance(value, dict):
        return value
    module, _, name = value.pop(CLASS).partition(":")
    kind = getattr(import_module(HOME + module), name)
    if ITEMS in value:
        return kind(value[ITEMS])
    return kind.model_construct(**{field: _read(item) for field, item in value.items()})
