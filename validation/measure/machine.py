"""What measuring asks of a machine: to wait, to mark a moment, memory, kernels, its name."""

from __future__ import annotations

import platform
import re
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ..build import require_device

#: Marks that a profiler may put beside kernels.
_WAITS = {"Context Sync", "Stream Sync", "Event Sync", "Stream Wait Event"}


class Kernels(NamedTuple):
    """Work that a run gave to the device.

    Attributes:
        seconds: Σ durations of kernels.
        copy_seconds: Σ durations of copies and fills.
        launches: Kernels.
    """

    seconds: float
    copy_seconds: float
    launches: int


class Host:
    """The CPU: what is called has run when the call returns."""

    memory_reason = "torch keeps no peak of a CPU's memory"
    has_kernels = False
    kernel_reason = "a CPU runs no kernels beside the calls that are timed"

    def synchronise(self) -> None:
        """Wait for nothing."""

    def mark(self) -> Any:
        """Return the time."""
        return time.perf_counter()

    def between(self, begin: Any, end: Any) -> float:
        """Return the seconds between two marks."""
        return float(end - begin)

    def allocated(self) -> int | None:
        """Return the bytes in use, if they are known."""
        return None

    def reset_peak(self) -> None:
        """Forget the peak."""

    def peak(self) -> int | None:
        """Return the most bytes in use since the last reset, if they are known."""
        return None

    def release(self) -> None:
        """Give back memory that nothing uses."""

    def kernels(self, run: Callable[[], object]) -> Kernels | None:
        """Run a call, and return its kernels if there are any to be seen."""
        run()
        return None


class Gpu(Host):
    """A CUDA device: calls return before their kernels have run."""

    has_kernels = True
    kernel_reason = "the profiler saw no kernels"

    def synchronise(self) -> None:
        """Wait until the device has done all that it was given."""
        import torch

        torch.cuda.synchronize()

    def mark(self) -> Any:
        """Put an event into the device's queue."""
        import torch

        event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def between(self, begin: Any, end: Any) -> float:
        """Return the seconds between two events that the device has passed."""
        return float(begin.elapsed_time(end)) / 1e3

    def allocated(self) -> int | None:
        """Return the bytes of all tensors."""
        import torch

        return int(torch.cuda.memory_allocated())

    def reset_peak(self) -> None:
        """Begin a new peak at what is allocated now."""
        import torch

        torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int | None:
        """Return the most bytes of tensors since the last reset."""
        import torch

        return int(torch.cuda.max_memory_allocated())

    def release(self) -> None:
        """Give cached blocks back to the device."""
        import torch

        torch.cuda.empty_cache()

    def kernels(self, run: Callable[[], object]) -> Kernels | None:
        """Return the kernels of a call; None if the profiler saw none."""
        from torch.profiler import ProfilerActivity, profile

        self.synchronise()
        profiler: Any
        # The host's side is left out: recording every operator would only slow the launches.
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            run()
            self.synchronise()
        # The events as they were recorded: `events()` would spend a second on nesting them.
        return kernels_on_device(profiler.profiler.kineto_results.events())


def machine_of(device: str) -> Host:
    """Return the machine behind a device's name.

    Raises:
        InvalidInput: The device is not there.
        MissingExtra: torch is not installed.
    """
    require_device(device)
    return Gpu() if device == "cuda" else Host()


def kernels_on_device(events: Iterable[Any]) -> Kernels | None:
    """Sum the profiler's recorded events on the device; ranges that someone named are none."""
    from torch._C._autograd import DeviceType

    seconds, copies, launches = 0.0, 0.0, 0
    for event in events:
        name = event.name()
        if event.device_type() != DeviceType.CUDA or event.is_user_annotation() or name in _WAITS:
            continue
        elapsed = event.duration_ns() / 1e9
        if name.startswith(("Memcpy", "Memset")):
            copies += elapsed
        else:
            seconds += elapsed
            launches += 1
    return Kernels(seconds, copies, launches) if launches else None


def describe(device: str) -> dict[str, Any]:
    """Return the hardware and the versions that a measurement depends on."""
    import torch
    import transformers

    found: dict[str, Any] = {
        "device": _cpu_name(),
        "driver": None,
        "memory_bytes": None,
        "cpu": _cpu_name(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cuda": torch.version.cuda,
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        found["device"] = properties.name
        found["memory_bytes"] = properties.total_memory
        found["driver"] = _driver_version()
    return found


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or sys.platform


def _driver_version(told: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    try:
        text = told.read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"Kernel Module\D*?(\d+(?:\.\d+)+)", text)
    return found[1] if found else None
