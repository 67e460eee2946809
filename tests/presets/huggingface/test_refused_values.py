"""What config.json files hold that is refused: values, fields, names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.presets.huggingface import read_config

Contents = Callable[[str], dict[str, Any]]
Refusal = Callable[..., InvalidInput]
TEXT, VISION = "text_config", "vision_config"


@pytest.mark.parametrize(
    ("value", "fragment"),
    [
        (0, "0 is below 1"),
        (-4_096, "-4096 is below 1"),
        (10**9 + 1, "; give a plausible number"),
        (10**30, "; give a plausible number"),
        (4096.0, "4096.0 is not a whole number"),
        ("4096", "4096 is not a whole number"),
        (True, "true is not a whole number"),
        (None, "null is not a whole number"),
        ([4096], "is not a whole number"),
        ({}, "is not a whole number"),
    ],
    ids=str,
)
@pytest.mark.parametrize("field", ["hidden_size", "num_hidden_layers", "vocab_size"])
def test_a_number_that_is_none(
    field: str, value: object, fragment: str, content: Contents, refusal: Refusal
) -> None:
    config = content("llava-1.5-7b")
    config[TEXT][field] = value
    error = refusal(config)
    assert error.field == f"config.text_config.{field}"
    assert fragment in str(error)


@pytest.mark.parametrize(
    ("table", "field", "most"),
    [
        (TEXT, "hidden_size", 2**20),
        (TEXT, "intermediate_size", 2**20),
        (TEXT, "head_dim", 2**20),
        (TEXT, "num_attention_heads", 4_096),
        (TEXT, "num_key_value_heads", 4_096),
        (TEXT, "vocab_size", 2**24),
        (VISION, "num_attention_heads", 4_096),
        (TEXT, "num_hidden_layers", 10_000),
        (VISION, "image_size", 65_535),
    ],
)
def test_numbers_have_a_limit(
    table: str, field: str, most: int, content: Contents, refusal: Refusal
) -> None:
    config = content("llava-1.5-7b")
    config[table][field] = most + 1
    assert f"is above {most:,}" in str(refusal(config))


#: (file, table, field, value, part of the sentence)
FIELDS: list[tuple[str, str, str, Any, str]] = [
    ("llava-1.5-7b", "", "text_config", 3, "is not a table of fields"),
    ("llava-1.5-7b", "", "text_config", [1, {"a": None}], 'text_config [1, {"a": null}] is not'),
    ("llava-1.5-7b", "", "vision_config", "clip", "is not a table of fields"),
    ("llava-1.5-7b", "", "vision_feature_layer", 25, "names no layer of the encoder, which has 24"),
    ("llava-1.5-7b", "", "vision_feature_layer", -25, "names no layer"),
    ("llava-1.5-7b", "", "vision_feature_layer", 0, "names no layer"),
    ("llava-1.5-7b", "", "vision_feature_layer", [], "is not one layer"),
    ("llava-1.5-7b", "", "vision_feature_layer", [-2, "x"], "x is not a whole number"),
    ("llava-1.5-7b", "", "vision_feature_select_strategy", "cls", "choose from default, full"),
    ("llava-1.5-7b", "", "multimodal_projector_bias", 1, "1 is neither true nor false"),
    ("llava-1.5-7b", "", "tie_word_embeddings", "no", "no is neither true nor false"),
    ("llava-1.5-7b", TEXT, "num_key_value_heads", 5, "does not divide num_attention_heads 32"),
    ("llava-1.5-7b", VISION, "num_attention_heads", 10, "hidden_size 1024 is no multiple of"),
    ("llava-1.5-7b", VISION, "patch_size", 500, "image_size 336 is below patch_size 500"),
    ("llava-1.5-7b", VISION, "image_size", [336, 448], "is no square"),
    ("llava-1.5-7b", VISION, "image_size", [336], "is not a size"),
    ("llava-next-vicuna-7b", "", "vision_feature_select_strategy", "full", "keeps the class token"),
    ("llava-next-vicuna-7b", "", "image_grid_pinpoints", [[100, 336]], "100×336 is no multiple"),
    ("llava-next-vicuna-7b", "", "image_grid_pinpoints", [], "is not a list of sizes"),
    ("llava-next-vicuna-7b", "", "image_grid_pinpoints", [[336]], "is not a size"),
    ("llava-next-video-7b", "", "spatial_pool_mode", "conv", "choose from average, max"),
    ("llava-onevision-7b", "", "vision_feature_select_strategy", "default", "has no class token"),
    ("llava-onevision-7b", "", "vision_aspect_ratio", "anyres", "give anyres_max_ and a number"),
    ("llava-onevision-7b", "", "vision_aspect_ratio", 9, "give anyres_max_ and a number"),
    (
        "llava-onevision-7b",
        "",
        "vision_aspect_ratio",
        "anyres_max_0",
        "anyres_max_0 is not between",
    ),
    (
        "llava-onevision-7b",
        TEXT,
        "layer_types",
        ["full_attention"],
        'layer_types ["full_attention"] has 1 entries for 28 layers',
    ),
    ("llava-onevision-7b", TEXT, "layer_types", ["mamba"] * 28, "mamba is not understood"),
    ("llava-onevision-7b", TEXT, "layer_types", ["sliding_attention"] * 28, "has no window"),
    ("internvl3-8b", "", "downsample_ratio", 0.3, "is no part in a whole number"),
    ("internvl3-8b", "", "downsample_ratio", 0, "is not in (0, 1]"),
    ("internvl3-8b", "", "downsample_ratio", "half", "is not in (0, 1]"),
    ("internvl3-8b", "", "vision_feature_layer", [-1, -2], "is not one layer"),
    ("internvl3-8b", VISION, "norm_type", "group", "choose from layer_norm, rms_norm"),
    ("internvl3-8b", VISION, "use_qk_norm", True, "norms of query and key are RMS norms"),
    ("internvl3-8b", VISION, "image_size", [462, 462], "image_size [462, 462] makes 33×33"),
    ("internvl3-8b", VISION, "image_size", [490, 490], "pixel shuffle 2 does not divide"),
    ("paligemma-3b-224", "", "projection_dim", 1_024, "is not text_config.hidden_size 2048"),
    ("paligemma-3b-224", TEXT, "use_bidirectional_attention", False, "only true can be read"),
    ("gemma3-4b", "", "mm_tokens_per_image", 200, "cannot be reached by averaging"),
    ("gemma3-4b", TEXT, "use_bidirectional_attention", True, "it changes the window"),
    ("idefics3-8b", "", "scale_factor", 5, "which scale_factor 5 does not divide"),
    ("qwen2-vl-7b", VISION, "hidden_size", 100, "is not text_config.hidden_size 3584"),
    ("qwen2-vl-7b", VISION, "in_chans", 4, "only 3 can be read"),
    ("qwen2.5-vl-7b", VISION, "window_size", 20, "is below a merged patch of 28 pixels"),
    ("qwen2.5-vl-7b", VISION, "fullatt_block_indexes", 7, "is not a list"),
    ("qwen2.5-vl-7b", VISION, "fullatt_block_indexes", [-1], "fullatt_block_indexes.0 -1"),
    ("qwen2.5-vl-7b", VISION, "fullatt_block_indexes", [7, 32], "beyond the last, 31"),
    ("llama3.2-vision-11b", TEXT, "cross_attention_layers", [3, 40], "beyond the last, 39"),
    ("qwen3-vl-8b", VISION, "deepstack_visual_indexes", [27], "is not a growing list of layers"),
    ("qwen3-vl-8b", VISION, "deepstack_visual_indexes", [3, 3], "is not a growing list of layers"),
    ("qwen3-vl-30b-a3b", TEXT, "num_experts_per_tok", 129, "exceeds num_experts 128"),
    ("qwen3-vl-30b-a3b", TEXT, "mlp_only_layers", [48], "names a layer beyond the last, 47"),
    ("ovis2-8b", VISION, "num_visual_indicator_tokens", 65_536, "leaves none of vocab_size"),
    ("ovis2-8b", "", "hidden_size", 1, "is not text_config.hidden_size 3584"),
    ("llama3.2-vision-11b", VISION, "vision_output_dim", 1_280, "is not hidden_size 1280 for each"),
    ("llama3.2-vision-11b", VISION, "supported_aspect_ratios", 4, "is not a list of pairs"),
    ("llama3.2-vision-11b", TEXT, "cross_attention_layers", [], "names no layer"),
    ("blip2-opt-2.7b", TEXT, "do_layer_norm_before", False, "only true can be read"),
    ("blip2-opt-2.7b", TEXT, "word_embed_proj_dim", 512, "only equal sizes can be read"),
    ("blip2-opt-2.7b", "qformer_config", "use_qformer_text_input", True, "only false can be read"),
    ("blip2-flan-t5-xl", TEXT, "feed_forward_proj", "silu-gated", "is not understood"),
    ("blip2-flan-t5-xl", TEXT, "is_gated_act", False, "it differs from feed_forward_proj"),
    ("phi-4-multimodal", VISION, "feature_layer", 3, "names no layer"),
    ("phi-4-multimodal", VISION, "crop_size", 336, "it differs from crop_size"),
    ("smolvlm-256m", "", "use_resampler", True, "the class has no resampler"),
]


@pytest.mark.parametrize("case", FIELDS, ids=lambda case: f"{case[0]}-{case[2]}-{case[3]}"[:60])
def test_a_field_that_does_not_fit(
    case: tuple[str, str, str, Any, str], content: Contents, refusal: Refusal
) -> None:
    name, table, field, value, fragment = case
    config = content(name)
    (config[table] if table else config)[field] = value
    error = refusal(config)
    assert error.field.startswith(f"config.{table}." if table else "config.")
    assert fragment in str(error)


#: Fields that a config of such a model might have, and that would change its cost.
@pytest.mark.parametrize(
    ("name", "table", "field", "value"),
    [
        ("llava-1.5-7b", "", "mm_resampler_type", "spatial"),
        ("llava-1.5-7b", TEXT, "num_experts", 8),
        ("llava-1.5-7b", TEXT, "per_layer_config", {"0": {"hidden_size": 1}}),
        ("llava-1.5-7b", TEXT, "add_cross_attention", True),
        ("llava-1.5-7b", VISION, "pruned_heads", {"0": [1]}),
        ("llava-1.5-7b", VISION, "num_global_layers", 8),
        ("qwen2.5-vl-7b", VISION, "use_registers", True),
        ("internvl3-8b", VISION, "qk_normalization", True),
        ("gemma3-4b", TEXT, "hidden_size_per_layer_input", 256),
        ("blip2-opt-2.7b", "qformer_config", "adapters", [1, 2]),
        ("qwen2.5-omni-7b", "", "sparse_decoding", 3),
    ],
)
def test_a_field_that_is_not_understood(
    name: str, table: str, field: str, value: object, content: Contents, refusal: Refusal
) -> None:
    config = content(name)
    (config[table] if table else config)[field] = value
    error = refusal(config)
    assert error.field == f"config.{table}.{field}" if table else f"config.{field}"
    assert "is not understood for" in error.problem
    assert "could change the cost" in error.problem
    # null says that there is none
    (config[table] if table else config)[field] = None
    assert read_config(config).id == "config"


def test_one_field_under_two_names(content: Contents, refusal: Refusal) -> None:
    config = content("blip2-flan-t5-xl")
    config[TEXT]["hidden_size"] = config[TEXT]["d_model"]
    assert read_config(config).decoder.hidden_size == 2_048
    config[TEXT]["hidden_size"] = 99
    assert "are the same field with two values" in str(refusal(config))


@pytest.mark.parametrize("model_id", ["", " ", "a\nb", 'a"b', "a]", "x" * 101, "a\\b"])
def test_an_id_that_no_preset_can_have(model_id: str, content: Contents) -> None:
    with pytest.raises(InvalidInput, match="is no id for a model") as caught:
        read_config(content("llava-1.5-7b"), model_id=model_id or " ")
    assert caught.value.field == "id"


def test_deep_mappings_and_odd_keys_are_refused(refusal: Refusal) -> None:
    deep: dict[str, Any] = {"model_type": "llava"}
    for _ in range(40):
        deep = {"model_type": "llava", "nested": deep}
    assert "deeper than 32" in str(refusal(deep))
    assert "a key that is no text" in str(refusal({"model_type": "llava", 3: 4}))


def test_a_long_name_is_clipped(refusal: Refusal) -> None:
    assert len(str(refusal({"model_type": "llava", "x" * 100_000: 1}))) < 900
    assert len(str(refusal({"model_type": "x" * 100_000}))) < 2_000
