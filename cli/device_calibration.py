"""A device's constants refitted to measured times, for `tokencost devices calibrate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from ..costmodel.agreement import Agreement, Compared, agreement
from ..costmodel.calibration import (
    FEWEST_PASSES,
    PASS,
    PRODUCT,
    WORST_MAPE,
    Sample,
    fit_passes,
    fit_products,
    impossible,
    passes_can_be_fitted,
    updated,
    with_efficiency,
)
from ..costmodel.device import Device, Efficiency
from ..costmodel.errors import InvalidInput, clip
from ..costmodel.version import __version__
from ..presets.device import unverified_figures
from ..presets.device_file import to_toml
from ..presets.files import replace
from .device_card import KNOWN
from .device_check import (
    FORMULA,
    PASS_BYTES,
    Asked,
    agreement_payload,
    asked,
    constants_payload,
    refuse_overwriting,
    rows_text,
    shown,
    unpriced_reason,
)
from .document import Column, Document, Table
from .export import deliver
from .files import writable
from .options import Sink
from .prefill_fit import PrefillFit, fit_prefills
from .summary import SCHEMA_VERSION

#: Where software is known it reaches 0.4 to 0.97 of the dense peak in matrix products.
LOW = 0.4
NAMES = {
    "compute": "share of the peak rate, e_c",
    "memory": "share of the bandwidth, e_b",
    "exponent": "exponent, p",
    "launch_us": "launch [µs]",
    "elementwise_memory": "passes: share of the bandwidth",
    "elementwise_launch_us": "passes: launch [µs]",
}


class Calibrated(NamedTuple):
    """The outcome of a fit.

    Attributes:
        question: What was asked.
        device: The device with its new constants.
        fitted: Names of the constants that were fitted.
        errors: (label, key, before, after) of every kind of rows.
        prefills: The fit to whole prefills, if it was one.
    """

    question: Asked
    device: Device
    fitted: tuple[str, ...]
    errors: tuple[tuple[str, str, Agreement, Agreement], ...]
    prefills: PrefillFit | None

    @property
    def constants(self) -> Efficiency:
        """The new constants."""
        return self.device.constants(self.question.precision)


def calibrate(
    sink: Sink,
    file: str,
    device: str | None,
    bits: str | None,
    model: str | None,
    output: str | None,
) -> None:
    """Refit, print the answer, and write the device's file.

    Raises:
        InvalidInput: A value that is wrong, or rows that cannot be fitted.
        MissingExtra: scipy is not installed.
    """
    path = _device_output(output, file, device)

    def build() -> Document:
        found = calibrated(file, device, bits, model)
        answer = document(found, output)
        if path is not None:
            replace(path, answer.payload["toml"].encode())
        return answer

    deliver(sink, build)


def _device_output(output: str | None, file: str, device: str | None) -> Path | None:
    """Return the TOML file to write, which can be written and is not read.

    Raises:
        InvalidInput: It is not, or its name would not be taken for a device file.
    """
    if output is None:
        return None
    if not output.lower().endswith(".toml"):
        problem = "does not end in .toml, by which --device knows a file"
        raise InvalidInput("--output", output, problem, "name it so")
    refuse_overwriting(output, file, device)
    return writable(output)


def calibrated(
    file: str, device: str | None, bits: str | None = None, model: str | None = None
) -> Calibrated:
    """Refit a device's constants to a file.

    Raises:
        InvalidInput: A device, bits, model or file that cannot be used; rows that are too few,
            contradict each other, or cannot be times of this device.
        MissingExtra: scipy is not installed.
    """
    question = asked(file, device, bits)
    if question.measured.prefills:
        return _to_prefills(question, model)
    if model is not None:
        problem = "goes with whole prefills (tokens,ms), not with rows of operators"
        raise InvalidInput("--model", model, problem, "leave it out")
    return _in_file(lambda: _to_operators(question), question)


def _to_operators(question: Asked) -> Calibrated:
    precision, start = question.precision, question.constants
    sample = Sample(question.device, question.measured, precision, question.bits)
    before = question.rows()
    fast = impossible(before)
    if fast is not None:
        least, took = fast.time.lower * 1e6, fast.row.seconds * 1e6
        problem = (
            f"say at line {fast.row.line} {took:.4g} µs for a product that takes {least:.4g} µs at "
            f"the rates of {question.device.id}"
        )
        raise InvalidInput("rows", None, problem, "check the unit, --device and --bits")
    constants = fit_products([sample], start)
    fitted: tuple[str, ...] = PRODUCT
    if passes_can_be_fitted(sample):
        constants |= fit_passes([sample], start)
        fitted += PASS
    what = "products and passes" if PASS[0] in fitted else "products"
    device = _named(question, updated(start, constants, _source(what, question)))
    after = Asked(question.file, question.measured, device, precision, question.bits).rows()
    errors = []
    for label, key, kind in (
        ("matrix products", "products", "product"),
        ("elementwise passes", "elementwise", "elementwise"),
    ):
        sides = [[one for one in rows if one.kind == kind] for rows in (before, after)]
        if sides[0]:
            errors.append((label, key, agreement(sides[0]), agreement(sides[1])))
    _refuse_misfit([one for one in after if one.kind == "product"])
    return Calibrated(question, device, fitted, tuple(errors), None)


def _to_prefills(question: Asked, model: str | None) -> Calibrated:
    if model is None:
        way_out = "name the model whose prefill was timed"
        raise InvalidInput("--model", None, "is missing", way_out)
    if question.bits != 16:
        problem = "cannot go with whole prefills, which are fitted at 16 bits"
        raise InvalidInput("--bits", question.bits, problem, "leave it out")
    fit = _in_file(lambda: fit_prefills(question, model), question)
    source = _source(f"e_c, by prefills of {fit.model}", question)
    device = _named(question, updated(question.constants, {"compute": fit.compute}, source))
    errors = (("prefills", "prefill", fit.before, fit.after),)
    return Calibrated(question, device, ("compute",), errors, fit)


def _source(what: str, question: Asked) -> str:
    """Return where constants come from, for the device's file."""
    name = clip(Path(question.file).name, 40)
    source = f"{what}: fitted to {rows_text(question)} of {name}"
    before = question.constants.source
    return f"{source}; the rest: {clip(before, 240)}" if before else source


def _named(question: Asked, efficiency: Efficiency) -> Device:
    """Return the device with its constants, an id of its own, and where they come from."""
    device = with_efficiency(question.device, question.precision, efficiency)
    own_id = device.id if device.id.endswith("-calibrated") else f"{device.id[:53]}-calibrated"
    kept = tuple(name for name in device.unverified if not name.startswith("efficiency"))
    return device.model_copy(update={"id": own_id, "aliases": (), "unverified": kept})


def _refuse_misfit(rows: list[Compared]) -> None:
    found = agreement(rows)
    if found.mape is not None and found.mape > WORST_MAPE:
        worst = max(rows, key=lambda one: abs(one.error))
        problem = (
            f"contradict each other: the best fit is off by {found.mape:.0%} on average, most at "
            f"line {worst.row.line}"
        )
        raise InvalidInput("rows", None, problem, "check the times, --device and --bits")


Fit = TypeVar("Fit")


def _in_file(build: Callable[[], Fit], question: Asked) -> Fit:
    """Run a fit; complaints about its rows name the file."""
    try:
        return build()
    except InvalidInput as error:
        if error.field != "rows":
            raise
        problem = f"has rows that {error.problem}"
        raise InvalidInput("FILE", question.file, problem, error.way_out) from None


def document(found: Calibrated, output: str | None) -> Document:
    """Return constants and errors before and after, and the device's file."""
    question, text = found.question, to_toml(found.device)
    old, new = question.constants, found.constants
    tables = [
        Table(
            "Constants",
            (Column("constant", "left"), Column("before"), Column("after")),
            tuple(
                (NAMES[name], *(f"{float(getattr(side, name)):.4g}" for side in (old, new)))
                for name in found.fitted
            ),
        ),
        Table(
            "Errors of the central estimate",
            (
                Column("rows of", "left"),
                Column("rows"),
                Column("mean |error|\nbefore [%]"),
                Column("mean |error|\nafter [%]"),
                Column("mean error\nbefore [%]"),
                Column("mean error\nafter [%]"),
                Column("worst\nafter [%]"),
            ),
            tuple(
                (
                    label,
                    f"{before.rows:,}",
                    *map(
                        shown,
                        (before.mape, after.mape, before.bias, after.bias, after.worst),
                    ),
                )
                for label, _, before, after in found.errors
            ),
        ),
    ]
    if found.prefills:
        tables.append(found.prefills.table())
    return Document(
        title=f"{question.device.name} calibrated to {rows_text(question)}",
        facts=(
            ("file", question.file),
            ("device", f"{question.device.id}, figures: {KNOWN[question.device.verification]}"),
            ("precision", f"{question.precision}, {question.bits} bits per number"),
            ("written to", output or "nowhere; add --output DEVICE.toml to use it as --device"),
        ),
        tables=tuple(tables),
        notes=_notes(found),
        sentence="",
        payload={
            "schema_version": SCHEMA_VERSION,
            "tokencost_version": __version__,
            "device": question.device.id,
            "unverified": list(unverified_figures(question.device)),
            "precision": question.precision,
            "bits": question.bits,
            "rows": question.measured.rows,
            "fitted": list(found.fitted),
            "before": constants_payload(old),
            "after": constants_payload(new),
            "errors": {
                key: {"before": agreement_payload(before), "after": agreement_payload(after)}
                for _, key, before, after in found.errors
            },
            "prefills": found.prefills.payload() if found.prefills else [],
            "output": output,
            "toml": text,
        },
        records=tuple(
            {
                "constant": name,
                "before": float(getattr(old, name)),
                "after": float(getattr(new, name)),
            }
            for name in found.fitted
        ),
    )


def _notes(found: Calibrated) -> tuple[str, ...]:
    question = found.question
    told = ["least squares of ln(predicted/measured), in which rows off by over 5 % count linearly"]
    if found.prefills:
        told.append("launch, bandwidth and all other constants stay as they were")
        told += found.prefills.notes()
    else:
        told.append(FORMULA)
    if question.measured.passes:
        told.append(PASS_BYTES)
        if PASS[0] not in found.fitted:
            told.append(
                f"fewer than {FEWEST_PASSES} different passes can be priced: their constants stay"
            )
    left_out = question.measured.rows - sum(before.rows for _, _, before, _ in found.errors)
    if left_out:
        told.append(f"{left_out} elementwise rows are not priced: {unpriced_reason(question)}")
    if found.constants.compute < LOW:
        share = float(found.constants.compute)
        told.append(f"only {share:.0%} of the peak rate is reached: check --device and --bits")
    unverified = unverified_figures(question.device)
    if unverified:
        told.append(f"{question.device.id}: not verified: {', '.join(unverified)}")
    return tuple(told)
