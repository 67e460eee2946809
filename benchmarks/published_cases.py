"""What published measurements measured: which model ran what, where, and how.

A record is a table of "method", "model", "setting", "gpu", "dtype", "batch", "prompt_tokens",
"prompt_tokens_note", "output_tokens", "quantity", "value", "unit", "stage", "grade" and "source".
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

from vlm_tokencost.costmodel import Model, Schedule, Workload
from vlm_tokencost.costmodel.clock import Running
from vlm_tokencost.costmodel.device import Device
from vlm_tokencost.costmodel.plan import plan
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
