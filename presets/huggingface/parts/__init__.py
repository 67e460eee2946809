"""Readers of nested configs: language models and vision encoders by their model type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from ....costmodel.architecture.decoder import Decoder
from ....costmodel.architecture.vision import VisionEncoder
from ..fields import Fields

#: Language models: model type → "module:function".
TEXTS: Mapping[str, str] = {
    "llama": "llama:llama",
    "mistral": "llama:mistral",
    "ministral3": "llama:ministral3",
    "phi3": "llama:phi3",
    "qwen2": "qwen:qwen2",
    "qwen2_vl_text": "qwen:qwen2",
    "qwen2_5_vl_text": "qwen:qwen2",
    "qwen2_5_omni_text": "qwen:qwen2",
    "qwen3": "qwen:qwen3",
    "qwen3_vl_text": "qwen:qwen3_vl",
    "qwen3_moe": "experts:qwen3_moe",
    "qwen3_vl_moe_text": "experts:qwen3_vl_moe",
    "mixtral": "experts:mixtral",
    "gemma": "gemma:gemma",
    "gemma2": "gemma:gemma2",
    "gemma3_text": "gemma:gemma3",
    "cohere": "cohere:cohere",
    "cohere2": "cohere:cohere2",
    "glm4v_text": "llama:glm4v",
    "mllama_text_model": "mllama:text",
    "opt": "opt:opt",
    "t5": "t5:t5",
}
#: Vision encoders: model type → "module:function".
VISIONS: Mapping[str, str] = {
    "clip_vision_model": "clip:clip",
    "siglip_vision_model": "clip:siglip",
    "idefics2_vision": "clip:idefics",
    "idefics3_vision": "clip:idefics",
    "smolvlm_vision": "clip:idefics",
    "phi4_multimodal_vision": "clip:phi4",
    "blip_2_vision_model": "clip:eva",
    "instructblip_vision_model": "clip:eva",
    "internvl_vision": "internvit:internvit",
    "pixtral": "rotary:pixtral",
    "qwen2_vl_vision": "rotary:qwen2_vl",
    "qwen2_5_vl_vision": "rotary:qwen2_5_vl",
    "qwen2_5_omni_vision_encoder": "rotary:qwen2_5_vl",
    "qwen3_vl_vision": "rotary:qwen3_vl",
    "qwen3_vl_moe_vision": "rotary:qwen3_vl",
    "glm4v_vision": "rotary:glm4v",
    "ovis2_vision": "aimv2:ovis2",
    "mllama_vision_model": "mllama:vision",
    "timm_wrapper": "timm:timm",
}


def read_text(fields: Fields, tied: bool) -> Decoder:
    """Return the language model of a nested config, refusing what is left over.

    Args:
        fields: The config.
        tied: Whether the head reuses the embedding's weights, as the whole model's config says.
    """
    decoder: Decoder = _function(TEXTS[fields.model_type])(fields, tied)
    fields.ignore("tie_word_embeddings", "max_position_embeddings", "vocab_size")
    return decoder


def read_vision(fields: Fields) -> VisionEncoder:
    """Return the vision encoder of a nested config; every layer contributes."""
    fields.ignore("tie_word_embeddings")
    encoder: VisionEncoder = _function(VISIONS[fields.model_type])(fields)
    return encoder


def _function(where: str) -> Callable[..., Any]:
    module, name = where.split(":")
    found: Callable[..., Any] = getattr(import_module(f".{module}", __name__), name)
    return found
