"""What is called piece by piece on meta, whole and really executed on the CPU, scaled down.

Encoder and connector run as the model itself runs them: with its masks, its loops over images and
its own arrangement.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from vlm_tokencost.costmodel import Workload, evaluate
from vlm_tokencost.costmodel.plan import TokenPlan
from vlm_tokencost.presets.huggingface import read_config
from vlm_tokencost.validation.components.families import parts_class
from vlm_tokencost.validation.components.parts import Parts, tokens_of

LLAMA = {
    "model_type": "llama",
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 96,
    "pad_token_id": 0,
}
SIGLIP = {
    "hidden_size": 40,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "patch_size": 14,
}
EVA = {**SIGLIP, "image_size": 56, "qkv_bias": True}
QFORMER = {
    "hidden_size": 24,
    "intermediate_size": 36,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "cross_attention_frequency": 2,
    "vocab_size": 50,
}
PIXTRAL = {**SIGLIP, "model_type": "pixtral", "head_dim": 10, "image_size": 140}
CONFIGS: dict[str, dict[str, Any]] = {
    "idefics2": {
        "model_type": "idefics2",
        "vision_config": {**SIGLIP, "model_type": "idefics2_vision", "image_size": 140},
        "perceiver_config": {
            "model_type": "idefics2_perceiver",
            "resampler_n_latents": 5,
            "resampler_depth": 2,
            "resampler_n_heads": 4,
            "resampler_head_dim": 6,
            "num_key_value_heads": 2,
        },
        "text_config": LLAMA,
    },
    "idefics3": {
        "model_type": "idefics3",
        "scale_factor": 2,
        "vision_config": {**SIGLIP, "model_type": "idefics3_vision", "image_size": 56},
        "text_config": LLAMA,
        "pad_token_id": 0,
    },
    "smolvlm": {
        "model_type": "smolvlm",
        "scale_factor": 2,
        "vision_config": {**SIGLIP, "model_type": "smolvlm_vision", "image_size": 56},
        "text_config": LLAMA,
        "pad_token_id": 0,
    },
    "pixtral": {
        "model_type": "llava",
        "vision_config": PIXTRAL,
        "text_config": LLAMA,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "image_token_index": 95,
    },
    "mistral3": {
        "model_type": "mistral3",
        "spatial_merge_size": 2,
        "vision_config": PIXTRAL,
        "text_config": LLAMA,
        "vision_feature_layer": -1,
        "image_token_index": 95,
    },
    "glm4v": {
        "model_type": "glm4v",
        "vision_config": {
            "depth": 3,
            "hidden_size": 32,  # heads of 8, a multiple of 4, which two axes of rotary need
            "intermediate_size": 56,
            "out_hidden_size": 48,
            "num_heads": 4,
            "image_size": 56,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        "text_config": {**LLAMA, "model_type": "glm4v_text"},
    },
    "blip-2": {
        "model_type": "blip-2",
        "vision_config": EVA,
        "qformer_config": QFORMER,
        "text_config": {
            "model_type": "opt",
            "hidden_size": 48,
            "word_embed_proj_dim": 48,
            "ffn_dim": 80,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "vocab_size": 96,
        },
        "num_query_tokens": 5,
        "image_token_index": 95,
    },
    "instructblip": {
        "model_type": "instructblip",
        "vision_config": EVA,
        "qformer_config": QFORMER,
        "text_config": LLAMA,
        "num_query_tokens": 5,
        "image_token_index": 95,
    },
    "mllama": {
        "model_type": "mllama",
        "vision_config": {
            "hidden_size": 40,
            "intermediate_size": 56,
            "num_hidden_layers": 3,
            "num_global_layers": 2,
            "attention_heads": 4,
            "image_size": 56,
            "patch_size": 14,
            "max_num_tiles": 4,
            "intermediate_layers_indices": [0, 2],
            "vision_output_dim": 120,
        },
        "text_config": {
            **LLAMA,
            "model_type": "mllama_text_model",
            "num_hidden_layers": 3,
            "cross_attention_layers": [1],
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
    },
    "phi4_multimodal": {
        **{key: value for key, value in LLAMA.items() if key != "model_type"},
        "model_type": "phi4_multimodal",
        "vision_config": {**SIGLIP, "image_size": 56, "crop_size": 56, "image_token_id": 95},
        "audio_config": {
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_blocks": 1,
            "num_attention_heads": 2,
            "nemo_conv_channels": 8,
            "ext_pw_out_channel": 16,
            "audio_token_id": 94,
        },
    },
}


def on_cpu(config: dict[str, Any]) -> Any:
    import transformers

    figures = {name: value for name, value in config.items() if name != "model_type"}
    built = transformers.AutoConfig.for_model(config["model_type"], **figures)
    auto: Any = transformers.AutoModelForImageTextToText
    if config["model_type"] == "phi4_multimodal":
        auto = transformers.AutoModelForCausalLM
    return auto.from_config(built, attn_implementation="eager").eval().requires_grad_(False)


def idefics(model: Any, plan: TokenPlan, pixels: Callable[..., Any]) -> Any:
    import torch

    crops, patch = plan.visual_input.crops, model.config.vision_config.patch_size
    sides = [(rows * patch, columns * patch) for rows, columns in crops]
    height, width = (max(side) for side in zip(*sides, strict=True))
    values = pixels(1, len(crops), 3, height, width)
    masks = torch.zeros(1, len(crops), height, width, dtype=torch.bool)
    for crop, (rows, columns) in enumerate(sides):
        masks[0, crop, :rows, :columns] = True
    return model.model.get_image_features(values, pixel_attention_mask=masks).pooler_output


def native(model: Any, plan: TokenPlan, pixels: Callable[..., Any]) -> Any:
    import torch

    crops, patch = plan.visual_input.crops, model.config.vision_config.patch_size
    sizes = torch.tensor([(rows * patch, columns * patch) for rows, columns in crops])
    values = pixels(len(crops), 3, *sizes.amax(dim=0).tolist())
    return model.model.get_image_features(values, image_sizes=sizes).pooler_output


def packed(model: Any, plan: TokenPlan, pixels: Callable[..., Any]) -> Any:
    import torch

    grids = torch.tensor([(1, *grid) for grid in plan.visual_input.crops])
    values = pixels(int(grids.prod(dim=1).sum()), 3 * 2 * 14**2)
    return model.model.get_image_features(values, image_grid_thw=grids).pooler_output


def blip(model: Any, plan: TokenPlan, pixels: Callable[..., Any]) -> Any:
    import torch

    text = {}
    if model.config.model_type == "instructblip":
        text["qformer_input_ids"] = torch.ones(len(plan.images), plan.text_tokens, dtype=torch.long)
    return model.get_image_features(pixels(len(plan.images), 3, 56, 56), **text).pooler_output


def tiled(model: Any, plan: TokenPlan, pixels: Callable[..., Any]) -> Any:
    """Run the whole model, and return what its text sees: the keys of a cross-attention layer."""
    import torch

    images, text = len(plan.images), 4
    mask = torch.zeros(1, images, 4, dtype=torch.long)
    mask[:, :, :2] = 1  # two tiles of each image are used, two only fill up
    keys: list[Any] = []
    seen = model.model.multi_modal_projector.register_forward_hook(
        lambda module, inputs, output: keys.append(output)
    )
    model(
        input_ids=torch.ones(1, text, dtype=torch.long),
        pixel_values=pixels(1, images, 4, 3, 56, 56),
        aspect_ratio_ids=torch.full((1, images), 2),
        aspect_ratio_mask=mask,
        cross_attention_mask=torch.ones(1, text, images, 4, dtype=torch.long),
    )
    seen.remove()
    return keys[0]


def arranged(model: Any, plan: TokenPlan, pixels: Callable[..., Any]) -> Any:
    import torch

    embed, crops = model.model.embed_tokens_extend.image_embed, plan.visual_input.crops_per_image
    most = max(crops)
    mask = torch.ones(len(crops), most, 4, 4, dtype=torch.bool)
    tokens = plan.visual_input.visual_tokens
    ids = torch.full((1, tokens), model.config.vision_config.image_token_id)
    return embed(
        input_ids=ids,
        inputs_embeds=torch.zeros(1, tokens, model.config.hidden_size),
        image_pixel_values=pixels(len(crops), most, 3, 56, 56),
        image_sizes=torch.tensor(plan.images),
        image_attention_mask=mask,
    )


RUNS: dict[str, Callable[..., Any]] = {
    "idefics2": idefics,
    "idefics3": idefics,
    "smolvlm": idefics,
    "pixtral": native,
    "mistral3": native,
    "glm4v": packed,
    "blip-2": blip,
    "instructblip": blip,
    "mllama": tiled,
    "phi4_multimodal": arranged,
}
#: Images of different sizes; those of Phi-4 are whole crops, so that no mask cuts any off.
IMAGES = {"phi4_multimodal": ((112, 56), (112, 56))}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_whole_run_counts_the_same(name: str) -> None:
    import torch

    config = CONFIGS[name]
    images = IMAGES.get(name, ((120, 60), (56, 100)))
    report = evaluate(read_config(config), Workload(images=images, text_tokens=7))
    parts: Parts = parts_class(config["model_type"])(on_cpu(config))
    generator = torch.Generator().manual_seed(0)
    visual: list[int] = []

    def run() -> None:
        def pixels(*shape: int) -> torch.Tensor:
            return torch.rand(*shape, generator=generator) + 0.1  # zeros would be padding

        visual.append(tokens_of(RUNS[name](parts.model, report.dense, pixels)))

    counted, analytic = parts.counted(run), report.bill("exact").by_component()
    beyond = parts.beyond(report.dense, 0)
    for component in ("vision", "connector"):
        expected = analytic[component] + beyond.get(component, 0)
        assert counted[component] == expected, component
        assert expected > 0
    assert visual == [report.dense.visual_input.visual_tokens]
    assert counted["elsewhere"] == 0
