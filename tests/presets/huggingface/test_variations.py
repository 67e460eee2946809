"""Fields away from the checkpoints' values: transformers builds as many parameters as are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from transformers_configs import built, parameters
from vlm_tokencost.costmodel import model_parameters
from vlm_tokencost.presets.huggingface import read_config

Contents = Callable[[str], dict[str, Any]]
TEXT, VISION = "text_config", "vision_config"
#: (file, table or "" for the whole, changed fields; None removes one, "null" writes null)
VARIATIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("llava-1.5-7b", TEXT, {"attention_bias": True, "mlp_bias": True}),
    ("llava-1.5-7b", TEXT, {"num_key_value_heads": "null", "head_dim": "null"}),
    ("llava-1.5-7b", TEXT, {"num_key_value_heads": 4, "head_dim": 64}),
    ("llava-1.5-7b", "", {"multimodal_projector_bias": False}),
    ("llava-1.5-7b", "", {"vision_feature_layer": [-2, -1, 1]}),
    ("llava-1.5-7b", VISION, {"image_size": 224, "patch_size": 16, "num_channels": 4}),
    ("llava-1.5-7b", VISION, {"intermediate_size": None}),
    ("llava-next-mistral-7b", TEXT, {"head_dim": "null", "num_key_value_heads": None}),
    ("llava-next-video-7b", "", {"spatial_pool_mode": "max", "image_grid_pinpoints": "null"}),
    ("llava-onevision-0.5b", VISION, {"vision_use_head": True}),
    ("llava-onevision-0.5b", TEXT, {"head_dim": 32, "num_key_value_heads": 7}),
    ("internvl2.5-38b", VISION, {"use_mask_token": True, "use_mean_pooling": False}),
    ("internvl2.5-38b", VISION, {"use_qk_norm": False, "attention_bias": True}),
    ("internvl3.5-1b", VISION, {"use_absolute_position_embeddings": False}),
    ("internvl3.5-1b", VISION, {"use_mean_pooling": False, "image_size": 336, "patch_size": 14}),
    ("internvl3.5-1b", TEXT, {"attention_bias": True, "head_dim": 48}),
    ("internvl3.5-1b", "", {"downsample_ratio": 0.25}),
    ("internvl3.5-1b", "", {"downsample_ratio": 1.0}),
    ("internvl2-4b", TEXT, {"num_key_value_heads": 8}),
    ("paligemma-3b-224", TEXT, {"attention_bias": True, "head_dim": 128}),
    ("paligemma2-3b-224", TEXT, {"attention_bias": True, "num_key_value_heads": 2}),
    ("gemma3-4b", "", {"mm_tokens_per_image": 64}),
    ("gemma3-4b", TEXT, {"attention_bias": True, "head_dim": 64}),
    ("idefics3-8b", "", {"scale_factor": 13}),
    ("smolvlm2-256m", VISION, {"image_size": 256, "num_channels": 1}),
    ("qwen2-vl-7b", VISION, {"mlp_ratio": 3, "spatial_merge_size": 4, "temporal_patch_size": 1}),
    ("qwen2.5-vl-3b", VISION, {"intermediate_size": 1_000, "num_heads": 8, "in_channels": 1}),
    ("qwen3-vl-2b", VISION, {"deepstack_visual_indexes": [], "num_position_embeddings": 100}),
    ("qwen3-vl-2b", TEXT, {"head_dim": 64, "attention_bias": True}),
    ("qwen3-vl-30b-a3b", TEXT, {"mlp_only_layers": [1], "num_experts_per_tok": 2}),
    ("qwen3-vl-30b-a3b", TEXT, {"decoder_sparse_step": 2, "head_dim": "null"}),
    ("qwen3-vl-30b-a3b", TEXT, {"mlp_only_layers": [0, 1, 2]}),
    ("qwen3-vl-30b-a3b", TEXT, {"num_local_experts": None, "num_experts": 16}),
    ("ovis2-1b", VISION, {"qkv_bias": True, "mlp_bias": True, "num_visual_indicator_tokens": 7}),
    ("ovis2-1b", VISION, {"hidden_stride": 3}),
    ("llama3.2-vision-11b", VISION, {"num_global_layers": 0, "max_num_tiles": 4}),
    (
        "llama3.2-vision-11b",
        VISION,
        {"max_num_tiles": 2, "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]]},
    ),
    ("llama3.2-vision-11b", VISION, {"attention_heads": None, "num_attention_heads": 8}),
    ("llama3.2-vision-11b", TEXT, {"cross_attention_layers": [0, 2]}),
    ("blip2-opt-2.7b", TEXT, {"enable_bias": False, "max_position_embeddings": 100}),
    ("blip2-opt-2.7b", VISION, {"qkv_bias": False, "image_size": 364}),
    ("blip2-opt-2.7b", "", {"num_query_tokens": 64}),
    ("blip2-opt-2.7b", "qformer_config", {"cross_attention_frequency": 1, "hidden_size": 384}),
    ("blip2-opt-2.7b", "qformer_config", {"encoder_hidden_size": 77}),
    ("blip2-flan-t5-xl", TEXT, {"feed_forward_proj": "relu", "is_gated_act": None}),
    ("blip2-flan-t5-xl", TEXT, {"d_kv": 32, "num_decoder_layers": 2}),
    ("blip2-flan-t5-xl", TEXT, {"num_decoder_layers": "null", "d_ff": 99, "num_heads": 4}),
    (
        "instructblip-vicuna-7b",
        "qformer_config",
        {"vocab_size": 99, "max_position_embeddings": 9, "intermediate_size": 100},
    ),
    ("phi-4-multimodal", "", {"num_key_value_heads": "null", "vocab_size": 200_100}),
    ("phi-4-multimodal", VISION, {"intermediate_size": 100}),
    ("qwen2.5-omni-7b", "thinker_config.vision_config", {"intermediate_size": 100}),
]
#: Whole files of families without a checkpoint's file here; the counts are those recorded for the
#: checkpoints that these figures describe.
WHOLE: list[tuple[dict[str, Any], int]] = [
    (
        {
            "model_type": "video_llava",
            TEXT: {"model_type": "llama", "vocab_size": 32_064},
        },
        7_366_279_168,
    ),
    ({"model_type": "mistral3"}, 23_340_272_640),
    ({"model_type": "glm4v"}, 10_292_777_472),
    (
        {
            "model_type": "idefics2",
            VISION: {
                "model_type": "idefics2",
                "hidden_size": 1_152,
                "image_size": 980,
                "intermediate_size": 4_304,
                "num_attention_heads": 16,
                "num_hidden_layers": 27,
                "patch_size": 14,
            },
            TEXT: {"model_type": "mistral", "vocab_size": 32_003},
        },
        8_402_768_112,
    ),
    (
        {
            "model_type": "aya_vision",
            "alignment_intermediate_size": 28_672,
            VISION: {
                "model_type": "siglip_vision_model",
                "hidden_size": 1_152,
                "image_size": 364,
                "intermediate_size": 4_304,
                "num_attention_heads": 16,
                "num_hidden_layers": 27,
                "patch_size": 14,
                "vision_use_head": False,
            },
            TEXT: {
                "model_type": "cohere2",
                "hidden_size": 4_096,
                "intermediate_size": 14_336,
                "num_hidden_layers": 32,
                "num_attention_heads": 32,
                "num_key_value_heads": 8,
            },
        },
        8_631_842_032,
    ),
]
#: LLMs that LLaVA may have besides those of the checkpoints, a few layers of each.
TEXTS: list[dict[str, Any]] = [
    {"model_type": "ministral3", "sliding_window": 8},
    {"model_type": "mixtral", "num_local_experts": 4},
    {"model_type": "qwen3", "hidden_size": 512, "use_sliding_window": True, "max_window_layers": 1},
    {"model_type": "qwen3_moe", "head_dim": 64, "decoder_sparse_step": 2},
    {"model_type": "cohere", "use_qk_norm": True, "attention_bias": True, "hidden_size": 512},
    {"model_type": "cohere2", "attention_bias": True, "hidden_size": 512},
    {"model_type": "gemma", "hidden_size": 512},
    {"model_type": "gemma2", "hidden_size": 512},
    {"model_type": "gemma3_text", "hidden_size": 512},
    {"model_type": "phi3", "num_key_value_heads": 8, "pad_token_id": None, "sliding_window": 9},
]


def changed(config: dict[str, Any], path: str, changes: dict[str, Any]) -> None:
    table = config
    for part in filter(None, path.split(".")):
        table = table[part]
    for field, value in changes.items():
        table.pop(field, None)
        if value is not None:
            table[field] = None if value == "null" else value


def names(variation: tuple[str, str, dict[str, Any]]) -> str:
    return f"{variation[0]}-{'-'.join(variation[2])}"


@pytest.mark.parametrize("variation", VARIATIONS, ids=names)
def test_a_changed_field_changes_as_many_parameters(
    variation: tuple[str, str, dict[str, Any]], shrunk: Contents
) -> None:
    name, path, changes = variation
    config = shrunk(name)
    changed(config, path, changes)
    counts = model_parameters(read_config(config))
    assert sum(counts.values()) == parameters(built(config), without=("audio",))


@pytest.mark.parametrize(("config", "recorded"), WHOLE, ids=lambda each: str(each)[:30])
def test_families_without_a_file(config: dict[str, Any], recorded: int) -> None:
    count = sum(model_parameters(read_config(config)).values())
    assert count == parameters(built(config))
    assert count == recorded


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text["model_type"])
def test_other_language_models(text: dict[str, Any]) -> None:
    tied = text["model_type"] in {"cohere", "cohere2", "gemma", "gemma2", "gemma3_text"}
    config = {"model_type": "llava", TEXT: {"num_hidden_layers": 3, "vocab_size": 999, **text}}
    model = read_config(config)
    assert model.decoder.tie_word_embeddings is tied  # the class's default, which LLaVA hears
    counts = model_parameters(model)
    assert sum(counts.values()) == parameters(built(config))
