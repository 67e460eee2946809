"""How a request is run, and the time of its kernels then."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Literal, NamedTuple

from .device import Device, Efficiency, Precision
from .errors import InvalidInput
from .kernels import Backend, Kernel, Numbers, Stage
from .timing import ZERO, Interval, kernel_time, pass_time
from .tokenplan import TokenPlan

Runtime = Literal["eager", "graph"]
RUNTIMES: tuple[Runtime, ...] = ("eager", "graph")
BACKENDS: tuple[Backend, ...] = ("eager", "sdpa", "flash")
#: Seconds that eager Python takes to launch a decoder layer: none at best, measured 0.65 to 1.05 ms
#: in transformers on A10, A100 and RTX 4090 hosts (docs/latency.md).
HOST_SECONDS = Interval(0.0, 0.85e-3, 1.05e-3)
#: Devices of NVIDIA whose host has other cores than those that the constant was measured on.
_ARM_HOSTS = ("Jetson", "GH200", "GB200")
#: What 16-bit products run at: the first that a device has units for.
_SIXTEEN: tuple[Precision, ...] = ("bf16", "fp16", "fp32")
#: Bits of weights, activations and cache that can be asked for.
BITS = (16, 8, 4)
#: Bits that can be asked for, and what a schedule calls them.
STATED = {"bits": "weights", "activation_bits": "activations", "kv_bits": "kv"}
#: Widths of operands and the units that multiply them, in order of preference.
_NARROW: tuple[tuple[int, tuple[Precision, ...]], ...] = (
    (4, ("fp4", "int4")),
    (8, ("fp8", "int8")),
)


class Running(NamedTuple):
    """How the request is run.

    Attributes:
        runtime: "eager" Python, whose launches take host time, or a CUDA "graph" or an engine.
        attention: Kernel of attention: "eager" (scores in memory), "sdpa" or "flash" (fused).
        bits, activation_bits, kv_bits: Bits of the LLM's weights, of what enters its products, and
            of its cache; None is what the schedule says, or what `arithmetic` chooses. They are
            refused where the schedule says the same thing.
        load_ms: Time to load and preprocess the images.
    """

    runtime: Runtime = "eager"
    attention: Backend = "sdpa"
    bits: int | None = None
    activation_bits: int | None = None
    kv_bits: int | None = None
    load_ms: Fraction = Fraction(0)


class Arithmetic(NamedTuple):
    """What products run at.

    Attributes:
        usual, narrow: Precision of 16-bit products, and of the LLM's.
        numbers: Bits that are moved.
    """

    usual: Precision
    narrow: Precision
    numbers: Numbers


class StageTime(NamedTuple):
    """What a stage takes, or a decode forward.

    Attributes:
        device: Time of its kernels.
        host: Time of eager Python. It overlaps with the kernels, so that the longer one counts; in
            the upper bound it does not.
        time: What passes.
        flops, weight_bytes, kv_bytes, moved_bytes: What its kernels compute and move.
        compute, memory: Seconds of compute and of memory at the central shares, without overlap.
    """

    device: Interval = ZERO
    host: Interval = ZERO
    time: Interval = ZERO
    flops: float = 0
    weight_bytes: float = 0
    kv_bytes: float = 0
    moved_bytes: float = 0
    compute: float = 0.0
    memory: float = 0.0

    def __add__(self, other: Any) -> StageTime:
        """Add what is done one after the other."""
        return StageTime(*(mine + its for mine, its in zip(self, other, strict=True)))

    def scaled(self, factor: float) -> StageTime:
        """Return so many times of it."""
        device, host, time = (one.scaled(factor) for one in self[:3])
        return StageTime(device, host, time, *(factor * one for one in self[3:]))

    @property
    def limit(self) -> str:
        """What the stage waits for most: "host", "compute", "weights", "cache" or "memory"."""
        if self.host.central > self.device.central:
            return "host"
        if self.compute >= self.memory:
            return "compute"
        parts = {
            "weights": self.weight_bytes,
            "cache": self.kv_bytes,
            "memory": self.moved_bytes,
        }
        return max(parts, key=lambda name: parts[name])


def host_was_measured(device: Device) -> bool:
    """Tell whether `HOST_SECONDS` was measured on hosts such as the device's: x86 with CUDA."""
    return device.vendor == "NVIDIA" and not any(name in device.name for name in _ARM_HOSTS)


def arithmetic(device: Device, plan: TokenPlan, running: Running) -> Arithmetic:
    """Return what products run at on a device.

    A product runs at the wider of weights and activations, where the device has units for that;
    elsewhere weights are turned into 16 bits first: fewer bytes, no faster products. 8-bit weights
    meet 8-bit activations where the device has fp8 units; otherwise activations have 16 bits
    unless told (W8A16, W4A16).

    Raises:
        InvalidInput: Bits other than 16, 8 and 4, bits that the schedule states itself, or a device
            without 16-bit or fp32 units.
    """
    usual = next((name for name in _SIXTEEN if device.native(name)), None)
    if usual is None:
        problem = "has no units for bf16, fp16 or fp32"
        raise InvalidInput("device", device.id, problem, "give the peak of one of them")
    stated = plan.bits
    for name, own in STATED.items():
        value = getattr(running, name)
        if value not in (None, *BITS):
            raise InvalidInput(name, value, "is not a choice", "choose from 16, 8, 4")
        if value is not None and stated is not None and own in stated.model_fields_set:
            problem = f"stands beside the schedule's own {getattr(stated, own)} bits"
            raise InvalidInput(name, value, problem, "leave one of them out")
    weights = running.bits or (16 if stated is None else int(stated.weights))
    kv = running.kv_bits or (16 if stated is None else int(stated.kv))
    entering = running.activation_bits or _entering(device, running, stated, weights)
    wide = max(weights, entering)
    fitting = next((names for most, names in _NARROW if wide <= most), ())
    narrow = next((name for name in fitting if device.native(name)), usual)
    dequantized = narrow == usual and weights < 16
    return Arithmetic(usual, narrow, Numbers(weights, entering, kv, dequantized))


def _entering(device: Device, running: Running, stated: Any, weights: int) -> int:
    """Return the bits of what enters products where no option says: the schedule's, or usual ones.

    A schedule that states bits of other things keeps 16, unless an option sets those of weights.
    """
    if stated is not None and (running.bits is None or "activations" in stated.model_fields_set):
        return int(stated.activations)
    return 8 if weights == 8 and device.native("fp8") else 16


class Clock:
    """Times kernels on a device."""

    def __init__(self, device: Device, numbers: Arithmetic, running: Running) -> None:
        """Price for a device, with these precisions and this way of running."""
        self.device, self.arithmetic, self.running = device, numbers, running
        self._constants: dict[tuple[str, Precision], Efficiency] = {}

    def time(self, kernel: Kernel) -> StageTime:
        """Return the time of all launches of a kernel."""
        own = self.arithmetic
        precision = own.narrow if kernel.narrow else own.usual
        constants = self._of(kernel, precision)
        launch = float(constants.launch_us) * 1e-6
        if kernel.kind == "launch":
            waiting = Interval(0.0, kernel.times * launch, kernel.times * launch)
            return StageTime(waiting, ZERO, waiting)
        bandwidth, peak = self.device.bandwidth, self.device.peak(precision)
        bounds = []
        for index, share in enumerate(kernel.present):
            flops, moved = share * kernel.flops, share * kernel.bytes
            if index == 2 and kernel.upper_flops is not None:
                flops = share * kernel.upper_flops
            if kernel.kind == "pass":
                bounds.append(pass_time(moved, bandwidth, constants)[index])
            else:
                bounds.append(kernel_time(flops, moved, peak, bandwidth, constants)[index])
        took = Interval(*bounds).scaled(kernel.times)
        share = kernel.times * kernel.present[1]
        compute = kernel.flops / (float(constants.compute) * peak)
        memory = kernel.bytes / (float(constants.memory) * bandwidth)
        return StageTime(
            took,
            ZERO,
            took,
            *(
                share * amount
                for amount in (
                    kernel.flops,
                    kernel.weight_bytes,
                    kernel.kv_bytes,
                    kernel.moved_bytes,
                    compute,
                    memory,
                )
            ),
        )

    def _of(self, kernel: Kernel, precision: Precision) -> Efficiency:
        """Return the constants of a kernel: encoders and fused attention have their own shares."""
        kind = "vision" if kernel.stage == "vision" else kernel.kind
        key = kind, precision
        if key not in self._constants:
            found = self.device.constants(precision)
            share = found.compute
            if kind == "vision":
                share = found.vision
            elif kind == "attention":
                share = found.compute * found.attention
            self._constants[key] = found.model_copy(update={"compute": share})
        return self._constants[key]

    def stages(self, kernels: Iterable[Kernel]) -> dict[Stage, StageTime]:
        """Return the device times of kernels by stage."""
        found: dict[Stage, StageTime] = {}
        for kernel in kernels:
            found[kernel.stage] = found.get(kernel.stage, StageTime()) + self.time(kernel)
        return found

    def hosted(self, stage: StageTime, layers: int, *, upper_only: bool = False) -> StageTime:
        """Return a stage that waits for eager Python too."""
        if self.running.runtime != "eager":
            return stage
        host = HOST_SECONDS.scaled(layers)
        if upper_only:
            host = Interval(0.0, 0.0, host.upper)
        lower, central, _ = map(max, stage.device, host)
        time = Interval(lower, central, stage.device.upper + host.upper)
        return stage._replace(host=host, time=time)
