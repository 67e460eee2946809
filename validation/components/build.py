"""transformers models on meta, from config.json files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...costmodel import MissingExtra
from .families import parts_class
from .parts import Parts

#: One config per model type, and per kind of encoder or LLM that it comes with.
CONFIGS = Path(__file__).parent / "configs"


def config_names() -> tuple[str, ...]:
    """Return the names of the configs that belong to the package."""
    return tuple(sorted(path.stem for path in CONFIGS.glob("*.json")))


def load(name: str) -> dict[str, Any]:
    """Return a config of the package."""
    config: dict[str, Any] = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
    return config


def build(config: Mapping[str, Any]) -> Parts:
    """Return the parts of the transformers model of a config.json, on meta.

    Attention is eager, so that it is two plain products; experts run the pairs that the router
    chooses ("batched_mm"), because other ways cannot run, or count 0, on meta.

    Raises:
        InvalidInput: A model type that is not known here.
        MissingExtra: torch or transformers is not installed.
    """
    model_type = str(config.get("model_type"))
    parts = parts_class(model_type)
    try:
        import torch
        from transformers import AutoConfig
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "transformers", "validation") from None
    figures = {name: value for name, value in config.items() if name != "model_type"}
    built = AutoConfig.for_model(model_type, **figures)
    with torch.device("meta"):
        model = _model(model_type, built)
    model.eval().requires_grad_(False)
    if hasattr(model, "set_experts_implementation") and _has_experts(model):
        model.set_experts_implementation("batched_mm")
    return parts(model)


def _model(model_type: str, config: Any) -> Any:
    import transformers

    if model_type == "fast_vlm":
        return _fast_vlm(config)
    auto: Any = transformers.AutoModelForImageTextToText
    if model_type == "qwen2_5_omni":
        thinker: Any = transformers.Qwen2_5OmniThinkerForConditionalGeneration
        return thinker._from_config(config.thinker_config, attn_implementation="eager")
    if model_type == "phi4_multimodal":
        auto = transformers.AutoModelForCausalLM
    return auto.from_config(config, attn_implementation="eager")


def _fast_vlm(config: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.fast_vlm.modeling_fast_vlm import FastVlmMultiModalProjector

    auto: Any = AutoModelForCausalLM
    language = auto.from_config(config.text_config, attn_implementation="eager")
    projector: Any = FastVlmMultiModalProjector(config)
    inner = torch.nn.ModuleDict(
        {"multi_modal_projector": projector, "language_model": language.model}
    )
    model: Any = torch.nn.ModuleDict({"lm_head": language.lm_head})
    model.model = inner
    inner.multi_modal_projector = projector
    model.config = config
    return model


def _has_experts(model: Any) -> bool:
    return any(name.rpartition(".")[2] == "experts" for name, _ in model.named_modules())
