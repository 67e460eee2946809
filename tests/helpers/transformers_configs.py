"""Models that transformers builds from a config's content, on the meta device."""

from __future__ import annotations

import copy
from typing import Any

#: Classes that AutoModelForImageTextToText does not find, by model type.
OTHERS = {
    "phi4_multimodal": "Phi4MultimodalForCausalLM",
    "qwen2_5_omni": "Qwen2_5OmniThinkerForConditionalGeneration",
    "video_llava": "VideoLlavaForConditionalGeneration",
}


def built(content: dict[str, Any]) -> Any:
    """Return the model of a config.json's content, without weights."""
    import torch
    import transformers

    content = copy.deepcopy(content)
    model_type = content.pop("model_type")
    if model_type == "qwen2_5_omni":
        content, model_type = content["thinker_config"], "qwen2_5_omni_thinker"
        content.pop("model_type", None)
    config = transformers.AutoConfig.for_model(model_type, **content)
    with torch.device("meta"):
        name = OTHERS.get(model_type, OTHERS.get(model_type.removesuffix("_thinker")))
        if name is None:
            model = transformers.AutoModelForImageTextToText.from_config(config)
        else:
            model = getattr(transformers, name)(config)
    model.tie_weights()
    return model


def parameters(model: Any, *, without: tuple[str, ...] = ()) -> int:
    """Return the parameters of a model, shared ones once, but those whose name holds a word."""
    found = {
        id(parameter): parameter.numel()
        for name, parameter in model.named_parameters()
        if not any(word in name for word in without)
    }
    return sum(found.values())
