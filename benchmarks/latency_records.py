"""Compares predicted intervals with published measurements, record by record.

    python benchmarks/latency_records.py RECORDS.json [--markdown]

RECORDS.json holds {"records": [{"method", "model", "setting", "gpu", "dtype", "batch",
"prompt_tokens", "prompt_tokens_note", "output_tokens", "quantity", "value", "unit", "stage",
"grade", "source"}, …]}. A record counts if its grade is A or B and its device, stage, tokens, batch
and, end to end, output length are told; every other one is dropped with the reason. Where a record
tells no attention backend, its interval spans eager and fused attention; where nominal and actual
tokens differ, it spans both. Nothing is fitted to the records.

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
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from vlm_tokencost.costmodel import InvalidInput, Model, Schedule, Workload, evaluate
from vlm_tokencost.costmodel.clock import Clock, Running, arithmetic
from vlm_tokencost.costmodel.device import Device
from vlm_tokencost.costmodel.latency import latency
from vlm_tokencost.costmodel.plan import plan
from vlm_tokencost.costmodel.plausible import computed_signs
from vlm_tokencost.costmodel.timing import ZERO, Interval
from vlm_tokencost.costmodel.traffic import prefill_kernels
from vlm_tokencost.costmodel.workload import Counting
from vlm_tokencost.presets import load_model
from vlm_tokencost.presets.device import load_device

Record = dict[str, Any]
#: Published names: preset, and what of it the name stands for. Texts alone run its decoder.
MODELS = {
    "LLaVA-1.5-7B": "llava-1.5-7b",
    "LLaVA-1.5-7B-hf": "llava-1.5-7b",
    "LLaVA-1.5-13B": "llava-1.5-13b",
    "LLaVA-NeXT-7B": "llava-next-vicuna-7b",
    "LLaVA-NeXT-13B": "llava-next-vicuna-13b",
    "LLaVA-OneVision-7B": "llava-onevision-7b",
    "Qwen2-VL-2B": "qwen2-vl-2b",
    "Qwen2-VL-7B": "qwen2-vl-7b",
    "Qwen2.5-VL-7B": "qwen2.5-vl-7b",
    "Qwen3-VL-2B": "qwen3-vl-2b",
    "Qwen3-VL-4B": "qwen3-vl-4b",
    "Qwen3-VL-8B": "qwen3-vl-8b",
    "OpenVLA-7B": "openvla-7b",
    # The LLM alone: vocabularies differ by 64 rows, of which one position is priced.
    "Llama-2-7B": "llava-1.5-7b",
    "LLaMA-7B": "llava-1.5-7b",
    "Vicuna-7B": "llava-1.5-7b",
    "Llama-3-8B": "llava-next-llama3-8b",
    "GPT-J-6B": "gpt-j-6b",
}
#: Bits of weights and activations that names of number formats stand for.
DTYPES = {
    "fp16": (16, 16),
    "bf16": (16, 16),
    "fp8": (8, 8),
    "W4A16": (4, 16),
    "INT4-AWQ": (4, 16),
    "GPTQ-Int4": (4, 16),
    "AWQ": (4, 16),
    "GPTQ-Int8": (8, 16),
    "int4-weights": (4, 16),
    "bnb-int4": (4, 16),
    "NVFP4": (4, 4),
}
ENGINES = ("TinyChat", "TensorRT", "TRT", "synthetic 2048 tokens")
#: Methods that reduce before the LLM: their prompt is the same in every layer.
BEFORE = ("VisionZip", "DivPrune", "CoIn", "MMTok")


class Case(NamedTuple):
    """What a record measured.

    Attributes:
        what: "prefill", "ttft", "decode", "end to end" or "linear".
        model, device: The parts.
        prompts: Text-only prompts of the LLM; one, or nominal and actual. None is the image.
        running: Ways of running; several where the record does not tell.
        workload, schedule: What runs where the image's prompt counts.
        seconds: The measurement.
    """

    what: str
    model: Model
    device: Device
    prompts: tuple[int, ...] | None
    running: tuple[Running, ...]
    workload: Workload
    schedule: Schedule | None
    seconds: float


class Unusable(Exception):
    """Why a record cannot be compared."""


@cache
def model_of(name: str) -> Model:
    """Return a published model."""
    if name not in MODELS:
        raise Unusable(f"no preset of {name}")
    if MODELS[name] != "gpt-j-6b":
        return load_model(MODELS[name])
    # EleutherAI/gpt-j-6b config.json: n_layer 28, n_embd 4096, n_head 16, no gate.
    model = load_model("llava-1.5-7b")
    decoder = model.decoder
    network = decoder.feed_forward.model_copy(update={"intermediate_size": 16384, "gated": False})
    heads = {"num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 256}
    own = decoder.model_copy(
        update={
            "num_hidden_layers": 28,
            "vocab_size": 50400,
            "attention": decoder.attention.model_copy(update=heads),
            "feed_forward": network,
        }
    )
    return model.model_copy(update={"decoder": own, "id": "gpt-j-6b"})


def case(record: Record) -> Case:
    """Return what a record measured.

    Raises:
        Unusable: Something that the comparison needs is not told.
    """
    grade, unit, value = record["grade"], record["unit"], record["value"]
    quantity, setting = record["quantity"], str(record["setting"])
    stage, gpu = str(record["stage"] or ""), record["gpu"]
    if grade == "X":
        raise Unusable("grade X: computed, not measured")
    if unit in ("GB", "GiB", "MB", "TFLOP", "%"):
        raise Unusable("no time: memory, FLOPs or a change in percent")
    if grade not in "AB":
        raise Unusable("grade C: scope or hardware missing")
    if unit == "x":
        raise Unusable("a ratio whose runs are not told in full (output length, tokens or device)")
    if not gpu or "(" in gpu:
        raise Unusable("the source does not tell the device")
    if record["method"].startswith("CUDA graph") or "TP4" in setting or "GPUs" in setting:
        raise Unusable("several devices, or a comparison of runtimes")
    if "whole" in stage or quantity == "total_time":
        raise Unusable("a whole evaluation, whose loading is not told")
    if "probably" in stage or "scope unclear" in stage or quantity in ("latency", "cuda_time"):
        raise Unusable("which stages it spans is not told")
    if "mis-used" in stage:
        raise Unusable("the source says that the kernel was misused")
    if record["dtype"] not in DTYPES:
        raise Unusable(f"number format {record['dtype']}")
    model, device = model_of(record["model"]), load_device(gpu)
    if quantity == "forward_time":
        return _picture(record, model, device)
    if quantity == "vision_encode_time":
        raise Unusable("the image's size is not told")
    if record["prompt_tokens"] is None or not record["batch"]:
        raise Unusable("prompt tokens or batch are not told")
    seconds = value / 1e3 if unit == "ms" else value
    kinds = {
        "ttft": "prefill",
        "prefill_time": "prefill",
        "llm_prefill_time": "prefill",
        "first_token_latency": "ttft",
        "decode_time_per_token": "decode",
        "decode_throughput": "decode",
        "end_to_end_time": "end to end",
        "device_time_linear_part": "linear",
    }
    what = kinds.get(quantity)
    if what is None:
        raise Unusable(f"quantity {quantity}")
    if unit == "tokens/s":
        seconds = 1 / value
        if "generate 2048" in setting:  # 2048 tokens over the whole time, as the source defines it
            what, seconds = "end to end", record["output_tokens"] / value
    if what == "end to end" and not record["output_tokens"]:
        raise Unusable("the output length is not told")
    if what == "ttft" and "image encode" not in stage:
        raise Unusable("which stages it spans is not told")
    n = record["prompt_tokens"]
    prompts: tuple[int, ...] = (n,)
    note = str(record["prompt_tokens_note"] or "")
    actual = re.search(r"(\d+) visual nominal \(about (\d+)", note)
    if actual:
        prompts = (n, n - int(actual[1]) + int(actual[2]))
    method, schedule, workload = record["method"], None, _workload(record, n)
    if method != "vanilla":
        found = re.search(r"K=(\d+) R=(\d+)%", setting)
        if found and method == "FastV":
            keep = f"{100 - int(found[2])}/100"
            stages = [{"first_layer": int(found[1]), "ratio": keep}]
            schedule = Schedule(stages=stages, selection="fastv")
        elif not method.startswith(BEFORE):
            raise Unusable(f"the tokens of {method} in each layer are not told")
    image = what == "ttft" or (what == "end to end" and "LLaVA" in record["model"])
    if image:
        visual = plan(model, Workload()).dense_visual_tokens
        workload = Workload(
            text_tokens=n - visual, batch=workload.batch, new_tokens=workload.new_tokens
        )
    return Case(
        what, model, device, None if image else prompts, _ways(record), workload, schedule, seconds
    )


def _workload(record: Record, prompt: int) -> Workload:
    new = record["output_tokens"] or 2
    return Workload(text_tokens=prompt, batch=record["batch"], new_tokens=max(new, 1))


def _picture(record: Record, model: Model, device: Device) -> Case:
    """Return a forward over one image of a told size."""
    found = re.search(r"one (\d+)x(\d+) image \+ (\d+) text", record["setting"])
    if not found:
        raise Unusable("the prompt is not told")
    width, height, text = map(int, found.groups())
    workload = Workload(images=[(height, width)], text_tokens=text)
    seconds = record["value"] / 1e3
    return Case("ttft", model, device, None, _ways(record), workload, None, seconds)


def _ways(record: Record) -> tuple[Running, ...]:
    text = " ".join(str(record[key]) for key in ("setting", "stage", "method", "source"))
    engine = any(name in text for name in ENGINES)
    weights, activations = DTYPES[record["dtype"]]
    if engine or "kernel sum" in text or re.search(r"\b(FA2|FlashAttention)", text):
        backends = ("flash",)
    elif "eager" in str(record["stage"]):
        backends = ("eager",)
    elif "sdpa" in text:
        backends = ("sdpa",)
    else:
        backends = ("sdpa", "eager")
    runtime = "graph" if engine or "kernel sum" in text else "eager"
    return tuple(
        Running(runtime, backend, weights, activations)  # type: ignore[arg-type]
        for backend in backends
    )


def predicted(one: Case) -> Interval:
    """Return the interval over all ways that a case can have run; central is the first one's."""
    found = [
        _priced(one, running, prompt)
        for running in one.running
        for prompt in (one.prompts or (None,))
    ]
    return Interval(
        min(item.lower for item in found), found[0].central, max(item.upper for item in found)
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
    """A record beside its interval."""

    index: int
    record: Record
    case: Case
    interval: Interval

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
        """What is known about a record that lies outside."""
        if self.inside:
            return ""
        if self.case.seconds < self.interval.lower:
            share = self.interval.lower / self.case.seconds
            return f"{share:.2f} times as fast as the datasheet's peaks allow"
        return f"{self.case.seconds / self.interval.upper:.2f} times the upper bound"


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
    except (OSError, ValueError, KeyError) as error:
        print(f"error: {path} holds no records ({error}); give a file such as its help describes")
        return 2
    kept, dropped = compare(rows)
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
