"""Figures of small models: the published configs at small width, every structure in place."""

from __future__ import annotations

import copy
from typing import Any

from published_configs import CONFIGS, FULL, SLIDING

LAYERS = 6


def figures_of(model_id: str) -> dict[str, Any]:
    """Return a config's figures, its `model_type` among them."""
    figures = copy.deepcopy(CONFIGS[model_id])
    vision, text = figures["vision_config"], figures["text_config"]
    text.update(
        hidden_size=48,
        intermediate_size=72,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=12,
        vocab_size=200,
        tie_word_embeddings=False,
    )
    figures["image_token_id"] = 198
    figures["tie_word_embeddings"] = False
    kind = figures["model_type"]
    if kind.startswith("qwen"):
        _qwen(figures, vision, text, kind)
        return figures
    vision.update(hidden_size=32, intermediate_size=40, num_hidden_layers=5, num_attention_heads=2)
    vision["image_size"] = [112, 112] if kind == "internvl" else 56
    if kind in ("llava_onevision", "llava_next_video"):
        figures["video_token_id"] = 199
    if "image_grid_pinpoints" in figures:
        figures["image_grid_pinpoints"] = [[56, 112], [112, 56], [112, 112]]
    if kind in ("idefics3", "smolvlm"):
        figures["scale_factor"] = 2
        vision.update(patch_size=14, image_size=112)
    elif kind in ("paligemma", "gemma3"):
        _gemma(figures, vision, text, kind)
    elif kind == "mllama":
        _mllama(vision, text)
    return figures


def _qwen(figures: dict[str, Any], vision: dict[str, Any], text: dict[str, Any], kind: str) -> None:
    sections = {"mrope_section": [2, 2, 2]}
    default = {"rope_type": "default", "rope_theta": 10_000.0}
    text["rope_parameters"] = {**text.get("rope_parameters", default), **sections}
    figures.update(vision_start_token_id=196, vision_end_token_id=197, video_token_id=199)
    vision.update(depth=4, num_heads=2)
    widths: dict[str, Any] = {"embed_dim": 32, "hidden_size": 48}
    if kind != "qwen2_vl":
        widths = {"hidden_size": 32, "intermediate_size": 40, "out_hidden_size": 48}
    if kind == "qwen2_5_vl":
        vision["fullatt_block_indexes"] = [1, 3]
    if kind.startswith("qwen3"):
        # Added behind LLM layers 0, 1 and 2; the table of positions is interpolated from 5×5.
        widths.update(deepstack_visual_indexes=[0, 1, 2], num_position_embeddings=25)
    if kind == "qwen3_vl_moe":
        text.update(num_experts=5, num_experts_per_tok=2, moe_intermediate_size=20)
    vision.update(widths)


def _gemma(
    figures: dict[str, Any], vision: dict[str, Any], text: dict[str, Any], kind: str
) -> None:
    if "sliding_window" in text:  # shorter than any prompt
        text.update(sliding_window=8, query_pre_attn_scalar=12)
        pattern = [SLIDING, FULL] * 3 if kind == "paligemma" else [*[SLIDING] * 5, FULL]
        text["layer_types"] = pattern
    if kind == "paligemma":
        figures["projection_dim"] = vision["projection_dim"] = 48
    else:
        vision["image_size"] = 112
        figures.update(mm_tokens_per_image=16, boi_token_id=196, eoi_token_id=197)


def _mllama(vision: dict[str, Any], text: dict[str, Any]) -> None:
    text.update(cross_attention_layers=[1, 4], pad_token_id=0, bos_token_id=0)
    del text["head_dim"]
    vision.update(
        num_hidden_layers=3,
        num_global_layers=2,
        attention_heads=2,
        intermediate_layers_indices=[0, 2],
        vision_output_dim=96,
    )
    del vision["num_attention_heads"]
