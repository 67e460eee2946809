"""The time of a kernel, as an interval: physical bound, central estimate, pessimistic bound."""

from __future__ import annotations

from typing import Any, NamedTuple

from .device import Device, Efficiency, Precision

#: What pessimistic software reaches of peak rate and bandwidth.
UPPER_COMPUTE, UPPER_MEMORY = 0.50, 0.70


class Interval(NamedTuple):
    """A time in seconds, or a ratio of times.

    Attributes:
        lower: What no software goes below: the datasheet's rates, no launch, no host.
        central: The estimate.
        upper: What slow software takes.
    """

    lower: Any
    central: Any
    upper: Any

    def __add__(self, other: Any) -> Interval:
        """Add times."""
        return Interval(*(mine + its for mine, its in zip(self, other, strict=True)))

    def scaled(self, factor: Any) -> Interval:
        """Return so many times as long."""
        return Interval(*(factor * one for one in self))


ZERO = Interval(0.0, 0.0, 0.0)


def pessimistic(constants: Efficiency) -> tuple[float, float]:
    """Return the shares of peak rate and bandwidth behind the upper bound.

    min(0.50, 2/3 · e_c) and min(0.70, 7/9 · e_b): of the usual constants, 0.50 and 0.70.
    """
    slow_c = min(UPPER_COMPUTE, 2 / 3 * float(constants.compute))
    return slow_c, min(UPPER_MEMORY, 7 / 9 * float(constants.memory))


def kernel_time(
    flops: Any, moved: Any, peak: float, bandwidth: float, constants: Efficiency
) -> Interval:
    """Return the time of a kernel with so many FLOPs that moves so many bytes.

    central  ((F/(e_c·peak))^p + (B/(e_b·BW))^p)^(1/p) + t_0
    lower    max(F/peak, B/BW)
    upper    as central with e_c = 0.50 and e_b = 0.70, or less where the device reaches less

    Source: fit to 3 × 1036 matrix products of Vidur's profiles (p = 1.5, e_c = 0.75, e_b = 0.90,
    t_0 = 6 µs); the norm lies between perfect overlap (p = ∞) and none (p = 1). Numbers or numpy
    arrays; 0 FLOPs and 0 bytes take no time at all.
    """
    p = float(constants.exponent)
    e_c, e_b = float(constants.compute), float(constants.memory)
    busy = (flops > 0) | (moved > 0)
    launch = float(constants.launch_us) * 1e-6 * busy

    def joined(share_c: float, share_b: float) -> Any:
        # Powers of floats: whole numbers would leave int64 where arrays hold them.
        compute, memory = 1.0 * flops / (share_c * peak), 1.0 * moved / (share_b * bandwidth)
        return (compute**p + memory**p) ** (1 / p)

    slow_c, slow_b = pessimistic(constants)
    compute, memory = 1.0 * flops / peak, 1.0 * moved / bandwidth
    longest = compute + (memory - compute) * (memory > compute)
    return Interval(longest, joined(e_c, e_b) + launch, joined(slow_c, slow_b) + launch)


def pass_time(moved: Any, bandwidth: float, constants: Efficiency) -> Interval:
    """Return the time of an elementwise pass over so many bytes: B/(0.8·BW) + 2.5 µs."""
    e_b = float(constants.elementwise_memory)
    launch = float(constants.elementwise_launch_us) * 1e-6 * (moved > 0)
    least = 1.0 * moved / bandwidth
    return Interval(least, least / e_b + launch, least / min(UPPER_MEMORY, 7 / 8 * e_b) + launch)


def product_time(
    device: Device, tokens: Any, c_in: int, c_out: int, precision: Precision, bits: int = 16
) -> Interval:
    """Return the time of a matrix product [tokens, c_in] × [c_in, c_out]: weights are read too."""
    moved = (tokens * (c_in + c_out) + c_in * c_out) * bits / 8
    constants = device.constants(precision)
    flops = 2.0 * tokens * c_in * c_out
    return kernel_time(flops, moved, device.peak(precision), device.bandwidth, constants)
