"""transformers configs whose figures are written out here.

The figures are those of the published checkpoints' config.json, independent of the presets that
the tests hold against them.
"""

from __future__ import annotations

from typing import Any

CLIP_VIT_L_14_336: dict[str, Any] = {
    "model_type": "clip_vision_model",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
    "projection_dim": 768,
}
SIGLIP_SO400M_14_384: dict[str, Any] = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 26,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
    "vision_use_head": False,
}
INTERNVIT_300M_448: dict[str, Any] = {
    "model_type": "internvl_vision",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "attention_bias": True,
    "use_qk_norm": False,
    "norm_type": "layer_norm",
    "image_size": [448, 448],
    "patch_size": [14, 14],
    "use_mean_pooling": True,
}
QWEN2_VL_VIT: dict[str, Any] = {
    "depth": 32,
    "embed_dim": 1280,
    "hidden_size": 3584,
    "mlp_ratio": 4,
    "num_heads": 16,
    "in_channels": 3,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
QWEN2_5_VL_VIT: dict[str, Any] = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "in_channels": 3,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
    "out_hidden_size": 3584,
}

VICUNA_7B: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32064,
    "tie_word_embeddings": False,
}
MISTRAL_7B: dict[str, Any] = {
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "sliding_window": None,
    "vocab_size": 32064,
    "tie_word_embeddings": False,
}
QWEN2_7B: dict[str, Any] = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "use_sliding_window": False,
    "tie_word_embeddings": False,
}
QWEN2_3B: dict[str, Any] = {
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "use_sliding_window": False,
    "tie_word_embeddings": True,
}
MULTIMODAL_ROPE: dict[str, Any] = {
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 1_000_000.0,
        "mrope_section": [16, 24, 24],
    }
}

SIGLIP_SO400M: dict[str, Any] = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
}
SIGLIP_WITHOUT_HEAD = {**SIGLIP_SO400M, "vision_use_head": False}
QWEN3_VL_VIT: dict[str, Any] = {
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_heads": 16,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "num_position_embeddings": 2304,
    "deepstack_visual_indexes": [8, 16, 24],
}
QWEN3_VL_TEXT: dict[str, Any] = {
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
}
SLIDING, FULL = "sliding_attention", "full_attention"

CONFIGS: dict[str, dict[str, Any]] = {
    "llava-1.5-7b": {
        "model_type": "llava",
        "vision_config": CLIP_VIT_L_14_336,
        "text_config": VICUNA_7B,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    },
    "llava-next-mistral-7b": {
        "model_type": "llava_next",
        "vision_config": CLIP_VIT_L_14_336,
        "text_config": MISTRAL_7B,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
    },
    "llava-next-video-7b": {
        "model_type": "llava_next_video",
        "vision_config": CLIP_VIT_L_14_336,
        "text_config": VICUNA_7B,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
        "spatial_pool_mode": "average",
        "spatial_pool_stride": 2,
    },
    "llava-onevision-7b": {
        "model_type": "llava_onevision",
        "vision_config": SIGLIP_SO400M_14_384,
        "text_config": {**QWEN2_7B, "model_type": "qwen2", "vocab_size": 152128},
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "vision_aspect_ratio": "anyres_max_9",
        "image_grid_pinpoints": [
            [height, width]
            for height in (384, 768, 1152, 1536, 1920, 2304)
            for width in (384, 768, 1152, 1536, 1920, 2304)
        ],
    },
    "internvl3-8b": {
        "model_type": "internvl",
        "vision_config": INTERNVIT_300M_448,
        "text_config": {**QWEN2_7B, "model_type": "qwen2", "vocab_size": 151674},
        "downsample_ratio": 0.5,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
        "tie_word_embeddings": False,
    },
    "qwen2-vl-7b": {
        "model_type": "qwen2_vl",
        "vision_config": QWEN2_VL_VIT,
        "text_config": {**QWEN2_7B, **MULTIMODAL_ROPE, "vocab_size": 152064},
        "tie_word_embeddings": False,
    },
    "qwen2.5-vl-7b": {
        "model_type": "qwen2_5_vl",
        "vision_config": QWEN2_5_VL_VIT,
        "text_config": {**QWEN2_7B, **MULTIMODAL_ROPE, "vocab_size": 152064},
        "tie_word_embeddings": False,
    },
    "qwen2.5-vl-3b": {
        "model_type": "qwen2_5_vl",
        "vision_config": {**QWEN2_5_VL_VIT, "out_hidden_size": 2048},
        "text_config": {**QWEN2_3B, **MULTIMODAL_ROPE, "vocab_size": 151936},
        "tie_word_embeddings": True,
    },
    "qwen3-vl-8b": {
        "model_type": "qwen3_vl",
        "vision_config": {**QWEN3_VL_VIT, "out_hidden_size": 4096},
        "text_config": {
            **QWEN3_VL_TEXT,
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
        },
        "tie_word_embeddings": False,
    },
    "qwen3-vl-30b-a3b": {
        "model_type": "qwen3_vl_moe",
        "vision_config": {**QWEN3_VL_VIT, "out_hidden_size": 2048},
        "text_config": {
            **QWEN3_VL_TEXT,
            "hidden_size": 2048,
            "moe_intermediate_size": 768,
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "num_hidden_layers": 48,
            "num_attention_heads": 32,
            "num_key_value_heads": 4,
        },
        "tie_word_embeddings": False,
    },
    "idefics3-8b": {
        "model_type": "idefics3",
        "vision_config": {
            **SIGLIP_SO400M,
            "model_type": "idefics3_vision",
            "image_size": 364,
        },
        "text_config": {
            "model_type": "llama",
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 128259,
            "tie_word_embeddings": False,
        },
        "scale_factor": 2,
        "tie_word_embeddings": False,
    },
    "smolvlm2-256m": {
        "model_type": "smolvlm",
        "vision_config": {
            "model_type": "smolvlm_vision",
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "image_size": 512,
            "patch_size": 16,
        },
        "text_config": {
            "model_type": "llama",
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "head_dim": 64,
            "vocab_size": 49280,
            "tie_word_embeddings": False,
        },
        "scale_factor": 4,
        "tie_word_embeddings": False,
    },
    "paligemma-3b-224": {
        "model_type": "paligemma",
        "vision_config": {**SIGLIP_WITHOUT_HEAD, "image_size": 224, "projection_dim": 2048},
        "text_config": {
            "model_type": "gemma",
            "hidden_size": 2048,
            "intermediate_size": 16384,
            "num_hidden_layers": 18,
            "num_attention_heads": 8,
            "num_key_value_heads": 1,
            "head_dim": 256,
            "vocab_size": 257216,
            "tie_word_embeddings": True,
        },
        "projection_dim": 2048,
        "tie_word_embeddings": True,
    },
    "paligemma2-3b-224": {
        "model_type": "paligemma",
        "vision_config": {**SIGLIP_WITHOUT_HEAD, "image_size": 224, "projection_dim": 2304},
        "text_config": {
            "model_type": "gemma2",
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 26,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "sliding_window": 4096,
            "layer_types": [SLIDING, FULL] * 13,
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
            "vocab_size": 257216,
            "tie_word_embeddings": True,
        },
        "projection_dim": 2304,
        "tie_word_embeddings": True,
    },
    "gemma3-4b": {
        "model_type": "gemma3",
        "vision_config": {**SIGLIP_WITHOUT_HEAD, "image_size": 896},
        "text_config": {
            "model_type": "gemma3_text",
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "num_hidden_layers": 34,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "sliding_window": 1024,
            "layer_types": [*([SLIDING] * 5 + [FULL]) * 5, *[SLIDING] * 4],
            "vocab_size": 262208,
            "tie_word_embeddings": True,
        },
        "mm_tokens_per_image": 256,
        "tie_word_embeddings": True,
    },
    "llama3.2-vision-11b": {
        "model_type": "mllama",
        "vision_config": {
            "model_type": "mllama_vision_model",
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 32,
            "num_global_layers": 8,
            "attention_heads": 16,
            "image_size": 560,
            "patch_size": 14,
            "max_num_tiles": 4,
            "intermediate_layers_indices": [3, 7, 15, 23, 30],
            "vision_output_dim": 7680,
        },
        "text_config": {
            "model_type": "mllama_text_model",
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 40,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "cross_attention_layers": [3, 8, 13, 18, 23, 28, 33, 38],
            "vocab_size": 128256,
            "tie_word_embeddings": False,
        },
        "tie_word_embeddings": False,
    },
}
