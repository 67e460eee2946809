"""Two small files of a model on the Hugging Face Hub; no weights, and no code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NoReturn

from ...costmodel import InvalidInput, MissingExtra, Model
from ...costmodel.errors import clip
from .files import LARGEST_FILE, read_json
from .reading import Files, build, model_name

_CONFIG, _PROCESSOR = "config.json", "preprocessor_config.json"
#: ORG/NAME, and perhaps @ and a branch, tag or commit.
_SPEC = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@([\w./-]{1,200}))?")


def download(spec: str, *, model_id: str | None = None) -> Model:
    """Return the model of a repository's config.json and preprocessor_config.json.

    The commit that was read is in the model's sources. Without a connection, files that
    huggingface_hub has in its cache are read; HF_HOME, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE
    mean what they mean to it.

    Args:
        spec: "ORG/NAME", or "ORG/NAME@REVISION" with a branch, tag or commit.
        model_id: The model's id; otherwise NAME in lower case.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        InvalidInput: No such repository, revision or file, no access, or no connection; or as
            `read_config`. The field is "hf" where the repository is at fault.
    """
    match = _SPEC.fullmatch(spec) if isinstance(spec, str) else None
    if match is None:
        raise InvalidInput("hf", spec, "is not ORG/NAME or ORG/NAME@REVISION", "correct it")
    name, revision = match.groups()
    try:
        import huggingface_hub  # noqa: F401 -- told before anything is fetched
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "huggingface_hub", "hub") from None
    config = _fetched(spec, name, revision, _CONFIG)
    if config is None:
        problem = "has no config.json: not a model of transformers"
        raise InvalidInput("hf", spec, problem, "choose another repository")
    processor = _fetched(spec, name, revision, _PROCESSOR)
    commit = config.parent.name
    return build(
        _content(spec, config, _CONFIG),
        Files(
            images=_content(spec, processor, _PROCESSOR) if processor else None,
            images_prefix=f"{name}/{_PROCESSOR}: ",
        ),
        model_id=model_id or model_name(name.rpartition("/")[2].lower()),
        origin=f"config.json: {name}@{commit}",
        hf_id=name,
        prefix=f"{name}/config.json: ",
    )


def _content(spec: str, path: Path, file: str) -> dict[str, Any]:
    """Return the object in a file that was fetched; its name is the repository's, not the cache's.

    Raises:
        InvalidInput: It is no JSON object, or too large; the field is "hf".
    """
    try:
        return read_json(path)
    except InvalidInput as error:
        problem = f"has a {file} that {error.problem}"
        raise InvalidInput("hf", spec, problem, "choose another repository or revision") from None


def _fetched(spec: str, name: str, revision: str | None, file: str) -> Path | None:
    """Return the path of a file of the repository; None where the repository lacks it."""
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_download, hf_hub_url

    def refuse(problem: str, way_out: str) -> NoReturn:
        raise InvalidInput("hf", spec, problem, way_out) from None

    reached, size = True, 0
    try:
        # asked once: a download would ask for half a minute before it looked into the cache
        size = get_hf_file_metadata(hf_hub_url(name, file, revision=revision)).size or 0
    except errors.GatedRepoError:
        refuse("is gated", "ask for access on its page and set HF_TOKEN")
    except errors.RevisionNotFoundError:
        refuse("has no such revision", "give a branch, tag or commit of it")
    except errors.RepositoryNotFoundError:
        refuse("is not on the Hub, or is private", "correct the name, or set HF_TOKEN")
    except errors.EntryNotFoundError:
        return None
    except errors.HFValidationError as error:
        refuse(f"is no name of a repository: {_line(error)}", "correct it")
    except Exception:  # no connection: which errors say so depends on the HTTP library
        reached = False
    if size > LARGEST_FILE:
        refuse(f"has a {file} larger than {LARGEST_FILE:,} bytes", "choose another repository")
    try:
        return Path(hf_hub_download(name, file, revision=revision, local_files_only=not reached))
    except errors.LocalEntryNotFoundError:
        if file != _CONFIG:
            return None  # offline, and not in the cache: the class's defaults, which are told
        way_out = "connect, or give the file with --config"
        refuse("cannot be reached, and its config.json is not in the cache", way_out)
    except (errors.HfHubHTTPError, OSError, ValueError) as error:
        refuse(f"cannot be read: {_line(error)}", "try again, or give the file with --config")


def _line(error: Exception) -> str:
    return clip(error, 160) or type(error).__name__
