"""Presets that the driver runs, and one or two of each family."""

from __future__ import annotations

#: One of each model type, both of a family where the decoders' types differ, and a tied one.
ONE_EACH = [
    "llava-1.5-7b",
    "llava-next-mistral-7b",
    "llava-next-video-7b",
    "llava-onevision-7b",
    "internvl2-8b",
    "internvl3-8b",
    "internvl3.5-8b",
    "qwen2-vl-7b",
    "qwen2.5-vl-3b",
    "qwen2.5-vl-7b",
    "qwen3-vl-2b",
    "qwen3-vl-30b-a3b",
    "idefics3-8b",
    "smolvlm-2.2b",
    "smolvlm2-256m",
    "paligemma-3b-224",
    "paligemma2-3b-224",
    "gemma3-4b",
    "llama3.2-vision-11b",
]
#: Others, of other sizes.
DRIVEN = [
    *ONE_EACH,
    "llava-1.5-13b",
    "llava-next-34b",
    "qwen3-vl-8b",
    "qwen3-vl-235b-a22b",
    "smolvlm-256m",
    "smolvlm2-2.2b",
    "paligemma-3b-896",
    "paligemma2-28b-224",
    "gemma3-27b",
    "llama3.2-vision-90b",
]
