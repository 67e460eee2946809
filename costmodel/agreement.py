"""How well the time formulas agree with measured times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Literal, NamedTuple

from .device import Device, Precision
from .errors import InvalidInput
from .measured import Measurements, PassRow, ProductRow, pass_bytes, widths
from .timing import Interval, pass_time, product_time

#: Token counts that end a size class, the last one open.
SIZES = (64, 512, 2048)


class Compared(NamedTuple):
    """A measured row beside its prediction.

    Attributes:
        row: What was measured.
        kind: Whether it is a matrix product or an elementwise pass.
        time: Prediction in seconds; `lower` is the plain datasheet roofline max(F/peak, B/BW).
    """

    row: ProductRow | PassRow
    kind: Literal["product", "elementwise"]
    time: Interval

    @property
    def error(self) -> float:
        """Central estimate against the measurement: 0.1 is 10 % too long."""
        return float(self.time.central) / self.row.seconds - 1

    @property
    def roofline_error(self) -> float:
        """The same of the plain roofline."""
        return float(self.time.lower) / self.row.seconds - 1

    @property
    def inside(self) -> bool:
        """Whether the measurement lies in the interval."""
        return bool(self.time.lower <= self.row.seconds <= self.time.upper)


class Agreement(NamedTuple):
    """Errors of a group of rows; each None where it has none.

    Attributes:
        rows: How many.
        mape: Mean of the errors' absolute values; `bias` the mean of the errors themselves.
        worst: Largest absolute value.
        roofline: The mean for the plain datasheet roofline.
        inside: Share of rows inside the interval.
    """

    rows: int
    mape: float | None = None
    bias: float | None = None
    worst: float | None = None
    roofline: float | None = None
    inside: float | None = None


def bits_precision(device: Device, bits: int) -> Precision:
    """Return the first of a device's arithmetics that works with numbers of so many bits.

    Raises:
        InvalidInput: It has none.
    """
    wanted: dict[int, tuple[Precision, ...]] = {
        32: ("fp32",),
        16: ("bf16", "fp16"),
        8: ("fp8", "int8"),
        4: ("fp4", "int4"),
    }
    for precision in wanted[bits]:
        if device.native(precision):
            return precision
    has = [str(number) for number, names in wanted.items() if any(map(device.native, names))]
    problem = f"has no arithmetic on {device.id}"
    raise InvalidInput("bits", bits, problem, f"choose from {', '.join(has)}")


def compared(
    device: Device, measured: Measurements, precision: Precision, bits: int = 16
) -> list[Compared]:
    """Put every row that can be priced beside its prediction, in the order of the file.

    A pass whose name or width is not known is left out; widths are those of the products.
    """
    found = [
        Compared(
            row,
            "product",
            product_time(device, row.tokens, row.in_features, row.out_features, precision, bits),
        )
        for row in measured.products
    ]
    width, constants = widths(measured.products), device.constants(precision)
    # Activations between products have 16 bits or more, whatever the products take.
    moved = [(row, pass_bytes(row, width, max(bits, 16))) for row in measured.passes]
    found += [
        Compared(row, "elementwise", pass_time(amount, device.bandwidth, constants))
        for row, amount in moved
        if amount
    ]
    return sorted(found, key=lambda one: one.row.line)


def agreement(rows: Sequence[Compared]) -> Agreement:
    """Return the errors of some rows."""
    if not rows:
        return Agreement(0)
    errors = [one.error for one in rows]
    return Agreement(
        len(rows),
        mape=fmean(map(abs, errors)),
        bias=fmean(errors),
        worst=max(map(abs, errors)),
        roofline=fmean(abs(one.roofline_error) for one in rows),
        inside=fmean(one.inside for one in rows),
    )


def by(
    rows: Iterable[Compared], key: Callable[[Compared], str | int]
) -> dict[str | int, Agreement]:
    """Return the errors of groups of rows, in order of their keys' first appearance."""
    groups: dict[str | int, list[Compared]] = {}
    for one in rows:
        groups.setdefault(key(one), []).append(one)
    return {name: agreement(group) for name, group in groups.items()}


def size(one: Compared) -> int:
    """Return the index of a row's size class in (*SIZES, ∞)."""
    return sum(one.row.tokens > limit for limit in SIZES)
