"""Model families that the driver can run: one module per family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...costmodel import InvalidInput
from .base import Adapter, Pixels, Ranking
from .internvl import InternVLAdapter
from .llava import LlavaAdapter, LlavaNextAdapter, LlavaOnevisionAdapter
from .qwen_vl import QwenVLAdapter

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["ADAPTERS", "Adapter", "Pixels", "Ranking", "adapter_of"]

_CLASSES: tuple[type[Adapter], ...] = (
    LlavaAdapter,
    LlavaNextAdapter,
    LlavaOnevisionAdapter,
    InternVLAdapter,
    QwenVLAdapter,
)
#: Decoders whose layers have the modules that PyramidDrop projects with, and no others.
DECODERS = ("llama", "mistral", "qwen2", "qwen2_vl_text", "qwen2_5_vl_text")
#: The adapters, by transformers' model type.
ADAPTERS: dict[str, type[Adapter]] = {
    model_type: adapter for adapter in _CLASSES for model_type in adapter.model_types
}


def adapter_of(model: PreTrainedModel) -> Adapter:
    """Return the adapter of a transformers model.

    Raises:
        InvalidInput: No adapter knows the model's type, or its decoder's; or the decoder attends
            in a sliding window, which the driver does not mask.
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
    if "sliding_attention" in kinds if kinds else window:
        raise InvalidInput(
            "text_config.sliding_window", window, "cannot be driven", "give full attention"
        )
    return ADAPTERS[name](model)
