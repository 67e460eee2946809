"""The figures of one row of a sweep, by column."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from ..costmodel import Report
from ..costmodel.flops import CONVENTIONS, UNITS
from ..costmodel.memory import kv_cache_bytes
from .asked import Asked
from .sweep_axes import names
from .sweep_grid import BOUNDS, TIMES
from .sweep_options import BITS, Devices
from .timing_options import named_options

if TYPE_CHECKING:
    from ..costmodel.clock import Running
    from ..costmodel.device import Device
    from ..costmodel.latency import Side
    from ..costmodel.sweeping import StagePricer
    from ..costmodel.timing import Interval

Figure = dict[str, Any]


class Setting(NamedTuple):
    """A device, how requests run on it, and what rows say of both."""

    device: Device
    running: Running
    constants: Figure


class Timed:
    """The devices of a sweep, and how requests run on them."""

    def __init__(self, options: Devices) -> None:
        """Read the devices.

        Raises:
            InvalidInput: A device that is not known, or options that are wrong.
        """
        self._options = options
        self._devices: dict[str, Device] = {}
        self._settings: dict[tuple[str, ...], Setting] = {}
        if options.device:
            from ..presets.device import load_device

            for name in names(options.device, "--device"):
                self._devices[name] = load_device(name, "--device")

    def described(self) -> list[str]:
        """Return everything about them that decides what rows are."""
        options = self._options
        running = f"{options.runtime} {options.attention} {options.load_ms}"
        return [running, *(device.model_dump_json() for device in self._devices.values())]

    def setting(self, values: Mapping[str, str]) -> Setting | None:
        """Return what a cell runs on; None without a device.

        Raises:
            InvalidInput: Bits that there are not.
        """
        if "device" not in values:
            return None
        key = tuple(values.get(name, "") for name in ("device", *BITS))
        if key not in self._settings:
            device = self._devices[values["device"]]
            constants = {"device": device.id, "device_unverified": " ".join(device.unverified)}
            running = self._options.running_at(values)
            self._settings[key] = Setting(device, running, constants)
        return self._settings[key]


class Figures:
    """The figures of the rows of one workload: those without a schedule are found once."""

    def __init__(self, asked: Asked) -> None:
        """Price the dense run."""
        self._asked = asked
        self._setting: Setting | None = None
        report = asked.report()
        self._priced = [name for name in CONVENTIONS if report.obstacle(name) is None]
        self._dense = {name: report.total(name, scheduled=False) for name in self._priced}
        seen, workload = asked.dense, asked.workload
        high, wide = seen.images[0]
        self.constants: Figure = {
            "image_size": f"{high}x{wide}",
            "images": 0 if seen.frames else len(seen.images),
            "frames": seen.frames,
            "visual_tokens": seen.dense_visual_tokens,
            "structural_tokens": seen.structural_tokens,
            "text_tokens": workload.text_tokens,
            "new_tokens": workload.new_tokens,
            "batch": workload.batch,
            **{f"{name}_baseline_{UNITS[name]}": self._dense[name] for name in self._priced},
            "kv_cache_baseline_bytes": self._cache(16),
        }

    def _cache(self, bits: int) -> int:
        asked = self._asked
        return kv_cache_bytes(asked.model, asked.dense, bits, asked.counting.execution)

    def on(self, setting: Setting | None) -> Figures:
        """Return the same with memory and times on a device."""
        if setting is None:
            return self
        found = copy(self)
        found._setting = setting
        own = {"kv_cache_baseline_bytes": self._cache(setting.running.kv_bits or 16)}
        found.constants = {**self.constants, **setting.constants, **own}
        return found

    def of(self, report: Report) -> Figure:
        """Return the figures of a schedule."""
        plan, model = report.scheduled, report.model
        found: Figure = {
            "entering_visual_tokens": plan.entering_visual_tokens,
            "average_visual_tokens": float(plan.average_visual_tokens),
        }
        for name in self._priced:
            total = report.total(name)
            found[f"{name}_scheduled_{UNITS[name]}"] = total
            found[f"{name}_ratio"] = total / self._dense[name] if self._dense[name] else 1.0
        bits = None if self._setting is None else self._setting.running.kv_bits
        if report.schedule is None and bits is None:
            bits = 16
        found["kv_cache_scheduled_bytes"] = kv_cache_bytes(
            model, plan, bits, report.counting.execution
        )
        found.update(self._method(report))
        if self._setting is not None:
            found.update(_times(report, self._setting))
        return found

    def _method(self, report: Report) -> Figure:
        applied = getattr(report.schedule, "method", None)
        if applied is None:
            return {}
        from ..presets import load_method
        from .method_rows import assumed_fields

        method = load_method(applied.id)
        fields = assumed_fields(self._asked, method, applied.budget, report)
        return {"assumed_fields": " ".join(name.replace(" ", "_") for name in fields)}


def _times(report: Report, setting: Setting) -> Figure:
    """Return memory and times on a device, as `memory` and `latency` give them."""
    from ..costmodel.gains import speed_up
    from ..costmodel.latency import latency
    from ..costmodel.peak import Asking, peak
    from ..costmodel.transients import Running as Kept
    from ..costmodel.weights import Storage

    running = setting.running
    asking = Asking(
        storage=Storage(running.bits or 16),
        kv_bits=running.kv_bits,
        running=Kept(running.attention),
    )
    with named_options():
        timed = latency(report, setting.device, running)
    found: Figure = {
        "peak_memory_baseline_bytes": peak(report, asking, scheduled=False).total,
        "peak_memory_scheduled_bytes": peak(report, asking).total,
    }
    for time in TIMES:
        before, after = (_interval(side, time) for side in (timed.dense, timed.scheduled))
        found.update(_bounds(f"{time}_baseline", before, "_s"))
        found.update(_bounds(f"{time}_scheduled", after, "_s"))
        found.update(_bounds(f"{time}_speed_up", speed_up(before, after), ""))
    return found


def _interval(side: Side, name: str) -> Interval:
    return side.ttft if name == "time_to_first_token" else side.end_to_end


def _bounds(name: str, interval: Interval, unit: str) -> Figure:
    return {
        f"{name}_{bound}{unit}": float(value) for bound, value in zip(BOUNDS, interval, strict=True)
    }


def stage_figures(pricer: StagePricer, arrays: dict[Any, Any]) -> Figure:
    """Return the figures of schedules that were priced over arrays."""
    found: Figure = {
        "entering_visual_tokens": pricer.entering_visual_tokens,
        "average_visual_tokens": arrays["visual_tokens"] / pricer.placed_layers,
        "kv_cache_scheduled_bytes": arrays["kv_cache_bytes"],
    }
    for name in CONVENTIONS:
        if name in arrays:
            found[f"{name}_scheduled_{UNITS[name]}"] = arrays[name]
            found[f"{name}_ratio"] = arrays[name] / pricer.dense[name]
    return found
