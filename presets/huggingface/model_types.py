"""Which reader a config.json is for, and what to do with one that is for none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...costmodel import InvalidInput
from .families import FAMILIES
from .fields import hinted
from .parts import TEXTS, VISIONS

#: Model types of repositories' own code → the word that lists the presets of their models.
REMOTE: Mapping[str, str] = {
    "internvl_chat": "internvl",
    "kimi_vl": "kimi-vl",
    "deepseek_vl_v2": "deepseek-vl2",
    "minicpmv": "minicpm",
    "molmo": "molmo",
    "phi3_v": "phi-3.5",
    "phi4mm": "phi-4-multimodal",
    "qwen": "qwen-vl",
    "monkey": "monkey",
    "openvla": "openvla",
    "mobilevlm": "mobilevlm",
    "mgm_llama": "mini-gemini",
    "mgm_mistral": "mini-gemini",
    "ovis": "ovis2",
}
#: Those whose checkpoints transformers' own classes have conversions of.
_CONVERTED = {"internvl_chat": "-hf", "ovis": "-hf", "phi4mm": "transformers'"}
#: Classes and model types of LLaVA's original code, and of most that grew from it.
_ORIGINAL_CLASS = re.compile(r"Llava[A-Z]\w*ForCausalLM")
_ORIGINAL_TYPE = re.compile(r"llava_(llama|mistral|mixtral|mpt|gemma|phi|qwen)\w*")


def known_type(config: Mapping[str, Any], prefix: str) -> str:
    """Return the model type, of which there must be a reader.

    Args:
        config: The content of a config.json.
        prefix: What stands before the name of a field of it in an error.

    Raises:
        InvalidInput: There is none; the sentence says what can be done.
    """
    given = config.get("model_type")
    model_type = given if isinstance(given, str) else ""

    def refused(problem: str, way_out: str) -> InvalidInput:
        return InvalidInput(f"{prefix}model_type", model_type or None, problem, way_out)

    if model_type in REMOTE:
        presets = f"a preset (`tokencost models list {REMOTE[model_type]}`)"
        converted = _CONVERTED.get(model_type)
        way_out = f"use the {converted} conversion, or {presets}" if converted else f"use {presets}"
        raise refused("belongs to code of its own (remote code), not to transformers", way_out)
    if is_original_llava(config):
        listed = "fastvlm" if model_type == "llava_qwen2" else "llava"
        way_out = f"use the llava-hf conversion, or a preset (`tokencost models list {listed}`)"
        raise refused("belongs to LLaVA's original code, not to transformers", way_out)
    if model_type in FAMILIES:
        return model_type
    known = f"choose from {', '.join(FAMILIES)}"
    if isinstance(config.get("auto_map"), Mapping):
        way_out = "give the config.json of a conversion to transformers (-hf), or use a preset"
        raise refused("belongs to code of its own (auto_map), not to transformers", way_out)
    if given is None:
        raise refused("is missing: not a config.json of transformers", known)
    if model_type in TEXTS:
        raise refused("is a language model alone, and vision-language models are priced", known)
    if model_type in VISIONS:
        raise refused("is a vision encoder alone", known)
    raise refused("is not known", hinted(model_type, tuple(FAMILIES)))


def is_original_llava(config: Mapping[str, Any]) -> bool:
    """Return whether a file is of LLaVA's original repository, or of one that grew from it.

    >>> is_original_llava({"model_type": "llava", "mm_vision_tower": "openai/clip"})
    True
    >>> is_original_llava({"model_type": "gemma3", "mm_tokens_per_image": 256})
    False
    """
    classes = config.get("architectures")
    named = classes if isinstance(classes, list | tuple) else ()
    if any(isinstance(name, str) and _ORIGINAL_CLASS.fullmatch(name) for name in named):
        return True
    model_type = str(config.get("model_type"))
    marked = any(str(name).startswith("mm_") for name in config)
    if model_type not in FAMILIES:
        return marked or bool(_ORIGINAL_TYPE.fullmatch(model_type))
    # transformers' own files have a table of the encoder, the original ones name it
    nested = isinstance(config.get("vision_config"), Mapping)
    own = "mm_vision_tower" in config or (marked and not nested)
    return own and model_type.startswith("llava")
