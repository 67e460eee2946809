"""Model families that the driver can run: one module per family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...costmodel import InvalidInput
from .base import Adapter, Clip, Pixels, Ranking, no_video
from .gemma3 import Gemma3Adapter
from .idefics3 import Idefics3Adapter
from .internvl import InternVLAdapter
from .llava import (
    LlavaAdapter,
    LlavaNextAdapter,
    LlavaNextVideoAdapter,
    LlavaOnevisionAdapter,
)
from .mllama import MllamaAdapter
from .paligemma import PaliGemmaAdapter
from .qwen3_vl import Qwen3VLAdapter
from .qwen_vl import QwenVLAdapter

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["ADAPTERS", "Adapter", "Clip", "Pixels", "Ranking", "adapter_of", "no_video"]

_CLASSES: tuple[type[Adapter], ...] = (
    LlavaAdapter,
    LlavaNextAdapter,
    LlavaNextVideoAdapter,
    LlavaOnevisionAdapter,
    InternVLAdapter,
    QwenVLAdapter,
    Qwen3VLAdapter,
    Idefics3Adapter,
    PaliGemmaAdapter,
    Gemma3Adapter,
    MllamaAdapter,
)
#: Decoders whose layers have the modules that PyramidDrop projects with, and no others; of
#: Llama-3.2-Vision, which it does not fit, some have none of them.
DECODERS = (
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "qwen2_vl_text",
    "qwen2_5_vl_text",
    "qwen3_vl_text",
    "qwen3_vl_moe_text",
    "gemma",
    "gemma2",
    "gemma3_text",
    "mllama_text_model",
)
#: The adapters, by transformers' model type.
ADAPTERS: dict[str, type[Adapter]] = {
    model_type: adapter for adapter in _CLASSES for model_type in adapter.model_types
}


def adapter_of(model: PreTrainedModel) -> Adapter:
    """Return the adapter of a transformers model.

    Raises:
        InvalidInput: No adapter knows the model's type, or its decoder's; or the decoder attends
            in a sliding window, which the family's adapter does not mask.
    """
    name = model.config.model_type
    if name not in ADAPTERS:
        raise InvalidInput(
            "model_type", name, "has no adapter", f"choose from {', '.join(ADAPTERS)}"
        )
    text = model.config.text_config
    if text.model_type not in DECODERS:
        raise InvalidInput(
            "text_config.model_type",
            text.model_type,
            "is no decoder that can be driven",
            f"choose from {', '.join(DECODERS)}",
        )
    kinds = getattr(text, "layer_types", None)
    window = getattr(text, "sliding_window", None)
    slides = "sliding_attention" in kinds if kinds else window
    if slides and not ADAPTERS[name].slides:
        raise InvalidInput(
            "text_config.sliding_window", window, "cannot be driven", "give full attention"
        )
    return ADAPTERS[name](model)
