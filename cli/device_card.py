"""Devices for people and programs: the list, and one with peaks, ridge points and efficiency."""

from __future__ import annotations

import fnmatch
from typing import Any

from ..costmodel import InvalidInput
from ..costmodel.device import PRECISIONS, Device
from ..costmodel.errors import clip, closest
from ..costmodel.version import __version__
from ..presets.device import list_devices, load_device, unverified_figures
from .document import Column, Document, Table
from .summary import SCHEMA_VERSION

#: How a device's figures are known, in words.
KNOWN = {
    "vendor-doc": "vendor document",
    "secondary-page": "third-party page",
    "derived": "derived",
    "memory": "from memory",
    "own": "own file",
}
#: Precisions that the list shows.
LISTED = ("fp32", "bf16", "fp16", "fp8", "int8")
#: Constants of kernel times, with what each is.
CONSTANTS = {
    "compute": "share of the peak in matrix products",
    "memory": "share of the bandwidth in matrix products",
    "exponent": "p of the norm that joins both times",
    "launch_us": "launch of a matrix product, µs",
    "elementwise_memory": "share of the bandwidth in elementwise passes",
    "elementwise_launch_us": "launch of an elementwise pass, µs",
    "attention": "share of `compute` in fused attention",
    "vision": "share of the peak in vision encoders",
}
_MARKED = "* no source confirms the figure"
_DENSE = "peaks: dense, without structured sparsity; 16- and 8-bit floats with accumulation in fp32"
_RIDGE = "ridge: FLOP per byte from which arithmetic, not memory, bounds a kernel"
_VISION = (
    "vision: encoders in transformers were seen to reach 0.20 of the peak on an A100 (SigLIP), and "
    "0.22 to 0.40 on an L40S (SigLIP 2)"
)


def listing(pattern: str) -> Document:
    """Return the devices whose id, alias or name contains or matches `pattern`.

    Raises:
        InvalidInput: It matches none.
    """
    known = list_devices()
    glob = pattern.lower() if any(sign in pattern for sign in "*?[") else f"*{pattern.lower()}*"
    found = [device for device in map(load_device, known) if _matches(device, glob)]
    if not found:
        close = closest(pattern, known)
        hint = f"did you mean {close}?" if close else "see `tokencost devices list` for all of them"
        raise InvalidInput("PATTERN", pattern, "matches no device", hint)
    rows = [payload(device) for device in found]
    return Document(
        title=f"{len(rows)} of {len(known)} devices",
        facts=(),
        tables=(
            Table(
                "",
                (
                    Column("id", "left"),
                    *(
                        Column(f"{name}\n{'TOP' if name == 'int8' else 'TFLOP'}/s")
                        for name in LISTED
                    ),
                    Column("memory\nGB"),
                    Column("bandwidth\nGB/s"),
                    Column("ridge\nFLOP/B"),
                    Column("figures", "left"),
                ),
                tuple(_cells(device) for device in found),
            ),
        ),
        notes=(
            _DENSE,
            f"{_RIDGE}, at 16 bits",
            f"figures: how they are known; {_MARKED}",
            "aliases, notes and sources: `tokencost devices show ID`",
        ),
        sentence="",
        payload=rows,
        records=tuple(_record(row) for row in rows),
    )


def card(device: Device) -> Document:
    """Return all that is known about a device."""
    figures = unverified_figures(device)
    precisions = [name for name in PRECISIONS if device.native(name)]
    unit = {name: "TOP/s" if name.startswith("int") else "TFLOP/s" for name in precisions}
    notes = [_DENSE, _RIDGE, _VISION]
    notes += [_MARKED] if figures else []
    notes += [f"note: {clip(device.notes, 1000)}"] if device.notes else []
    notes += [f"efficiency: {clip(text, 400)}" for text in _efficiency_sources(device)]
    notes += [f"source: {clip(source, 400)}" for source in device.source]
    facts = (
        ("vendor", " ".join(clip(part) for part in (device.vendor, device.architecture) if part)),
        ("also called", ", ".join(map(clip, device.aliases))),
        ("memory", _marked(device, "memory_gb", f"{_plain(device.memory_gb)} GB")),
        ("bandwidth", _marked(device, "bandwidth_gb_s", f"{_plain(device.bandwidth_gb_s)} GB/s")),
        ("link", _link(device)),
        ("board power", _power(device)),
        ("figures", KNOWN[device.verification]),
        ("unverified", ", ".join(figures)),
    )
    return Document(
        title=f"{device.id}: {device.name}",
        facts=tuple((label, text) for label, text in facts if text),
        tables=(
            Table(
                "Dense peaks",
                (Column("precision", "left"), Column("peak"), Column("ridge\nFLOP/B")),
                tuple(
                    (
                        name,
                        _marked(device, f"peaks.{name}", f"{_peak(device, name)} {unit[name]}"),
                        f"{ridge(device, name):.1f}",
                    )
                    for name in precisions
                ),
            ),
            _efficiency_table(device),
        ),
        notes=tuple(notes),
        sentence="",
        payload={
            "schema_version": SCHEMA_VERSION,
            "tokencost_version": __version__,
            **payload(device),
            "efficiency": _constants(device),
            "efficiency_by_precision": {
                name: _constants(device, name) for name in device.efficiency_by_precision
            },
            "notes": device.notes,
            "source": list(device.source),
        },
        records=tuple(
            {
                "device": device.id,
                "precision": name,
                "peak_op_per_s": _amount(getattr(device.peaks, name) * 10**12),
                "ridge_op_per_byte": ridge(device, name),
                "unverified": f"peaks.{name}" in figures,
            }
            for name in precisions
        ),
    )


def ridge(device: Device, precision: str) -> float:
    """Return the operations per byte at which peak and bandwidth take equally long."""
    return float(getattr(device.peaks, precision) * 1000 / device.bandwidth_gb_s)


def payload(device: Device) -> dict[str, Any]:
    """Return a device's figures in base units, as JSON gives them."""
    best = _sixteen(device)
    return {
        "id": device.id,
        "name": device.name,
        "vendor": device.vendor,
        "architecture": device.architecture,
        "aliases": list(device.aliases),
        "peak_op_per_s": {
            name: _amount(getattr(device.peaks, name) * 10**12)
            for name in PRECISIONS
            if device.native(name)
        },
        "memory_bytes": device.memory_bytes,
        "bandwidth_bytes_per_s": _amount(device.bandwidth_gb_s * 10**9),
        "link_bytes_per_s": device.link_gb_s and _amount(device.link_gb_s * 10**9),
        "tdp_w": device.tdp_w and _amount(device.tdp_w),
        "ridge_op_per_byte": None if best is None else ridge(device, best),
        "verification": device.verification,
        "unverified": list(unverified_figures(device)),
    }


def _matches(device: Device, glob: str) -> bool:
    names = (device.id, device.name, *device.aliases)
    return any(fnmatch.fnmatchcase(name.lower(), glob) for name in names)


def _sixteen(device: Device) -> str | None:
    """Return the 16-bit precision that vision-language models run in, if any."""
    return next((name for name in ("bf16", "fp16") if device.native(name)), None)


def _cells(device: Device) -> tuple[str, ...]:
    best = _sixteen(device)
    return (
        device.id,
        *(_marked(device, f"peaks.{name}", _peak(device, name)) for name in LISTED),
        _marked(device, "memory_gb", _plain(device.memory_gb)),
        _marked(device, "bandwidth_gb_s", _plain(device.bandwidth_gb_s)),
        f"{ridge(device, best):.0f}" if best else "—",
        KNOWN[device.verification],
    )


def _record(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the list for CSV: a column per precision, lists as words."""
    peaks = row["peak_op_per_s"]
    flat = {key: value for key, value in row.items() if key != "peak_op_per_s"}
    flat |= {"aliases": " ".join(row["aliases"]), "unverified": " ".join(row["unverified"])}
    return flat | {f"peak_{name}_op_per_s": peaks.get(name) for name in PRECISIONS}


def _marked(device: Device, figure: str, text: str) -> str:
    return f"{text}*" if text != "—" and figure in unverified_figures(device) else text


def _peak(device: Device, precision: str) -> str:
    rate = getattr(device.peaks, precision)
    return "—" if rate is None else _plain(rate)


def _link(device: Device) -> str:
    if device.link_gb_s is None:
        return "none, or unknown"
    text = f"{_plain(device.link_gb_s)} GB/s in both directions together"
    return _marked(device, "link_gb_s", text)


def _power(device: Device) -> str:
    if device.tdp_w is None:
        return "unknown"
    return _marked(device, "tdp_w", f"{_plain(device.tdp_w)} W")


def _efficiency_table(device: Device) -> Table:
    other = list(device.efficiency_by_precision)
    own = [_constants(device), *(_constants(device, name) for name in other)]
    marked = set(unverified_figures(device))
    rows = tuple(
        (
            name,
            f"{own[0][name]:g}" + ("*" if f"efficiency.{name}" in marked else ""),
            *(f"{one[name]:g}" for one in own[1:]),
            text,
        )
        for name, text in CONSTANTS.items()
    )
    columns = (Column("constant", "left"), Column("value"), *(Column(f"at {one}") for one in other))
    return Table("Efficiency of software", (*columns, Column("what it is", "left")), rows)


def _constants(device: Device, precision: Any = None) -> dict[str, Any]:
    used = device.efficiency if precision is None else device.constants(precision)
    return {
        **{name: _amount(getattr(used, name)) for name in CONSTANTS},
        "source": used.source,
    }


def _efficiency_sources(device: Device) -> list[str]:
    every = (device.efficiency, *device.efficiency_by_precision.values())
    return list(dict.fromkeys(one.source for one in every if one.source))


def _amount(value: Any) -> int | float:
    """Return an exact number as JSON holds it: whole numbers stay whole."""
    return value.numerator if value.denominator == 1 else float(value)


def _plain(value: Any) -> str:
    """Return a figure of a data sheet as it was typed.

    >>> from fractions import Fraction
    >>> _plain(Fraction("989.4")), _plain(Fraction(4000))
    ('989.4', '4000')
    """
    return f"{float(value):.10g}"
