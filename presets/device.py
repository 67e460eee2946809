"""Loads devices from the TOML files in `devices/`, one per family, and from a user's own file.

A family file holds `[family]` (what its devices share) and `[devices.ID]` tables. A device's keys
override its family's, table by table. A user's file holds one device, whose `base` may name a
preset: its keys override those.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from ..costmodel import InvalidInput, TokencostError, UnknownName
from ..costmodel.device import PRECISIONS, Device, Efficiency
from ..costmodel.errors import clip, suggestion
from .schedule_file import file_text, in_file

DEVICES = Path(__file__).parent / "devices"
#: Figures beside the peaks that a device may have unverified.
FIGURES = ("memory_gb", "bandwidth_gb_s", "link_gb_s", "tdp_w")
#: Where the constants of a device come from that has none of its own.
FITTED = (
    "fitted to matrix products on A100, H100 and A40 (github.com/microsoft/vidur, commit 7d47513), "
    "not on this device"
)
#: What a device without a base has to say.
_NEEDED = ("memory_gb", "bandwidth_gb_s", "peaks")
_WAY_OUT = "give a readable TOML file (docs/devices.md)"
#: An id is typed as an option's value, and printed.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def list_devices() -> list[str]:
    """Return the ids of all devices, by family.

    >>> "a100-80-sxm" in list_devices()
    True
    """
    return [device_id for path in _files() for device_id in _read(path)["devices"]]


def load_device(name: str, field: str = "device") -> Device:
    """Return a device by id, alias, product name or TOML file.

    Case, spaces and signs do not matter, nor does the vendor's name: `rtx4090` and
    `NVIDIA GeForce RTX 4090` are one. What ends in .toml or holds a slash is a file.

    Raises:
        UnknownName: No device is called so.
        InvalidInput: A file that cannot be read or is wrong; the sentence names line and key.
        TokencostError: A preset is wrong; the message names file, device and key.

    >>> load_device("NVIDIA GeForce RTX 4090").id
    'rtx-4090'
    """
    if not isinstance(name, str):
        raise InvalidInput(field, name, "is not a device id", "see `tokencost devices list`")
    if is_file(name):
        return read_device(name, field)
    found = _find(name)
    if found is None:
        raise UnknownName(field, name, _spoken(), "tokencost devices list")
    path, device_id = found
    return _build(path, device_id)


def is_file(name: str) -> bool:
    """Tell whether a name is one of a file."""
    return name.lower().endswith(".toml") or "/" in name or "\\" in name


def read_device(path: str | Path, field: str = "device") -> Device:
    r"""Return the device that a user's TOML file describes.

    Its `id` is the file's name, its `verification` "own", and its `source` the file, unless told.

    Raises:
        InvalidInput: The file cannot be read or is malformed; the sentence names line and key.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "mine.toml")
    ...     lines = ["memory_gb = 24", "bandwidth_gb_s = 900", "[peaks]", "bf16 = 90"]
    ...     _ = path.write_text("\n".join(lines))
    ...     read_device(path).id
    'mine'
    """
    text = file_text(Path(path), field, _WAY_OUT)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        last = text.count("\n") + 1
        problem = str(error).replace("at end of document", f"at line {last}, the end")
        raise InvalidInput(field, path, f"is not TOML: {problem}", "correct that line") from None
    except (ValueError, ArithmeticError, RecursionError):
        problem = "holds a number or a nesting beyond what Python reads"
        raise InvalidInput(field, path, problem, "write plain numbers") from None
    try:
        return _own(content, Path(path))
    except InvalidInput as error:
        raise in_file(error, str(path), text, field) from None


def unverified_figures(device: Device) -> tuple[str, ...]:
    """Return the figures of a device that no source confirms, "peaks" spelled out.

    >>> unverified_figures(load_device("h20"))
    ('peaks.fp8',)
    """
    given = [f"peaks.{name}" for name in PRECISIONS if device.native(name)]
    given += [name for name in FIGURES if getattr(device, name) is not None]
    listed = set(device.unverified)
    known = [name for name in given if name in listed or name.split(".")[0] in listed]
    return (*known, *(name for name in device.unverified if name.startswith("efficiency")))


def _own(content: dict[str, Any], path: Path) -> Device:
    """Return a user's device, complete.

    Raises:
        InvalidInput: Of the field that is wrong.
    """
    own = dict(content)
    told = own.pop("base", None)
    base: dict[str, Any] = {"efficiency": {"source": FITTED}, "source": []}
    if told is not None:
        found = _find(told) if isinstance(told, str) else None
        if found is None:
            raise UnknownName("base", clip(told), _spoken(), "tokencost devices list")
        base = {**_data(*found), "aliases": [], "source": [f"based on {found[1]}"]}
        base["unverified"] = _left(base.get("unverified", []), own)
    _check_own(own)
    data = _merged(base, {"id": path.stem, "verification": "own", **_sourced(own, clip(path))})
    if isinstance(data["source"], list):
        data["source"] = [*base["source"], *own.get("source", [] if told else [clip(path)])]
    missing = [key for key in _NEEDED if key not in data]
    if missing:
        named = " and ".join("a table [peaks]" if key == "peaks" else key for key in missing)
        raise InvalidInput(missing[0], None, "is missing", f"add {named}")
    for key in ("vendor", "architecture"):
        data.setdefault(key, "")
    for key in ("id", "name"):
        _printable(data.setdefault(key, data["id"]), key)
    if not _ID.fullmatch(data["id"]):
        way_out = "give letters, digits, dots and dashes, such as my-gpu"
        raise InvalidInput("id", data["id"], "is not an id", way_out)
    return Device(**data)


def _left(unverified: list[str], own: dict[str, Any]) -> list[str]:
    """Return what of a preset stays unverified where a user gives own figures."""
    every = [f"peaks.{name}" for name in PRECISIONS] if "peaks" in unverified else []
    tables = {key: value for key, value in own.items() if isinstance(value, dict)}
    given = {f"{key}.{inner}" for key, value in tables.items() for inner in value} | set(own)
    names = [*every, *(name for name in unverified if name != "peaks")]
    return [name for name in names if name not in given]


def _sourced(own: dict[str, Any], source: str) -> dict[str, Any]:
    """Return a user's keys, in which constants of the user's say that they are."""
    found = dict(own)
    if isinstance(own.get("efficiency"), dict):
        found["efficiency"] = {"source": source, **own["efficiency"]}
    by_precision = own.get("efficiency_by_precision")
    if isinstance(by_precision, dict):
        found["efficiency_by_precision"] = {
            name: {"source": source, **table} if isinstance(table, dict) else table
            for name, table in by_precision.items()
        }
    return found


def _check_own(own: dict[str, Any]) -> None:
    """Refuse what a spec would take, or would word badly.

    Raises:
        InvalidInput: Numbers in quotes, precisions and figures that do not exist.
    """
    _refuse_texts(own)
    by_precision = own.get("efficiency_by_precision")
    for name in by_precision if isinstance(by_precision, dict) else ():
        if name not in PRECISIONS:
            way_out = f"choose from {', '.join(PRECISIONS)}"
            field = f"efficiency_by_precision.{clip(name)}"
            raise InvalidInput(field, None, "is not a precision", way_out)
    known = ["peaks", *(f"peaks.{name}" for name in PRECISIONS), *FIGURES]
    known += [f"efficiency.{name}" for name in Efficiency.model_fields]
    unverified = own.get("unverified")
    for name in unverified if isinstance(unverified, list) else ():
        if name not in known:
            raise InvalidInput("unverified", name, "is not a figure", suggestion(str(name), known))


def _printable(value: Any, key: str) -> None:
    if not isinstance(value, str) or clip(value) != value or not value:
        raise InvalidInput(key, value, "is not a text of one line", "give up to 80 characters")


def _refuse_texts(table: dict[str, Any], place: str = "") -> None:
    """Refuse numbers in quotes.

    Raises:
        InvalidInput: The first of them.
    """
    for key, value in table.items():
        if isinstance(value, dict):
            _refuse_texts(value, f"{place}{key}.")
        elif isinstance(value, str) and key != "source" and (place or key in FIGURES):
            way_out = "write a number without quotes"
            raise InvalidInput(f"{place}{key}", value, "is a text", way_out)


def _files() -> list[Path]:
    return sorted(DEVICES.glob("*.toml"))


def _plain(name: str) -> str:
    """Return a name as it is compared: letters and digits, without vendor and series."""
    words = re.sub(r"[^a-z0-9]+", " ", name.lower()).split()
    series = {"nvidia", "geforce", "tesla", "amd", "instinct", "apple", "google", "intel"}
    return "".join(word for word in words if word not in series)


def _find(name: str) -> tuple[Path, str] | None:
    """Return file and id of the preset that is called so."""
    for path in _files():
        text = path.read_text(encoding="utf-8")
        # Only a file that may hold the name is parsed: start-up does not grow with the presets.
        if f"\n[devices.{name}]\n" in text:
            return path, name
        if f'"{name}"' in text:
            for device_id, table in _read(path)["devices"].items():
                if name in table.get("aliases", ()):
                    return path, device_id
    return _names(DEVICES).get(_plain(name))


@cache
def _names(folder: Path) -> dict[str, tuple[Path, str]]:
    """Return every id, alias and product name of a folder as they are compared."""
    return {
        _plain(name): (path, device_id)
        for path in sorted(folder.glob("*.toml"))
        for device_id, table in _read(path)["devices"].items()
        for name in (device_id, table["name"], *table.get("aliases", ()))
    }


def _spoken() -> list[str]:
    """Return ids and aliases, to suggest one."""
    tables = [_read(path)["devices"] for path in _files()]
    return [
        name
        for devices in tables
        for device_id, table in devices.items()
        for name in (device_id, *table.get("aliases", ()))
    ]


@cache
def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise TokencostError(f"{path.name}: is not TOML: {error}") from None


def _data(path: Path, device_id: str) -> dict[str, Any]:
    """Return the keys of a preset, with its family's."""
    content = _read(path)
    shared = {"efficiency": {"source": FITTED}, **content["family"]}
    return {**_merged(shared, content["devices"][device_id]), "id": device_id}


@cache
def _build(path: Path, device_id: str) -> Device:
    try:
        return Device(**_data(path, device_id))
    except InvalidInput as error:
        sentence = error.sentence(f"{device_id}.{error.field}")
        raise TokencostError(f"{path.name}: {sentence}") from None


def _merged(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return `shared` with the keys of `own` instead of its own, table by table."""
    merged = {**shared, **own}
    for key in shared.keys() & own.keys():
        if isinstance(shared[key], dict) and isinstance(own[key], dict):
            merged[key] = _merged(shared[key], own[key])
    return merged
