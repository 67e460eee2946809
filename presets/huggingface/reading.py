"""From a config.json to a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...costmodel import InvalidInput, Model
from .defaults import class_defaults
from .families import family_reader
from .fields import Fields, Notes
from .files import check_depth, read_json
from .model_types import known_type
from .processor import ImageProcessor

_CONFIG, _BOTH = "config.json", "processor_config.json"
#: Files of the processors, and their names in the file that holds both.
_IMAGES = ("preprocessor_config.json", "image_processor")
_VIDEOS = ("video_preprocessor_config.json", "video_processor")


def read_config(
    config: Mapping[str, Any] | str | os.PathLike[str],
    processor: Mapping[str, Any] | None = None,
    *,
    video_processor: Mapping[str, Any] | None = None,
    model_id: str | None = None,
) -> Model:
    """Return the model that a config.json describes.

    Fields that it lacks take the documented defaults of their model type's class, and
    `Model.defaulted` lists them; what could change the cost and is not understood is refused.

    Args:
        config: The content, or the path of a file (then as `read_file`, unless `processor` is
            given).
        processor: The content of its preprocessor_config.json, for the token rule.
        video_processor: The content of its video_preprocessor_config.json.
        model_id: The model's id; otherwise the file's name.

    Raises:
        InvalidInput: A model type that is not known, or a field that is wrong, inconsistent with
            others or not understood.

    >>> read_config({"model_type": "llava"}).decoder.hidden_size  # LlavaConfig's own default
    4096
    """
    files = Files(processor, video_processor)
    if isinstance(config, Mapping):
        return build(config, files, model_id=model_id or "config", origin="config.json")
    if files == Files():
        return read_file(config, model_id=model_id)
    path = _config_path(config)
    return _from_path(path, read_json(path), files, model_id)


def read_file(path: str | os.PathLike[str], *, model_id: str | None = None) -> Model:
    """Return the model of a config.json, with the processors' files that lie beside it.

    Those are preprocessor_config.json and video_preprocessor_config.json, or
    processor_config.json, which holds both.

    Args:
        path: The file, or the folder that holds config.json.
        model_id: The model's id; otherwise the name of the file, or of config.json's folder.

    Raises:
        InvalidInput: No such file, or as `read_config`.
    """
    found = _config_path(path)
    config = read_json(found)
    both = found.parent / _BOTH
    nested = read_json(both, processor=True) if both.exists() else {}
    images, images_prefix = _settings(found.parent / _IMAGES[0], both, nested.get(_IMAGES[1]))
    videos, videos_prefix = _settings(found.parent / _VIDEOS[0], both, nested.get(_VIDEOS[1]))
    files = Files(images, videos, images_prefix, videos_prefix)
    return _from_path(found, config, files, model_id)


class Files(NamedTuple):
    """The contents of a checkpoint's processor files, and what stands before a field's name.

    Attributes:
        images: preprocessor_config.json, if there is one.
        videos: video_preprocessor_config.json, if there is one.
        images_prefix: What stands before the name of a field of the first in an error.
        videos_prefix: Likewise of the second.
    """

    images: Mapping[str, Any] | None = None
    videos: Mapping[str, Any] | None = None
    images_prefix: str = "processor."
    videos_prefix: str = "video_processor."


def build(
    config: Mapping[str, Any],
    files: Files,
    *,
    model_id: str,
    origin: str,
    hf_id: str = "",
    prefix: str = "config.",
) -> Model:
    """Return the model of the contents of files.

    Args:
        config: The config.json.
        files: Those of the processors.
        model_id: The model's id.
        origin: Where the files are from, for the model's sources.
        hf_id: The model's name on the Hub.
        prefix: What stands before the name of a field of the config in an error.

    Raises:
        InvalidInput: As `read_config`.
    """
    check_depth(config, prefix.strip(".: "))
    check_depth([files.images, files.videos], "the processor")
    checked_id(model_id)
    model_type = known_type(config, prefix)
    notes = Notes(origin)
    fields = Fields(config, model_type, class_defaults(model_type), notes, prefix=prefix)
    videos = ImageProcessor(files.videos, notes, files.videos_prefix)
    images = ImageProcessor(files.images, notes, files.images_prefix, videos)
    try:
        images.belongs(model_type)
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
        if error.field.startswith((prefix, files.images_prefix, files.videos_prefix)):
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
        raise InvalidInput("id", model_id, "is no id for a model", way_out)
    return model_id


def _config_path(path: str | os.PathLike[str]) -> Path:
    found = Path(path)
    try:
        inside = found / _CONFIG
        return inside if found.is_dir() and inside.exists() else found
    except (OSError, ValueError):
        return found  # reading it tells what is wrong


def _settings(own: Path, both: Path, nested: object) -> tuple[Mapping[str, Any] | None, str]:
    """Return a processor's settings and what stands before the name of one of them in an error."""
    if own.exists():
        return read_json(own, processor=True), f"{own}: "
    return (nested if isinstance(nested, Mapping) else None), f"{both}: "


def _from_path(
    path: Path,
    config: Mapping[str, Any],
    files: Files,
    model_id: str | None,
) -> Model:
    folder = path.resolve().parent.name
    return build(
        config,
        files,
        model_id=model_id or model_name(folder if path.name == _CONFIG else path.stem),
        origin=f"config.json: {path}",
        prefix=f"{path}: ",
    )


def model_name(name: str) -> str:
    """Return a name with the characters that an id can have.

    >>> model_name("llava 1.5 [7b]")
    'llava-1.5--7b'
    """
    kept = "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)
    return kept.strip("-.")[:100] or "config"
