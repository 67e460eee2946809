"""What a device can do at most, and how much of it software is seen to reach."""

import re
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from .errors import InvalidInput, UnknownName
from .numeric import Converted, Spec

#: Arithmetic that a device may have units for, the widest first.
Precision = Literal["fp32", "tf32", "fp16", "bf16", "fp8", "int8", "int4", "fp4"]
PRECISIONS: tuple[Precision, ...] = (
    "fp32",
    "tf32",
    "fp16",
    "bf16",
    "fp8",
    "int8",
    "int4",
    "fp4",
)
#: Larger rates and sizes are slips of a power of ten.
MOST = 10**9


def _positive(value: Any) -> Fraction:
    """Return a positive number, exact as typed."""
    try:
        if isinstance(value, bool) or (isinstance(value, str) and len(value) > 40):
            raise TypeError
        if re.search(r"[eE][+-]?0*[1-9][0-9]{2}", str(value)):
            raise TypeError  # a power that would never be computed
        number = Fraction(str(value))
    except (TypeError, ValueError, ZeroDivisionError):
        raise InvalidInput("", value, "is not a number", "give a positive number") from None
    if not 0 < number <= MOST:
        raise InvalidInput("", value, "is not a plausible positive number", "check the unit")
    return number


def _optional(value: Any) -> Fraction | None:
    return None if value is None else _positive(value)


def _share(value: Any) -> Fraction:
    number = _positive(value)
    if number > 1:
        raise InvalidInput("", value, "is above 1", "give a share of the peak in (0, 1]")
    return number


def _exponent(value: Any) -> Fraction:
    number = _positive(value)
    if number < 1:
        problem = "is below 1, which would make both times longer than their sum"
        raise InvalidInput("", value, problem, "give 1 or more")
    return number


Number = Annotated[Fraction, Converted(_positive)]
Exponent = Annotated[Fraction, Converted(_exponent)]
OptionalNumber = Annotated[Fraction | None, Converted(_optional)]
EfficiencyShare = Annotated[Fraction, Converted(_share)]


class Peaks(Spec):
    """Dense peak rates in 10¹² operations per second, without structured sparsity.

    Matrix units except fp32 (vector units); accumulation in fp32 for 16- and 8-bit floats. None is
    a precision that the device has no units for.
    """

    fp32: OptionalNumber = None
    tf32: OptionalNumber = None
    fp16: OptionalNumber = None
    bf16: OptionalNumber = None
    fp8: OptionalNumber = None
    int8: OptionalNumber = None
    int4: OptionalNumber = None
    fp4: OptionalNumber = None


class Efficiency(Spec):
    """Constants of the time of one kernel; see `timing`.

    Attributes:
        compute, memory: Shares of peak rate and bandwidth that matrix products reach.
        exponent: p of the norm that joins both times: 1 adds them, large p overlaps them.
        launch_us: Time of a launch in microseconds.
        elementwise_memory, elementwise_launch_us: The same for elementwise passes.
        attention: Share of `compute` that fused attention reaches.
        vision: Share of the peak rate that vision encoders reach.
        source: Where the constants come from.
    """

    compute: EfficiencyShare = Fraction(3, 4)
    memory: EfficiencyShare = Fraction(9, 10)
    exponent: Exponent = Fraction(3, 2)
    launch_us: Number = Fraction(6)
    elementwise_memory: EfficiencyShare = Fraction(4, 5)
    elementwise_launch_us: Number = Fraction(5, 2)
    attention: EfficiencyShare = Fraction(7, 10)
    vision: EfficiencyShare = Fraction(1, 4)
    source: str = ""


class Device(Spec):
    """A device: dense peaks, memory, bandwidth, and the efficiency of software on it.

    Attributes:
        id, name, vendor, architecture: What it is.
        peaks: Dense peak rates.
        memory_gb: Marketed memory in GB; 10⁹ bytes each here, because 1 to 7 % less than GiB is
            what programs find.
        bandwidth_gb_s: Peak bandwidth in 10⁹ bytes per second.
        link_gb_s: Bandwidth between devices, both directions summed; None without a link.
        tdp_w: Board power.
        efficiency: Constants of kernel times, by precision where they differ ("fp8").
        aliases: Other ids.
        verification: How its figures are known; `unverified` lists those that are not.
        notes, source: For the reader.

    >>> from vlm_tokencost.presets import load_device
    >>> load_device("a100-80-sxm").memory_bytes
    80000000000
    """

    id: str
    name: str
    vendor: str
    architecture: str
    peaks: Peaks
    memory_gb: Number
    bandwidth_gb_s: Number
    link_gb_s: OptionalNumber = None
    tdp_w: OptionalNumber = None
    efficiency: Efficiency = Field(default_factory=Efficiency)
    efficiency_by_precision: dict[Precision, Efficiency] = Field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    verification: Literal["vendor-doc", "secondary-page", "derived", "memory", "own"]
    unverified: tuple[str, ...] = ()
    notes: str = ""
    source: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _some_peak(self) -> Self:
        if all(getattr(self.peaks, name) is None for name in PRECISIONS):
            raise InvalidInput("peaks", None, "gives no rate", "give at least one")
        return self

    @property
    def memory_bytes(self) -> int:
        """Memory in bytes."""
        return int(self.memory_gb * 10**9)

    @property
    def bandwidth(self) -> float:
        """Peak bandwidth in bytes per second."""
        return float(self.bandwidth_gb_s) * 1e9

    def native(self, precision: str) -> bool:
        """Tell whether the device has units for a precision."""
        return getattr(self.peaks, precision, None) is not None

    def peak(self, precision: Precision) -> float:
        """Return the dense peak rate in FLOP per second.

        Raises:
            UnknownName: No such precision.
            InvalidInput: The device has no units for it.
        """
        if precision not in PRECISIONS:
            raise UnknownName("precision", precision, PRECISIONS, "tokencost devices show")
        rate = getattr(self.peaks, precision)
        if rate is None:
            has = ", ".join(name for name in PRECISIONS if self.native(name))
            problem = f"has no units in {self.id}"
            raise InvalidInput("precision", precision, problem, f"choose from {has}")
        return float(rate * 10**12)

    def constants(self, precision: Precision) -> Efficiency:
        """Return the efficiency at a precision."""
        return self.efficiency_by_precision.get(precision, self.efficiency)
