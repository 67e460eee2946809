"""Measured times beside their predictions, for `tokencost devices check`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..costmodel.agreement import (
    SIZES,
    Agreement,
    Compared,
    agreement,
    bits_precision,
    by,
    compared,
    size,
)
from ..costmodel.device import Device, Efficiency, Precision
from ..costmodel.errors import InvalidInput
from ..costmodel.measured import PASSES, Measurements, pass_bytes, widths
from ..costmodel.numeric import whole
from ..costmodel.version import __version__
from ..presets.device import load_device, unverified_figures
from ..presets.measurements import read_measurements
from .device_card import KNOWN
from .document import Column, Document, Table
from .summary import SCHEMA_VERSION

#: Rows furthest off that are shown of each kind.
WORST = 5
BITS = (32, 16, 8, 4)
FORMULA = (
    "products: ((F/(e_c·peak))^p + (B/(e_b·BW))^p)^(1/p) + launch; passes: B/(share·BW) + launch; "
    "roofline: max(F/peak, B/BW) of the datasheet; interval: from the roofline to slow software"
)
PASS_BYTES = (
    "bytes of passes: what the profiled kernels read and write per token, in 16 bits: norms 4 d, "
    "rope 3 (q + kv), activation 3 m, add 2 d (3 d where an operand is larger than a cache of 40 "
    "MB); widths are those of the file's products"
)


class Asked(NamedTuple):
    """A file of measurements and what it is compared with."""

    file: str
    measured: Measurements
    device: Device
    precision: Precision
    bits: int

    @property
    def constants(self) -> Efficiency:
        """The constants in force."""
        return self.device.constants(self.precision)

    def rows(self) -> list[Compared]:
        """Return the rows that can be priced beside their predictions."""
        return compared(self.device, self.measured, self.precision, self.bits)


def asked(file: str, device: str | None, bits: str | None) -> Asked:
    """Read the device, the bits and the file, in this order.

    Raises:
        InvalidInput: One of them is wrong.
    """
    if device is None:
        way_out = "name a device (tokencost devices list) or a TOML file"
        raise InvalidInput("--device", None, "is missing", way_out)
    known = load_device(device, "--device")
    number = 16 if bits is None else whole(bits, "--bits", minimum=1)
    if number not in BITS:
        choices = ", ".join(map(str, BITS))
        raise InvalidInput("--bits", number, "is not a choice", f"choose from {choices}")
    try:
        precision = bits_precision(known, number)
    except InvalidInput as error:
        raise InvalidInput("--bits", number, error.problem, error.way_out) from None
    return Asked(file, read_measurements(file), known, precision, number)


def refuse_overwriting(output: str | None, file: str, device: str | None) -> None:
    """Refuse to write over a file that is read.

    Raises:
        InvalidInput: The output is the file of the measurements or of the device.
    """
    if output in (None, "-"):
        return
    for name, what in ((file, "measurements"), (device, "device")):
        try:
            same = bool(name) and Path(str(output)).samefile(str(name))
        except (OSError, ValueError):  # one of them does not exist, or is no name of a file
            continue
        if same:
            problem = f"is the file of the {what}"
            raise InvalidInput("--output", output, problem, "name another file")


def answer(file: str, device: str | None, bits: str | None) -> Document:
    """Return the errors of a device's constants on a file of measured operators.

    Raises:
        InvalidInput: A device, bits or a file that cannot be used, or nothing to price.
    """
    question = asked(file, device, bits)
    if question.measured.prefills:
        problem = "holds whole prefills, which no constant of one kernel predicts"
        way_out = "use `tokencost devices calibrate FILE --model ID`, which compares them"
        raise InvalidInput("FILE", file, problem, way_out)
    rows = question.rows()
    if not rows:
        raise InvalidInput("FILE", file, "has no row that can be priced", unpriced_reason(question))
    products = [one for one in rows if one.kind == "product"]
    passes = [one for one in rows if one.kind == "elementwise"]
    operators = by(rows, lambda one: one.row.operator)
    sizes = {
        index: agreement([one for one in products if size(one) == index])
        for index in range(len(SIZES) + 1)
    }
    worst = [*_worst(products), *_worst(passes)]
    kinds = {"matrix products": agreement(products), "elementwise passes": agreement(passes)}
    return Document(
        title=f"{rows_text(question)} beside {question.device.name}",
        facts=facts(question),
        tables=(
            _agreements("Overall", "rows of", kinds),
            _agreements("By operator", "operator", operators),
            _agreements(
                "Matrix products by size", "tokens", {size_name(i): a for i, a in sizes.items()}
            ),
            Table(
                "Rows furthest off",
                (
                    Column("line"),
                    Column("operator", "left"),
                    Column("tokens"),
                    Column("measured\n[µs]"),
                    Column("roofline\n[µs]"),
                    Column("predicted\n[µs]"),
                    Column("upper\n[µs]"),
                    Column("error\n[%]"),
                ),
                tuple(_worst_row(one) for one in worst),
            ),
        ),
        notes=notes(question, rows),
        sentence="",
        payload={
            "schema_version": SCHEMA_VERSION,
            "tokencost_version": __version__,
            "device": question.device.id,
            "unverified": list(unverified_figures(question.device)),
            "precision": question.precision,
            "bits": question.bits,
            "constants": constants_payload(question.constants),
            "rows": question.measured.rows,
            "product_rows": len(products),
            "elementwise_rows": len(passes),
            "unpriced_rows": question.measured.rows - len(rows),
            "mape_percent": _percent(kinds["matrix products"].mape),
            "roofline_mape_percent": _percent(kinds["matrix products"].roofline),
            "inside_interval_percent": _percent(kinds["matrix products"].inside),
            "elementwise_mape_percent": _percent(kinds["elementwise passes"].mape),
            "elementwise_roofline_mape_percent": _percent(kinds["elementwise passes"].roofline),
            "by_operator": {
                str(name): {
                    "kind": next(one.kind for one in rows if one.row.operator == name),
                    **agreement_payload(found),
                }
                for name, found in operators.items()
            },
            "by_size": [
                {
                    "from_tokens": 1 if index == 0 else SIZES[index - 1] + 1,
                    "to_tokens": SIZES[index] if index < len(SIZES) else None,
                    **agreement_payload(found),
                }
                for index, found in sizes.items()
            ],
            "worst": [row_payload(one) for one in worst],
        },
        records=tuple(row_payload(one) for one in rows),
    )


def facts(question: Asked) -> tuple[tuple[str, str], ...]:
    """Return what is compared with what."""
    constants, device = question.constants, question.device
    peak = device.peak(question.precision) / 1e12
    return (
        ("file", question.file),
        ("device", f"{device.id}, figures: {KNOWN[device.verification]}"),
        (
            "peaks",
            f"{peak:,.4g} TFLOP/s ({question.precision}), {device.bandwidth / 1e9:,.4g} GB/s; "
            f"{question.bits} bits per number",
        ),
        ("products", product_constants(constants)),
        ("passes", pass_constants(constants)),
        ("source", constants.source or "defaults: fitted to A100, H100 and A40"),
    )


def rows_text(question: Asked) -> str:
    """Return how many rows were measured, in words."""
    count = question.measured.rows
    return f"{count:,} measured row{'s' * (count > 1)}"


def product_constants(constants: Efficiency) -> str:
    """Return the constants of matrix products in words."""
    shares = f"e_c {float(constants.compute):.4g}, e_b {float(constants.memory):.4g}"
    rest = f"p {float(constants.exponent):.4g}, launch {float(constants.launch_us):.4g} µs"
    return f"{shares}, {rest}"


def pass_constants(constants: Efficiency) -> str:
    """Return the constants of elementwise passes in words."""
    launch = float(constants.elementwise_launch_us)
    return f"share {float(constants.elementwise_memory):.4g}, launch {launch:.4g} µs"


def notes(question: Asked, rows: Sequence[Compared]) -> tuple[str, ...]:
    """Return what the reader must know."""
    told = [FORMULA]
    if question.measured.passes:
        told.append(PASS_BYTES)
    left_out = question.measured.rows - len(rows)
    if left_out:
        told.append(f"{left_out} elementwise rows are not priced: {unpriced_reason(question)}")
    fast = sum(one.kind == "product" and one.row.seconds < one.time.lower for one in rows)
    if fast:
        told.append(
            f"faster than the datasheet allows: {fast} of the products; check device, bits, units"
        )
    unverified = unverified_figures(question.device)
    if unverified:
        told.append(f"{question.device.id}: not verified: {', '.join(unverified)}")
    return tuple(told)


def unpriced_reason(question: Asked) -> str:
    """Return why elementwise rows have no bytes."""
    width = widths(question.measured.products)
    names = {row.operator for row in question.measured.passes if not pass_bytes(row, width)}
    unknown = sorted(names - set(PASSES))
    reasons = []
    if unknown:
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        reasons.append(f"no bytes are known of {', '.join(unknown[:3])}{more}")
    if names & set(PASSES):
        reasons.append(
            "widths come from rows attn_pre_proj, attn_post_proj and mlp_down_proj, of one shape "
            "each"
        )
    return "; ".join(reasons)


def size_name(index: int) -> str:
    """Return a size class as a range of tokens.

    >>> size_name(0), size_name(3)
    ('1–64', '2,049 and more')
    """
    first = 1 if index == 0 else SIZES[index - 1] + 1
    return f"{first:,}–{SIZES[index]:,}" if index < len(SIZES) else f"{first:,} and more"


def constants_payload(constants: Efficiency) -> dict[str, Any]:
    """Return constants as JSON."""
    names = (
        "compute",
        "memory",
        "exponent",
        "launch_us",
        "elementwise_memory",
        "elementwise_launch_us",
    )
    return {**{name: float(getattr(constants, name)) for name in names}, "source": constants.source}


def agreement_payload(found: Agreement) -> dict[str, Any]:
    """Return a group's errors as JSON, in percent."""
    return {
        "rows": found.rows,
        "mape_percent": _percent(found.mape),
        "bias_percent": _percent(found.bias),
        "worst_percent": _percent(found.worst),
        "roofline_mape_percent": _percent(found.roofline),
        "inside_interval_percent": _percent(found.inside),
    }


def row_payload(one: Compared) -> dict[str, Any]:
    """Return a row beside its prediction."""
    row = one.row
    return {
        "line": row.line,
        "tokens": row.tokens,
        "operator": row.operator,
        "in_features": getattr(row, "in_features", None),
        "out_features": getattr(row, "out_features", None),
        "measured_us": row.seconds * 1e6,
        "lower_us": one.time.lower * 1e6,
        "predicted_us": one.time.central * 1e6,
        "upper_us": one.time.upper * 1e6,
        "error_percent": 100 * one.error,
    }


def _agreements(title: str, label: str, groups: dict[Any, Agreement]) -> Table:
    return Table(
        title,
        (
            Column(label, "left"),
            Column("rows"),
            Column("mean |error|\n[%]"),
            Column("mean error\n[%]"),
            Column("worst\n[%]"),
            Column("roofline:\nmean |error| [%]"),
            Column("inside the\ninterval [%]"),
        ),
        tuple(
            (str(name), f"{found.rows:,}", *(shown(value) for value in found[1:]))
            for name, found in groups.items()
        ),
    )


def _worst(rows: Sequence[Compared]) -> list[Compared]:
    return sorted(rows, key=lambda one: -abs(one.error))[:WORST]


def _worst_row(one: Compared) -> tuple[str, ...]:
    row, times = one.row, (one.row.seconds, *one.time)
    shown = [f"{time * 1e6:,.2f}" for time in times]
    return (
        str(row.line),
        row.operator,
        f"{row.tokens:,}",
        *shown,
        f"{100 * one.error:+.1f}".replace("-", "−"),
    )


def shown(value: float | None) -> str:
    """Return a share in percent, or a dash.

    >>> shown(-0.1234), shown(-0.0001)
    ('−12.3', '0.0')
    """
    return "—" if value is None else f"{round(100 * value, 1) + 0.0:.1f}".replace("-", "−")


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
