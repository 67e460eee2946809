"""Classes of image processors, by the model types that they prepare images for."""

from __future__ import annotations

from collections.abc import Mapping

#: Model type → names of classes without "ImageProcessor"; transformers' own choice is the first.
#: Files name older or more general ones too, which cut the same images.
PROCESSORS: Mapping[str, tuple[str, ...]] = {
    "llava": ("Llava", "CLIP", "Siglip", "Pixtral"),
    "llava_next": ("LlavaNext",),
    "llava_next_video": ("LlavaNext", "LlavaNextVideo"),
    "llava_onevision": ("LlavaOnevision",),
    "video_llava": ("VideoLlava", "CLIP"),
    "internvl": ("GotOcr2", "InternVL"),
    "mistral3": ("Pixtral",),
    "paligemma": ("Siglip", "PaliGemma"),
    "gemma3": ("Gemma3",),
    "idefics2": ("Idefics2",),
    "idefics3": ("Idefics3", "SmolVLM"),
    "smolvlm": ("SmolVLM", "Idefics3"),
    "aya_vision": ("GotOcr2",),
    "qwen2_vl": ("Qwen2VL",),
    "qwen2_5_vl": ("Qwen2VL", "Qwen2_5_VL"),
    "qwen3_vl": ("Qwen2VL", "Qwen3VL"),
    "qwen3_vl_moe": ("Qwen2VL", "Qwen3VL"),
    "qwen2_5_omni": ("Qwen2VL", "Qwen2_5_VL"),
    "glm4v": ("Glm4v",),
    "ovis2": ("Ovis2",),
    "mllama": ("Mllama",),
    "blip-2": ("Blip", "CLIP"),
    "instructblip": ("Blip", "CLIP"),
    "fast_vlm": ("Llava", "CLIP", "FastVlm"),
    "phi4_multimodal": ("Phi4Multimodal",),
}
#: All of them; a class of no family here is not judged.
KNOWN = frozenset(stem for stems in PROCESSORS.values() for stem in stems)


def class_stem(name: str) -> str:
    """Return what tells a class of image processors from others.

    >>> class_stem("Qwen2VLImageProcessorFast"), class_stem("LlavaImageProcessorPil")
    ('Qwen2VL', 'Llava')
    """
    return name.removesuffix("Fast").removesuffix("Pil").removesuffix("ImageProcessor")
