"""transformers models on meta, from config.json files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...costmodel import MissingExtra, Model
from .families import parts_class
from .parts import Parts

#: One config per model type, and per kind of encoder or LLM that it comes with.
CONFIGS = Path(__file__).parent / "configs"

#: Speech comes beside the model that sees; that one alone is built.
_OMNI = "qwen2_5_omni"


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
        from transformers import AutoConfig
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "transformers", "validation") from None
    table = config["thinker_config"] if model_type == _OMNI else config
    figures = {name: value for name, value in table.items() if name != "model_type"}
    built = AutoConfig.for_model(table["model_type"], **figures)
    return parts(_on_meta(lambda: _model(model_type, built)))


def build_decoder(model: Model) -> Parts:
    """Return the LLM of a preset whose encoder transformers lacks, on meta."""
    from .decoders import DecoderAlone, figures

    return DecoderAlone(_on_meta(lambda: _causal(model.decoder.model_type, figures(model))))


def _causal(model_type: str, figures: dict[str, Any]) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM
    config = AutoConfig.for_model(model_type, **figures)
    return auto.from_config(config, attn_implementation="eager")


def _on_meta(make: Callable[[], Any]) -> Any:
    import torch

    with torch.device("meta"):
        model = make()
    model.eval().requires_grad_(False)
    if any(name.rpartition(".")[2] == "experts" for name, _ in model.named_modules()):
        model.set_experts_implementation("batched_mm")
    return model


def _model(model_type: str, config: Any) -> Any:
    import transformers

    if model_type == "fast_vlm":
        return _fast_vlm(config)
    auto: Any = transformers.AutoModelForImageTextToText
    if model_type == _OMNI:
        thinker: Any = transformers.Qwen2_5OmniThinkerForConditionalGeneration
        return thinker._from_config(config, attn_implementation="eager")
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
    model: Any = torch.nn.ModuleDict({"model": inner, "lm_head": language.lm_head})
    model.config = config
    return model
