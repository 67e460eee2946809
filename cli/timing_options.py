"""Options of commands that price time, and the device and the way of running that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ..costmodel import InvalidInput
from .options import Sink, Text, flag, one_of, option

if TYPE_CHECKING:
    from ..costmodel import Report
    from ..costmodel.clock import Running
    from ..costmodel.device import Device
    from ..costmodel.latency import Latency

DEVICE = "Device"
_RUNTIMES, _BACKENDS, _BITS = ("eager", "graph"), ("eager", "sdpa", "flash"), ("16", "8", "4")
_NUMBERS = ("bits", "activation_bits", "kv_bits")


@contextmanager
def named_options() -> Iterator[None]:
    """Name options of bits as they were typed, where the cost model refuses their values.

    Raises:
        InvalidInput: What was refused.
    """
    try:
        yield
    except InvalidInput as error:
        if error.field not in _NUMBERS:
            raise
        field = flag(error.field)
        raise InvalidInput(field, error.value, error.problem, error.way_out) from None


@dataclass(eq=False, repr=False)
class Timing:
    """How and on what the request runs, as typed."""

    device: Annotated[
        Text,
        option(
            DEVICE,
            "--device",
            "Device, or a TOML file of your own; see `tokencost devices list`.",
            "ID|FILE",
        ),
    ] = None
    runtime: Annotated[
        Text,
        option(
            DEVICE,
            "--runtime",
            "eager: Python launches every kernel; graph: a CUDA graph or an engine does "
            "(default: eager).",
            "NAME",
        ),
    ] = None
    attention: Annotated[
        Text,
        option(
            DEVICE,
            "--attention",
            "eager: scores in memory; sdpa, flash: fused (default: sdpa).",
            "NAME",
        ),
    ] = None
    bits: Annotated[
        Text,
        option(
            DEVICE,
            "--bits",
            "Bits of the LLM's weights: 16, 8 or 4 (default: the schedule's, 16).",
            "BITS",
        ),
    ] = None
    activation_bits: Annotated[
        Text,
        option(
            DEVICE,
            "--activation-bits",
            "Bits of what enters the LLM's products: 16, 8 or 4 (default: 16, or 8 where --bits 8 "
            "meets fp8 units).",
            "BITS",
        ),
    ] = None
    kv_bits: Annotated[
        Text,
        option(
            DEVICE,
            "--kv-bits",
            "Bits of cached keys and values: 16, 8 or 4 (default: the schedule's, 16).",
            "BITS",
        ),
    ] = None
    load_ms: Annotated[
        Text,
        option(
            DEVICE,
            "--load-ms",
            "Milliseconds to load and preprocess the images (default: 0).",
            "MS",
        ),
    ] = None

    def target(self) -> Device:
        """Return the device.

        Raises:
            InvalidInput: None is given, or none is known by that name.
        """
        if self.device is None:
            hint = "give one, such as a100-80gb; see `tokencost devices list`"
            raise InvalidInput("--device", None, "is missing", hint)
        from ..presets.device import load_device

        return load_device(self.device, "--device")

    def running(self) -> Running:
        """Return how the request runs.

        Raises:
            InvalidInput: A value that is no choice, or no number of milliseconds.
        """
        from ..costmodel.clock import Running

        chosen: dict[str, str] = {}
        for name, choices in (("runtime", _RUNTIMES), ("attention", _BACKENDS)):
            if getattr(self, name) is not None:
                chosen[name] = one_of(getattr(self, name), flag(name), choices)
        bits = {
            name: int(one_of(getattr(self, name), flag(name), _BITS))
            for name in _NUMBERS
            if getattr(self, name) is not None
        }
        load = Fraction(0)
        if self.load_ms is not None:
            if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", self.load_ms.strip()):
                hint = "give milliseconds such as 40 or 12.5"
                raise InvalidInput(
                    "--load-ms", self.load_ms, "is not a number of milliseconds", hint
                )
            load = Fraction(self.load_ms.strip())
        return Running(load_ms=load, **chosen, **bits)  # type: ignore[arg-type]

    def latency(self, report: Report) -> Latency:
        """Return the times of a report on the device.

        Raises:
            InvalidInput: An option that is wrong, or bits that the schedule states too.
        """
        from ..costmodel.latency import latency

        with named_options():
            return latency(report, self.target(), self.running())

    def check(self, sink: Sink) -> None:
        """Refuse to write over the device's own file, and options that are wrong.

        Raises:
            InvalidInput: One of these.
        """
        _, path = sink.chosen()
        device = self.target()
        self.running()
        if path and path.exists() and device.verification == "own":
            given = Path(str(self.device))
            if given.is_file() and path.samefile(given):
                problem = "is the device file"
                raise InvalidInput("--output", sink.output, problem, "name another file")
