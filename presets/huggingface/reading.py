"""From a config.json to a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...costmodel import InvalidInput, Model
from ...costmodel.errors import closest
from .defaults import class_defaults
from .families import FAMILIES, family_reader
from .fields import Fields, Notes
from .files import check_depth, read_json
from .parts import TEXTS, VISIONS
from .processor import ImageProcessor

_CONFIG, _PROCESSOR, _WHOLE_PROCESSOR = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
)


def read_config(
    config: Mapping[str, Any] | str | os.PathLike[str],
    processor: Mapping[str, Any] | None = None,
    *,
    model_id: str | None = None,
) -> Model:
    """Return the model that a config.json describes.

    Fields that it lacks take the documented defaults of their model type's class, and
    `Model.defaulted` lists them; what could change the cost and is not understood is refused.

    Args:
        config: The content, or the path of a file (then as `read_file`, unless `processor` is
            given).
        processor: The content of its preprocessor_config.json, for the token rule.
        model_id: The model's id; otherwise the file's name.

    Raises:
        InvalidInput: A model type that is not known, or a field that is wrong, inconsistent with
            others or not understood.

    >>> read_config({"model_type": "llava"}).decoder.hidden_size  # LlavaConfig's own default
    4096
    """
    if isinstance(config, Mapping):
        return build(config, processor, model_id=model_id or "config", origin="config.json")
    if processor is None:
        return read_file(config, model_id=model_id)
    path = _config_path(config)
    return _from_path(path, read_json(path), processor, "processor.", model_id)


def read_file(path: str | os.PathLike[str], *, model_id: str | None = None) -> Model:
    """Return the model of a config.json, with the preprocessor_config.json that lies beside it.

    Args:
        path: The file, or the folder that holds config.json.
        model_id: The model's id; otherwise the name of the file, or of config.json's folder.

    Raises:
        InvalidInput: No such file, or as `read_config`.
    """
    found = _config_path(path)
    config = read_json(found)
    beside = found.parent / _PROCESSOR
    if beside.exists():
        return _from_path(found, config, read_json(beside), f"{beside}: ", model_id)
    beside = found.parent / _WHOLE_PROCESSOR
    nested = read_json(beside).get("image_processor") if beside.exists() else None
    processor = nested if isinstance(nested, Mapping) else None
    return _from_path(found, config, processor, f"{beside}: image_processor.", model_id)


def build(
    config: Mapping[str, Any],
    processor: Mapping[str, Any] | None,
    *,
    model_id: str,
    origin: str,
    hf_id: str = "",
    prefix: str = "config.",
    processor_prefix: str = "processor.",
) -> Model:
    """Return the model of the contents of files.

    Args:
        config: The config.json.
        processor: The preprocessor_config.json, if there is one.
        model_id: The model's id.
        origin: Where the files are from, for the model's sources.
        hf_id: The model's name on the Hub.
        prefix: What stands before the name of a field of the config in an error.
        processor_prefix: Likewise of the processor.

    Raises:
        InvalidInput: As `read_config`.
    """
    check_depth(config, prefix.strip(".: "))
    check_depth(processor, processor_prefix.strip(".: "))
    checked_id(model_id)
    model_type = _family(config, prefix)
    notes = Notes(origin)
    fields = Fields(config, model_type, class_defaults(model_type), notes, prefix=prefix)
    images = ImageProcessor(processor, notes, processor_prefix)
    try:
        reading = family_reader(model_type)(fields, images)
        fields.finish()
        return Model(
            id=model_id,
            family=reading.family,
            hf_id=hf_id,
            model_type=model_type,
            status="partial",
            unverified=tuple(notes.unverified),
            defaulted=tuple(notes.defaulted),
            vision=reading.vision,
            connector=reading.connector,
            decoder=reading.decoder,
            token_rule=reading.token_rule,
            other_parameters=reading.other_parameters,
            source=(*fields.sources(), *notes.remarks),
        )
    except InvalidInput as error:
        if error.field.startswith((prefix, processor_prefix)):
            raise
        # figures that are fine one by one and do not fit together
        field = f"{prefix}{error.field}"
        raise InvalidInput(field, error.value, error.problem, error.way_out) from None


def checked_id(model_id: str) -> str:
    """Return an id that a preset can have.

    Raises:
        InvalidInput: It is empty, long, or holds what a key in a preset file would have to escape.
    """
    plain = isinstance(model_id, str) and model_id.isprintable() and model_id.strip() == model_id
    if not plain or not 0 < len(model_id) <= 100 or set(model_id) & set("\"'\\[]"):
        way_out = "give up to 100 printable characters without quotes, brackets and backslashes"
        raise InvalidInput("model_id", model_id, "is no id for a model", way_out)
    return model_id


def _config_path(path: str | os.PathLike[str]) -> Path:
    found = Path(path)
    try:
        inside = found / _CONFIG
        return inside if found.is_dir() and inside.exists() else found
    except (OSError, ValueError):
        return found  # reading it tells what is wrong


def _from_path(
    path: Path,
    config: Mapping[str, Any],
    processor: Mapping[str, Any] | None,
    processor_prefix: str,
    model_id: str | None,
) -> Model:
    folder = path.resolve().parent.name
    return build(
        config,
        processor,
        model_id=model_id or model_name(folder if path.name == _CONFIG else path.stem),
        origin=f"config.json: {path}",
        prefix=f"{path}: ",
        processor_prefix=processor_prefix,
    )


def model_name(name: str) -> str:
    """Return a name with the characters that an id can have.

    >>> model_name("llava 1.5 [7b]")
    'llava-1.5--7b'
    """
    kept = "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)
    return kept.strip("-.")[:100] or "config"


def _family(config: Mapping[str, Any], prefix: str) -> str:
    """Return the model type, of which there must be a reader."""
    model_type = config.get("model_type")
    field, known = f"{prefix}model_type", f"choose from {', '.join(FAMILIES)}"
    if isinstance(model_type, str) and model_type in FAMILIES:
        return model_type
    # original repositories of LLaVA write such fields, and so do most that grew from it
    original = any(name.startswith("mm_") for name in config)
    if original or isinstance(config.get("auto_map"), Mapping):
        code = "LLaVA's original code" if original else "code of its own (auto_map)"
        way_out = "give the config.json of a conversion to transformers (-hf), or use a preset"
        raise InvalidInput(
            field, _text(model_type), f"belongs to {code}, not to transformers", way_out
        )
    if model_type is None:
        raise InvalidInput(field, None, "is missing: not a config.json of transformers", known)
    if isinstance(model_type, str) and model_type in TEXTS:
        problem = "is a language model alone, and vision-language models are priced"
        raise InvalidInput(field, model_type, problem, known)
    if isinstance(model_type, str) and model_type in VISIONS:
        raise InvalidInput(field, model_type, "is a vision encoder alone", known)
    close = closest(_text(model_type) or "", FAMILIES)
    hint = f"did you mean {close}?" if close else known
    raise InvalidInput(field, _text(model_type), "is not known", hint)


def _text(model_type: object) -> str | None:
    return model_type if isinstance(model_type, str) else None
