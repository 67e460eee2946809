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
#: The adapters, by transformers' model type.
ADAPTERS: dict[str, type[Adapter]] = {
    model_type: adapter for adapter in _CLASSES for model_type in adapter.model_types
}


def adapter_of(model: PreTrainedModel) -> Adapter:
    """Return the adapter of a transformers model.

    Raises:
        InvalidInput: No adapter knows the model's type.
    """
    name = model.config.model_type
    if name not in ADAPTERS:
        raise InvalidInput(
            "model_type", name, "has no adapter", f"choose from {', '.join(ADAPTERS)}"
        )
    return ADAPTERS[name](model)
