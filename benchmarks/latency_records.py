"""Compares predicted intervals with published measurements, record by record.

    python benchmarks/latency_records.py RECORDS.json

RECORDS.json holds {"records": [{"method", "model", "setting", "gpu", "dtype", "batch",
"prompt_tokens", "prompt_tokens_note", "output_tokens", "quantity", "value", "unit", "stage",
"grade", "source"}, …]}. A record counts if its grade is A or B and its device, stage, tokens, batch
and, end to end, output length are told; every other one is dropped with the reason. Where a record
tells no attention backend, its interval spans eager and fused attention; where nominal and actual
tokens differ, it spans both. Nothing is fitted to the records.

Then every pair of a baseline and a reduced run is compared as a speed-up (`latency_pairs`).

Records of grade X were published as times but computed; the rules of `costmodel.plausible` are run
over all prefill times, and a source of which one time is impossible is doubted as a whole.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from latency_pairs import pairs, report
from published_cases import ENGINES, MODELS, Case, Record, Unusable, case, model_of
from vlm_tokencost.costmodel import InvalidInput, evaluate
from vlm_tokencost.costmodel.clock import Clock, Running, arithmetic
from vlm_tokencost.costmodel.device import Device
from vlm_tokencost.costmodel.latency import latency
from vlm_tokencost.costmodel.plausible import computed_signs
from vlm_tokencost.costmodel.timing import ZERO, Interval
from vlm_tokencost.costmodel.traffic import prefill_kernels
from vlm_tokencost.costmodel.workload import Counting
from vlm_tokencost.presets.device import load_device


def predicted(one: Case) -> tuple[tuple[Running, Interval], ...]:
    """Return the intervals of all ways that a case can have run, the likeliest first."""
    return tuple(
        (running, _priced(one, running, prompt))
        for running in one.running
        for prompt in (one.prompts or (None,))
    )


def _priced(one: Case, running: Running, prompt: int | None) -> Interval:
    if prompt is None:
        report = evaluate(one.model, one.workload, one.schedule)
    else:
        workload = one.workload.model_copy(update={"text_tokens": prompt})
        report = evaluate(one.model, workload, one.schedule)
        # The LLM alone over a prompt of that length.
        text = report.dense.without_visual()
        extra = text.structural_tokens
        workload = workload.model_copy(update={"text_tokens": prompt - extra})
        report = evaluate(one.model, workload)
        text = report.dense.without_visual()
        report = report._replace(dense=text, scheduled=text)
    if one.what == "linear":
        return _linear(report, one.device, running)
    side = latency(report, one.device, running).scheduled
    if one.what == "prefill":
        return side.stages["prefill"].time
    if one.what == "decode":
        assert side.mean is not None
        return side.mean.time
    if prompt is not None and one.what == "end to end":
        return side.stages["prefill"].time + side.stages["decode"].time
    return side.ttft if one.what == "ttft" else side.end_to_end


def _linear(report: Any, device: Device, running: Running) -> Interval:
    """Return the kernels of the layers without attention and without the head."""
    chosen = arithmetic(device, report.dense, running)
    clock = Clock(device, chosen, running)
    total = ZERO
    kernels = prefill_kernels(
        report.model, report.dense, Counting(), chosen.numbers, running.attention
    )
    for kernel in kernels:
        if kernel.stage == "prefill" and kernel.kind != "attention" and "head" not in kernel.name:
            total += clock.time(kernel).device
    return total


class Compared(NamedTuple):
    """A record beside its intervals, one for each way in which it can have run."""

    index: int
    record: Record
    case: Case
    ways: tuple[tuple[Running, Interval], ...]

    @property
    def interval(self) -> Interval:
        """The interval over all ways; central is the first one's."""
        found = [interval for _, interval in self.ways]
        return Interval(
            min(item.lower for item in found), found[0].central, max(item.upper for item in found)
        )

    @property
    def inside(self) -> bool:
        """Whether the interval holds the measurement."""
        return self.interval.lower <= self.case.seconds <= self.interval.upper

    @property
    def width(self) -> float:
        """Upper over lower."""
        return float(self.interval.upper / self.interval.lower)

    @property
    def error(self) -> float:
        """Central estimate over measurement, less one."""
        return float(self.interval.central / self.case.seconds - 1)

    @property
    def reason(self) -> str:
        """How far outside a record lies, and what is likely to explain it."""
        if self.inside:
            return ""
        if self.case.seconds < self.interval.lower:
            off = f"{self.interval.lower / self.case.seconds:.2f} times as fast as peaks allow"
        else:
            off = f"{self.case.seconds / self.interval.upper:.2f} times the upper bound"
        return f"{off} ({self._explanation})"

    @property
    def _explanation(self) -> str:
        own, below = self.record, self.case.seconds < self.interval.lower
        if below and "GeForce" in self.case.device.name:
            return "likely accumulates in fp16, at twice the rate that is priced"
        if own["dtype"] in ("int4-weights", "bnb-int4"):
            return "bitsandbytes: slower than 16 bits on the same machine"
        if own["dtype"] == "fp8" and not below:
            return "printed in whole ms; the engine's own time between kernels"
        if self.case.running[0].runtime == "eager" and self.case.what == "decode" and not below:
            return "a host slower than 1.05 ms per layer"
        return "not explained"


def compare(records: Iterable[Record]) -> tuple[list[Compared], list[tuple[int, Record, str]]]:
    """Return usable records beside their intervals, and the others with their reasons."""
    kept, dropped = [], []
    for index, record in enumerate(records):
        try:
            one = case(record)
            kept.append(Compared(index, record, one, predicted(one)))
        except (Unusable, InvalidInput) as error:
            dropped.append((index, record, str(error)))
    return kept, dropped


def doubted(records: Iterable[Record]) -> dict[int, list[str]]:
    """Return the prefill times that rules 1 and 2, or another time of their source, cast doubt on.

    Sources of engines and of decode steps are left out: rule 2 is of eager Python.
    """
    signs: dict[int, list[str]] = {}
    sources: dict[str, list[int]] = {}
    rows = list(records)
    for index, record in enumerate(rows):
        if record["quantity"] not in ("prefill_time", "ttft", "llm_prefill_time"):
            continue
        if record["unit"] != "ms" or record["model"] not in MODELS or not record["gpu"]:
            continue
        text = f"{record['setting']} {record['source']}"
        if any(name in text for name in ENGINES):
            continue
        try:
            device = load_device(str(record["gpu"]).partition(" (")[0])
        except InvalidInput:
            continue
        sources.setdefault(record["source"], []).append(index)
        layers = model_of(record["model"]).decoder.num_hidden_layers
        told = re.match(r"([\d.]+) TFLOP ->", str(record.get("note", "")))
        flops = 1e12 * float(told[1]) if told else None
        found = computed_signs(record["value"] / 1e3, device, layers, flops)
        if found:
            signs[index] = found
    for indices in sources.values():
        if any(index in signs for index in indices):
            for index in indices:
                signs.setdefault(index, ["another time of the same source is impossible"])
    return signs


def main(arguments: list[str] | None = None) -> int:
    """Print the comparison; 0 where coverage and width meet their targets, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", type=Path)
    path = parser.parse_args(arguments).records
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["records"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"error: {path} holds no records ({error}); see --help", file=sys.stderr)
        return 2
    kept, dropped = compare(rows)
    if not kept:
        reasons = ", ".join(sorted({reason for _, _, reason in dropped})) or "it is empty"
        print(f"error: {path} holds no record that can be compared ({reasons})", file=sys.stderr)
        return 2
    print(
        "| # | model | device | what | tokens | batch | format | measured ms | lower | central |"
        " upper | error | inside |"
    )
    print("|---|---|---|---|---:|---:|---|---:|---:|---:|---:|---:|---|")
    for one in kept:
        interval = [f"{1e3 * value:,.1f}" for value in one.interval]
        own = one.record
        label = own["model"] if own["method"] == "vanilla" else f"{own['model']}, {own['method']}"
        cells = [one.index, label, one.case.device.id, one.case.what, own["prompt_tokens"] or "—"]
        cells += [own["batch"], own["dtype"], f"{1e3 * one.case.seconds:,.1f}", *interval]
        cells += [f"{one.error:+.0%}", "yes" if one.inside else f"no: {one.reason}"]
        print("| " + " | ".join(map(str, cells)) + " |")
    inside = sum(one.inside for one in kept)
    width = statistics.median(one.width for one in kept)
    error = statistics.mean(abs(one.error) for one in kept)
    print(
        f"\n{inside} of {len(kept)} inside ({inside / len(kept):.1%}); median upper/lower "
        f"{width:.2f}; mean absolute error of the central estimate {error:.1%}"
    )
    for what, group in sorted(_by(kept).items()):
        held = sum(one.inside for one in group)
        wide = statistics.median(one.width for one in group)
        off = statistics.mean(abs(one.error) for one in group)
        print(f"- {what}: {held} of {len(group)}, width {wide:.2f}, error {off:.1%}")
    report(pairs(kept))
    print(f"\n{len(dropped)} dropped:")
    for reason, count in Counter(reason for _, _, reason in dropped).most_common():
        print(f"- {count}: {reason}")
    signs = doubted(rows)
    print("\ncomputed, by rule:")
    for index, found in sorted(signs.items()):
        print(
            f"- {index} ({rows[index]['grade']}, {rows[index]['method']}, {rows[index]['value']} "
            f"ms): {'; '.join(found)}"
        )
    return 0 if inside >= 0.85 * len(kept) and width <= 4 else 1


def _by(kept: list[Compared]) -> dict[str, list[Compared]]:
    groups: dict[str, list[Compared]] = {}
    for one in kept:
        groups.setdefault(one.case.what, []).append(one)
    return groups


if __name__ == "__main__":
    sys.exit(main())
