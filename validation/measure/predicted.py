"""What the cost model predicts beside what a GPU measured, from a file of `validate --measure`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...costmodel import InvalidInput, Report, Workload, evaluate
from ...costmodel.clock import Running
from ...costmodel.device import Device
from ...costmodel.latency import latency
from ...costmodel.peak import Asking, peak
from ...costmodel.transients import Running as Keeping
from ...presets import load_method, load_model
from ...presets.device import load_device

#: Mean absolute errors that are aimed at.
TARGETS = {"peak memory": 0.02, "prefill device time": 0.10, "prefill speed-up": 0.07}
NO_RESULT = "There is no GPU result yet, so nothing to compare."


class Quantity(NamedTuple):
    """A figure of a case, predicted and measured, in base units."""

    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """Prediction over measurement, less one."""
        return self.predicted / self.measured - 1


class Predicted(NamedTuple):
    """A measured case beside its prediction.

    Attributes:
        row: The case, as the file has it.
        quantities: By the names of `TARGETS`, as far as they were measured.
    """

    row: dict[str, Any]
    quantities: dict[str, Quantity]


def on_gpu(document: dict[str, Any]) -> bool:
    """Tell whether a file holds full models on a GPU, and not small ones or a CPU's."""
    suite = document["suite"]
    return bool(suite["device"] == "cuda" and suite["scale"] == "full")


def predicted(document: dict[str, Any]) -> tuple[list[Predicted], list[str]]:
    """Return every case that can be compared, and the reasons of those that cannot.

    peak memory          the largest of all phases, of torch's allocator
    prefill device time  kernels and copies, without gaps: central estimate of all stages until the
                         first token, attention as it was run, no host
    prefill speed-up     the baseline's device time over the case's, of the same model, batch and
                         attention
    """
    try:
        device = load_device(document["hardware"]["device"])
    except InvalidInput as error:
        return [], [f"the device: {error}"]
    found, left_out = [], []
    for row in document["rows"]:
        try:
            quantities = _quantities(_report(row, document["suite"]), device, row)
        except InvalidInput as error:
            left_out.append(f"{_label(row)}: {error}")
            continue
        found.append(Predicted(row, quantities))
    baselines = {_group(one.row): one for one in found if one.row["method"] is None}
    for one in found:
        base = baselines.get(_group(one.row))
        times = [part.quantities.get("prefill device time") for part in (base, one) if part]
        if one.row["method"] is not None and len(times) == 2 and all(times):
            before, after = times
            assert before is not None
            assert after is not None
            one.quantities["prefill speed-up"] = Quantity(
                before.predicted / after.predicted, before.measured / after.measured
            )
    return found, left_out


def _report(row: dict[str, Any], suite: dict[str, Any]) -> Report:
    """Return what the cost model says of a row today.

    Raises:
        InvalidInput: It cannot be priced, or the tokens of its layers are others today.
    """
    model = load_model(row["model"])
    workload = Workload(
        images=tuple(map(tuple, row["images"])),
        text_tokens=row["text_tokens"],
        batch=row["batch"],
        new_tokens=1 + suite["decode_forwards"],
    )
    schedule = None
    if row["method"] is not None:
        schedule = load_method(row["method"]).schedule(model, workload, row["budget"])
    report = evaluate(model, workload, schedule)
    if list(report.scheduled.query) != row["tokens_per_layer"]:
        problem = "differ from those that are priced today"
        raise InvalidInput("tokens_per_layer", None, problem, "measure again")
    return report


def _quantities(report: Report, device: Device, row: dict[str, Any]) -> dict[str, Quantity]:
    found = {}
    memory, kernels = row["memory_bytes"], row["kernels"]
    if "reason" not in memory:
        asking = Asking(running=Keeping(row["attention"]))
        measured = max(memory[name] for name in ("encode", "prefill", "decode"))
        found["peak memory"] = Quantity(peak(report, asking).total, measured)
    if "reason" not in kernels:
        one = latency(report, device, Running("graph", row["attention"])).scheduled
        until = [stage.device.central for name, stage in one.stages.items() if name != "decode"]
        own = kernels["prefill"]
        took = own["seconds"] + own["copy_seconds"]
        found["prefill device time"] = Quantity(float(sum(until)), took)
    return found


def page(documents: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """Return the tables of all files of GPUs in Markdown, by name; or that there is none."""
    parts = [_section(name, one) for name, one in documents if on_gpu(one)]
    return "\n".join(parts) if parts else f"**{NO_RESULT}**\n"


def _section(name: str, document: dict[str, Any]) -> str:
    hardware = document["hardware"]
    found, left_out = predicted(document)
    lines = [
        f"{name}: {document['date'][:10]}, {hardware['device']}, torch {hardware['torch']}, "
        f"transformers {hardware['transformers']}.",
        "",
    ]
    if found:
        lines += [*_summary(found), "", *_table(found)]
    lines += [f"- left out: {reason}" for reason in left_out]
    return "\n".join(lines) + "\n"


def _summary(found: Sequence[Predicted]) -> list[str]:
    lines = [
        "| quantity | cases | mean absolute error | mean error | worst | aim | reached |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, aim in TARGETS.items():
        errors = [one.quantities[name].error for one in found if name in one.quantities]
        if not errors:
            lines.append(f"| {name} | 0 | — | — | — | {aim:.0%} | not measured |")
            continue
        size = sum(map(abs, errors)) / len(errors)
        worst = max(errors, key=abs)
        lines.append(
            f"| {name} | {len(errors)} | {size:.1%} | {sum(errors) / len(errors):+.1%} | "
            f"{worst:+.1%} | {aim:.0%} | {'yes' if size <= aim else 'no'} |"
        )
    return lines


#: Heading and divisor of each quantity's columns.
_UNITS = {
    "peak memory": ("peak memory [GiB]", 2**30, ".3f"),
    "prefill device time": ("prefill on the device [ms]", 1e-3, ".1f"),
    "prefill speed-up": ("prefill speed-up", 1, ".2f"),
}


def _table(found: Sequence[Predicted]) -> list[str]:
    heads = [f"{head}: predicted | measured | error [%]" for head, _, _ in _UNITS.values()]
    lines = [
        f"| model | batch | method | attention | {' | '.join(heads)} |",
        f"| --- | ---: | --- | --- |{' ---: |' * 3 * len(heads)}",
    ]
    for one in found:
        row = one.row
        cells = [row["model"], str(row["batch"]), _method(row), row["attention"]]
        for name, (_, unit, form) in _UNITS.items():
            own = one.quantities.get(name)
            if own is None:
                cells += ["—"] * 3
                continue
            cells += [f"{own.predicted / unit:{form}}", f"{own.measured / unit:{form}}"]
            cells.append(f"{100 * own.error:+.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _method(row: dict[str, Any]) -> str:
    return "baseline" if row["method"] is None else f"{row['method']} {row['budget']}"


def _label(row: dict[str, Any]) -> str:
    return f"{row['model']}, {_method(row)}, batch {row['batch']}, {row['attention']}"


def _group(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["model"], row["batch"], row["attention"]
