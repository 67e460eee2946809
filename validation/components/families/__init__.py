"""How each family's parts are called: one module per way of calling, by model type."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from ....costmodel import InvalidInput
from ..parts import Parts

#: Model type → "module:class".
FAMILIES: Mapping[str, str] = {
    "llava": "llava:Llava",
    "llava_next": "llava:Anyres",
    "llava_next_video": "llava:Anyres",
    "llava_onevision": "llava:Anyres",
    "video_llava": "llava:VideoLlava",
    "internvl": "llava:Tiles",
    "aya_vision": "llava:Tiles",
    "paligemma": "llava:Tiles",
    "gemma3": "llava:Tiles",
    "ovis2": "llava:Ovis2",
    "mistral3": "pixtral:Pixtral",
    "idefics2": "idefics:Idefics2",
    "idefics3": "idefics:Idefics3",
    "smolvlm": "idefics:Idefics3",
    "qwen2_vl": "qwen_vl:QwenVL",
    "qwen2_5_vl": "qwen_vl:QwenVL",
    "qwen3_vl": "qwen_vl:Qwen3VL",
    "qwen3_vl_moe": "qwen_vl:Qwen3VL",
    "qwen2_5_omni": "qwen_vl:QwenVL",
    "glm4v": "qwen_vl:Glm4v",
    "mllama": "mllama:Mllama",
    "blip-2": "blip:Blip",
    "instructblip": "blip:Blip",
    "fast_vlm": "fast_vlm:FastVlm",
    "phi4_multimodal": "phi4:Phi4",
}


def parts_class(model_type: str) -> type[Parts]:
    """Return how the parts of a model type are called.

    Raises:
        InvalidInput: There is no such model type.
    """
    if model_type not in FAMILIES:
        raise InvalidInput(
            "model_type", model_type, "cannot be counted", f"choose from {', '.join(FAMILIES)}"
        )
    module, name = FAMILIES[model_type].split(":")
    found: type[Parts] = getattr(import_module(f".{module}", __name__), name)
    return found
