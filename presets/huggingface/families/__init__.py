"""Readers of whole configs by model type; one module per family, imported when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from ..fields import Fields
from ..processor import ImageProcessor
from .base import Reading

#: Model type → "module:function".
FAMILIES: Mapping[str, str] = {
    "llava": "llava:llava",
    "llava_next": "llava:llava_next",
    "llava_next_video": "llava:llava_next_video",
    "llava_onevision": "llava:llava_onevision",
    "video_llava": "llava:video_llava",
    "internvl": "internvl:internvl",
    "mistral3": "mistral3:mistral3",
    "paligemma": "gemma:paligemma",
    "gemma3": "gemma:gemma3",
    "idefics2": "idefics:idefics2",
    "idefics3": "idefics:idefics3",
    "smolvlm": "idefics:smolvlm",
    "aya_vision": "aya_vision:aya_vision",
    "qwen2_vl": "qwen_vl:qwen2_vl",
    "qwen2_5_vl": "qwen_vl:qwen2_5_vl",
    "qwen3_vl": "qwen_vl:qwen3_vl",
    "qwen3_vl_moe": "qwen_vl:qwen3_vl",
    "qwen2_5_omni": "qwen_omni:qwen2_5_omni",
    "glm4v": "glm4v:glm4v",
    "ovis2": "ovis2:ovis2",
    "mllama": "mllama:mllama",
    "blip-2": "blip:blip2",
    "instructblip": "blip:instructblip",
    "fast_vlm": "fast_vlm:fast_vlm",
    "phi4_multimodal": "phi4:phi4_multimodal",
}


def family_reader(model_type: str) -> Callable[[Fields, ImageProcessor], Reading]:
    """Return the reader of a model type, which must be one of `FAMILIES`."""
    module, name = FAMILIES[model_type].split(":")
    found: Callable[[Fields, ImageProcessor], Reading]
    found = getattr(import_module(f".{module}", __name__), name)
    return found
