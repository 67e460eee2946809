"""The constants of a device's kernel times, refitted to measured times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from .agreement import Compared, compared
from .device import Device, Efficiency, Precision
from .errors import InvalidInput, MissingExtra
from .measured import Measurements, PassRow, PrefillRow, pass_bytes, widths
from .timing import kernel_time, pass_time

#: Fewest different shapes for the four constants of products, and for the two of passes.
FEWEST_PRODUCTS, FEWEST_PASSES = 12, 6
#: A regime is seen when it would take so many times as long as the other, in so many rows.
_CLEARLY, _ROWS = 2.0, 3
#: Where constants may lie; times of a launch in microseconds.
BOUNDS = {
    "compute": (0.02, 1.0),
    "memory": (0.02, 1.0),
    "exponent": (1.0, 8.0),
    "launch_us": (0.001, 1000.0),
    "elementwise_memory": (0.02, 1.0),
    "elementwise_launch_us": (0.001, 1000.0),
}
PRODUCT = ("compute", "memory", "exponent", "launch_us")
PASS = ("elementwise_memory", "elementwise_launch_us")
_SHARES = {
    "compute": "the peak rate",
    "memory": "the bandwidth",
    "elementwise_memory": "the bandwidth in elementwise passes",
}
#: Rows whose best fit is off by more than this are no kernel times of this device.
WORST_MAPE = 0.25
#: Log errors beyond this count linearly: one slow kernel must not bend the fit.
_OUTLIER = 0.05


class Sample(NamedTuple):
    """Measurements and the device that they are of."""

    device: Device
    measured: Measurements
    precision: Precision
    bits: int = 16

    def rows(self, efficiency: Efficiency) -> list[Compared]:
        """Return the rows beside their predictions with other constants."""
        device = with_efficiency(self.device, self.precision, efficiency)
        return compared(device, self.measured, self.precision, self.bits)


def with_efficiency(device: Device, precision: Precision, efficiency: Efficiency) -> Device:
    """Return the device with other constants at a precision.

    They become the device's usual ones unless the precision has, or needs, its own: what an 8-bit
    product reaches says nothing of a 16-bit one.
    """
    if precision in ("bf16", "fp16") and precision not in device.efficiency_by_precision:
        return device.model_copy(update={"efficiency": efficiency})
    own = {**device.efficiency_by_precision, precision: efficiency}
    return device.model_copy(update={"efficiency_by_precision": own})


def fit_products(samples: Sequence[Sample], start: Efficiency) -> dict[str, Fraction]:
    """Return compute, memory, exponent and launch that fit the products of all samples.

    Least squares of ln(predicted/measured), in which outliers count linearly.

    Raises:
        InvalidInput: Too few rows, or rows of one regime only; the field is "rows".
        MissingExtra: scipy is not installed.
    """
    _refuse_few({row[1:-1] for one in samples for row in one.measured.products}, FEWEST_PRODUCTS)
    numpy = _numpy()
    parts = []
    for one in samples:
        table = numpy.array(
            [(row.tokens, row.in_features, row.out_features) for row in one.measured.products],
            dtype=float,
        ).reshape(-1, 3)
        n, c_in, c_out = table.T
        flops = 2 * n * c_in * c_out
        moved = (n * (c_in + c_out) + c_in * c_out) * one.bits / 8
        seconds = numpy.array([row.seconds for row in one.measured.products])
        peak, bandwidth = one.device.peak(one.precision), one.device.bandwidth
        parts.append((flops, moved, peak, bandwidth, seconds))
    balance = numpy.concatenate([(f / peak) / (b / rate) for f, b, peak, rate, _ in parts])
    _refuse_one_regime(int((balance > _CLEARLY).sum()), int((balance < 1 / _CLEARLY).sum()))

    def residuals(efficiency: Efficiency) -> Any:
        return numpy.concatenate(
            [
                numpy.log(kernel_time(f, b, peak, rate, efficiency).central / seconds)
                for f, b, peak, rate, seconds in parts
            ]
        )

    return _least_squares(PRODUCT, start, residuals)


def fit_passes(samples: Sequence[Sample], start: Efficiency) -> dict[str, Fraction]:
    """Return bandwidth share and launch that fit the elementwise passes of all samples.

    Raises:
        InvalidInput: Too few rows that can be priced; the field is "rows".
        MissingExtra: scipy is not installed.
    """
    numpy = _numpy()
    parts, shapes = [], set()
    for one in samples:
        priced = _priced(one)
        shapes |= {row[1:-1] for row, _ in priced}
        if priced:
            moved = numpy.array([amount for _, amount in priced])
            seconds = numpy.array([row.seconds for row, _ in priced])
            parts.append((moved, one.device.bandwidth, seconds))
    _refuse_few(shapes, FEWEST_PASSES, "elementwise rows that can be priced")

    def residuals(efficiency: Efficiency) -> Any:
        return numpy.concatenate(
            [
                numpy.log(pass_time(moved, rate, efficiency).central / seconds)
                for moved, rate, seconds in parts
            ]
        )

    return _least_squares(PASS, start, residuals)


def passes_can_be_fitted(sample: Sample) -> bool:
    """Tell whether a file has enough elementwise rows of known bytes."""
    return len({row[1:-1] for row, _ in _priced(sample)}) >= FEWEST_PASSES


def fit_compute(
    points: Sequence[PrefillRow],
    predict: Callable[[int, Efficiency], float],
    start: Efficiency,
) -> dict[str, Fraction]:
    """Return the share of the peak rate with which prefills take as long as measured.

    Args:
        points: Whole prefills.
        predict: Seconds of a prefill of so many tokens.
        start: The constants that stay as they are.

    Raises:
        InvalidInput: No share in bounds fits; the field is "rows".
        MissingExtra: scipy is not installed.
    """
    numpy = _numpy()

    def residuals(efficiency: Efficiency) -> Any:
        times = [predict(point.tokens, efficiency) / point.seconds for point in points]
        return numpy.log(numpy.array(times))

    return _least_squares(("compute",), start, residuals)


def updated(start: Efficiency, constants: dict[str, Fraction], source: str) -> Efficiency:
    """Return the constants with some of them replaced, and where those come from."""
    return Efficiency(**{**dict(start), **constants, "source": source})


def impossible(rows: Sequence[Compared]) -> Compared | None:
    """Return the product that was measured furthest below the roofline, if any by over 5 %."""
    products = [one for one in rows if one.kind == "product"]
    worst = max(products, key=lambda one: one.roofline_error, default=None)
    return worst if worst and worst.roofline_error > 0.05 else None


def _priced(one: Sample) -> list[tuple[PassRow, float]]:
    width = widths(one.measured.products)
    priced = [(row, pass_bytes(row, width, max(one.bits, 16))) for row in one.measured.passes]
    return [(row, moved) for row, moved in priced if moved]


def _numpy() -> Any:
    import numpy

    return numpy


def _least_squares(
    names: Sequence[str], start: Efficiency, residuals: Callable[[Efficiency], Any]
) -> dict[str, Fraction]:
    """Return the constants, in four digits, that make the residuals least."""
    try:
        from scipy.optimize import least_squares
    except ModuleNotFoundError as error:
        raise MissingExtra((error.name or "scipy").partition(".")[0], "calibrate") from None

    rest = dict(start)

    def of(values: Sequence[float]) -> Any:
        return residuals(Efficiency(**{**rest, **dict(zip(names, values, strict=True))}))

    lowest, highest = zip(*(BOUNDS[name] for name in names), strict=True)
    # A start on a bound has no side to step to.
    first = [
        min(max(float(getattr(start, name)), 1.01 * low), 0.99 * high)
        for name, low, high in zip(names, lowest, highest, strict=True)
    ]
    found = least_squares(
        of,
        first,
        bounds=(lowest, highest),
        x_scale=first,
        loss="soft_l1",
        f_scale=_OUTLIER,
        # Tight, so that the four digits do not depend on where it stopped.
        ftol=1e-13,
        xtol=1e-11,
        gtol=1e-13,
    )
    constants = {
        name: Fraction(f"{float(value):.4g}") for name, value in zip(names, found.x, strict=True)
    }
    for name, value in constants.items():
        low, high = BOUNDS[name]
        if name in _SHARES and not low < value < high:
            end = "more than" if value >= high else f"less than {100 * low:.0f} % of"
            problem = f"would need {end} {_SHARES[name]}"
            way_out = "check the unit of the times, --device and --bits"
            raise InvalidInput("rows", None, problem, way_out)
    return constants


def _refuse_few(shapes: set[Any], fewest: int, what: str = "matrix products") -> None:
    if len(shapes) < fewest:
        problem = f"are too few: {len(shapes)} different {what}"
        raise InvalidInput("rows", None, problem, f"measure {fewest} or more")


def _refuse_one_regime(compute_bound: int, memory_bound: int) -> None:
    for count, bound, way_out in (
        (compute_bound, "the peak rate", "add products of 1,000 tokens and more"),
        (memory_bound, "the bandwidth", "add products of 1 to 64 tokens"),
    ):
        if count < _ROWS:
            problem = f"say too little of {bound}: {count} products are clearly bound by it"
            raise InvalidInput("rows", None, problem, way_out)
