"""transformers configs from presets: one file per family, one function per model type."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...costmodel import InvalidInput, MissingExtra, Model
from .gemma import gemma3, paligemma
from .idefics3 import idefics3
from .internvl import internvl
from .llava import llava, llava_next, llava_next_video, llava_onevision
from .mllama import mllama
from .qwen3_vl import qwen3_vl
from .qwen_vl import qwen2_5_vl, qwen2_vl

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

#: What `AutoConfig.for_model` takes for a model, by transformers' model type.
FAMILIES: dict[str, Callable[[Model], dict[str, Any]]] = {
    "llava": llava,
    "llava_next": llava_next,
    "llava_next_video": llava_next_video,
    "llava_onevision": llava_onevision,
    "internvl": internvl,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "qwen3_vl_moe": qwen3_vl,
    "idefics3": idefics3,
    "smolvlm": idefics3,
    "paligemma": paligemma,
    "gemma3": gemma3,
    "mllama": mllama,
}


def config_of(model: Model) -> PreTrainedConfig:
    """Return the transformers config that the figures of a model describe.

    Special tokens are the last ones of the vocabulary, whatever they are in the checkpoint, and no
    token ends a generation.

    Raises:
        InvalidInput: No config is known for the model's type, or for one of its parts'.
        MissingExtra: transformers is not installed.
    """
    if model.model_type not in FAMILIES:
        raise InvalidInput(
            "model_type",
            model.model_type,
            "cannot be built in transformers",
            f"choose a model of {', '.join(FAMILIES)}",
        )
    figures = FAMILIES[model.model_type](model)
    try:
        from transformers import AutoConfig
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "transformers", "validation") from None
    config: PreTrainedConfig = AutoConfig.for_model(model.model_type, **figures)
    return config
