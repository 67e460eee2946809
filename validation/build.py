"""transformers models with random weights, from presets: weights change no count and no time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..costmodel import InvalidInput, MissingExtra, Model, model_parameters
from .attention import no_such_attention
from .configs import config_of

if TYPE_CHECKING:
    from torch import Generator, nn
    from transformers import PreTrainedConfig, PreTrainedModel

DEVICES = ("meta", "cpu", "cuda")
ATTENTIONS = ("eager", "sdpa")
#: Bytes per weight.
DTYPES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}

#: Deviation of token embeddings: large beside the layers' outputs, so that what is generated
#: depends on the token before. A tied head would then only repeat that token: small there.
_EMBEDDING_STD, _TIED_EMBEDDING_STD = 3.0, 0.1
#: Deviation of the other tables: positions, class token, newline.
_TABLE_STD = 0.1
#: Deviation of biases, and of norms and residual scales around 1.
_OFFSET_STD = 0.1
#: Share of `gain` that the decoder's attention outputs have. What they add is much the same at
#: every position, and at full size generation soon repeats one token.
_ATTENTION_SHARE = 0.5
#: Experts' weights that may be copied, one copy per routed pair: 1 GB in float32.
_MOST_COPIED = 250_000_000


def build(
    model: Model,
    device: str = "meta",
    dtype: str = "float32",
    attention: Literal["eager", "sdpa"] = "eager",
    seed: int = 0,
    gain: float = 1.0,
    headroom: int = 0,
    way_out: str = "give --scale reduced or --device meta",
) -> PreTrainedModel:
    """Return the transformers model of a preset, with reproducible random weights.

    Matrices are normal with deviation gain/√fan_in, so that activations keep the size of 1 at
    any width, in bfloat16 as well. The model is in evaluation mode and takes no gradients; the
    global random state is left as it was.

    Args:
        model: A model of a family that `config_of` knows.
        device: "meta" (shapes alone), "cpu" or "cuda".
        dtype: Number format of all weights.
        attention: "eager" is two plain matrix products, "sdpa" torch's fused operator.
        seed: Of the weights.
        gain: Deviation of a matrix's outputs for inputs of deviation 1.
        headroom: Bytes to be left for activations and caches.
        way_out: What to do if there is too little memory.

    Raises:
        InvalidInput: A device that is not there or has too little memory, an unknown device,
            number format, attention or family, or figures that transformers cannot express.
        MissingExtra: torch or transformers is not installed.
    """
    _one_of("--dtype", dtype, tuple(DTYPES))
    if device != "meta":
        need = sum(model_parameters(model).values()) * DTYPES[dtype] + headroom
        check_memory(device, need, model.id, way_out)
    built = build_from_config(config_of(model), device, dtype, attention, seed, gain)
    stored = sum(parameter.numel() for parameter in built.parameters())
    expected = sum(model_parameters(model).values())
    if stored != expected:
        raise InvalidInput(
            "model",
            model.id,
            f"has {expected:,} parameters, but {stored:,} as {type(built).__name__}",
            "correct the figures that transformers cannot express",
        )
    return built


def build_from_config(
    config: PreTrainedConfig,
    device: str = "meta",
    dtype: str = "float32",
    attention: Literal["eager", "sdpa"] = "eager",
    seed: int = 0,
    gain: float = 1.0,
) -> PreTrainedModel:
    """Return the model of a transformers config; otherwise as `build`, without its checks of size.

    Raises:
        InvalidInput: An unknown or missing device, number format or attention.
        MissingExtra: torch or transformers is not installed.
    """
    _one_of("--dtype", dtype, tuple(DTYPES))
    _one_of("--attention", attention, ATTENTIONS)
    require_device(device)
    try:
        import torch
        from transformers import AutoModelForImageTextToText
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "transformers", "validation") from None
    auto: Any = AutoModelForImageTextToText
    on_gpu = [torch.cuda.current_device()] if device == "cuda" else []
    # Built where it is to live, so that rotary tables and other buffers are made there too.
    with torch.random.fork_rng(devices=on_gpu), torch.device(device):
        try:
            model: PreTrainedModel = auto.from_config(
                config, dtype=getattr(torch, dtype), attn_implementation=attention
            )
        except ValueError as error:
            if "attention implementation" not in str(error):
                raise
            raise no_such_attention(config.model_type, attention) from None
    model.train(False)
    model.requires_grad_(False)
    if device != "meta":
        _randomise(model, torch.Generator(device).manual_seed(seed), gain)
    return model


def make_experts_countable(model: PreTrainedModel, tokens: int) -> None:
    """Let experts run as plain matrix products, one per routed pair of token and expert.

    transformers' default is a grouped kernel without a formula in the counters. Batched products
    work on shapes alone, but hold a copy of an expert's weights for each pair; where there is no
    room for that, each expert runs on the tokens that chose it.

    Args:
        model: Any model; one without experts is left as it is.
        tokens: Most tokens that a layer processes at once.
    """
    untyped: Any = model
    experts = [
        module for path, module in untyped.named_modules() if path.rpartition(".")[2] == "experts"
    ]
    if not experts:
        return
    weights = sum(parameter[0].numel() for parameter in experts[0].parameters())
    copied = tokens * untyped.config.text_config.num_experts_per_tok * weights
    batched = model.device.type == "meta" or copied <= _MOST_COPIED
    untyped.set_experts_implementation("batched_mm" if batched else "eager")


def require_device(device: str) -> None:
    """Make sure that a device is there.

    Raises:
        InvalidInput: It is unknown, or torch does not find it.
        MissingExtra: torch is not installed.
    """
    _one_of("--device", device, DEVICES)
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingExtra("torch", "validation") from None
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidInput(
            "--device", device, "is not available", "give --device cpu or --device meta"
        )


def check_memory(
    device: str, need: int, what: str, way_out: str = "give --scale reduced or --device meta"
) -> None:
    """Make sure that `need` bytes are free on a device before they are allocated.

    Raises:
        InvalidInput: Fewer are free, or the device is not there; the sentence gives both amounts.
    """
    require_device(device)
    free = free_bytes(device)
    if free is not None and need > free:
        raise InvalidInput(
            "--device",
            device,
            f"needs {need / 1e9:.1f} GB for {what}, {free / 1e9:.1f} GB are free",
            way_out,
        )


def free_bytes(device: str) -> int | None:
    """Return the memory that can still be allocated on a device, or None if nothing says so."""
    if device == "meta":
        return None
    if device == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info()
        # What torch keeps for reuse is free to it.
        kept: int = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(free) + kept
    known = [free for free in (_system_free(), _container_free()) if free is not None]
    return min(known, default=None)


def _system_free() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _container_free(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return what a container's limit (cgroup v2) leaves, its file cache counted as free."""
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    cached = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    return max(0, int(limit) - used + cached)


def _randomise(model: PreTrainedModel, generator: Generator, gain: float) -> None:
    """Fill every weight in place, in the order in which the modules hold them; tied ones once."""
    untyped: Any = model
    embedding = untyped.get_input_embeddings().weight
    tied = untyped.get_output_embeddings().weight is embedding
    # A tied weight comes once, by the name of its embedding.
    for path, parameter in model.named_parameters():
        owner, _, name = path.rpartition(".")
        mean, std = 0.0, _TABLE_STD
        if parameter is embedding:
            # Gemma multiplies what it looks up; a tied head would suffer from smaller weights.
            scale = getattr(model.get_submodule(owner), "scalar_embed_scale", 1.0)
            std = _TIED_EMBEDDING_STD if tied else _EMBEDDING_STD / scale
        elif name == "bias":
            std = _OFFSET_STD
        elif parameter.numel() == 1:
            mean, std = 1.0, _OFFSET_STD  # gates, through tanh
        elif inputs := _fan_in(model.get_submodule(owner), name, parameter):
            share = _ATTENTION_SHARE if owner.endswith("o_proj") else 1.0
            std = share * gain / inputs**0.5
        elif parameter.ndim == 1 and name.startswith(("weight", "lambda")):
            # Norms and learned residual scales, around 1; Gemma adds the 1 itself.
            mean, std = float(parameter[0] != 0), _OFFSET_STD
        parameter.normal_(mean, std, generator=generator)


def _fan_in(owner: nn.Module, name: str, parameter: nn.Parameter) -> int:
    """Return the inputs that each output of a matrix sums over; 0 for what is no matrix."""
    from torch import nn

    if isinstance(owner, nn.Linear | nn.Conv2d | nn.Conv3d):
        return parameter[0].numel()
    if name.endswith("_proj") or type(owner).__name__.endswith("Router"):
        return parameter.shape[-1]  # experts [E, out, in] and their router
    if name == "mm_input_projection_weight":
        return parameter.shape[0]  # Gemma 3 multiplies from the left
    return 0


def _one_of(field: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InvalidInput(field, value, "is not a choice", f"choose from {', '.join(choices)}")
