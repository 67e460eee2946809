"""Files and fields that are refused, each in one sentence that names them and the way out."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.presets import list_models
from vlm_tokencost.presets.huggingface import read_config, read_file
from vlm_tokencost.presets.huggingface.model_types import REMOTE, is_original_llava

Contents = Callable[[str], dict[str, Any]]
Refusal = Callable[..., InvalidInput]
TEXT, VISION = "text_config", "vision_config"


# --- files ---------------------------------------------------------------------------------------


@pytest.fixture
def refused_file(tmp_path: Path) -> Callable[[bytes], str]:
    """Return a function that reads a file with some bytes and returns the sentence refusing it."""

    def refused(content: bytes) -> str:
        path = tmp_path / "config.json"
        path.write_bytes(content)
        with pytest.raises(InvalidInput) as caught:
            read_file(path)
        sentence = str(caught.value)
        assert str(path) in sentence
        assert "\n" not in sentence
        return sentence

    return refused


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        pytest.param(b"", "is empty, which is not JSON", id="empty"),
        pytest.param(b"{", "is not JSON", id="unfinished"),
        pytest.param(b"\xff\xfe{", "is not UTF-8", id="bytes"),
        pytest.param(b"PK\x03\x04" + b"\0" * 99, "is not", id="archive"),
        pytest.param(b"[1]", "holds no object", id="list"),
        pytest.param(b"3", "holds no object", id="number"),
        pytest.param(b'{"a": NaN}', "NaN, which is not JSON", id="nan"),
        pytest.param(b'{"a": -Infinity}', "-Infinity, which is not JSON", id="infinity"),
        pytest.param(b'{"a": 1, "a": 2}', 'the key "a" twice', id="twice"),
        pytest.param(b'{"t": {"b": 1, "b": 1}}', 'the key "b" twice', id="twice-inside"),
        pytest.param(b'{"a": ' + b"9" * 5_000 + b"}", "number of 5,000 digits", id="digits"),
        pytest.param(b'{"a":' * 33 + b"1" + b"}" * 33, "deeper than 32", id="deep"),
        pytest.param(b"[" * 100_000, "deeper than 32", id="very-deep"),
        pytest.param(b'{"a": "' + b"x" * 2**20 + b'"}', "larger than 1,048,576 bytes", id="large"),
    ],
)
def test_a_malformed_file(
    content: bytes, fragment: str, refused_file: Callable[[bytes], str]
) -> None:
    assert fragment in refused_file(content)


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    text = json.dumps({"model_type": "llava"})
    path.write_text(text + " " * (2**20 - len(text)))
    assert read_file(path).model_type == "llava"


def test_a_byte_order_mark_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'\xef\xbb\xbf{"model_type": "llava"}')
    assert read_file(path).id == "x"


@pytest.mark.parametrize(
    ("path", "fragment"),
    [
        ("missing.json", "does not exist"),
        (".", "is a folder without a config.json"),
        ("\0", "does not exist"),
        ("x" * 5_000, "cannot be read"),
        ("/dev/null/config.json", ""),
        ("", "is a folder without a config.json"),
    ],
)
def test_no_such_file(
    path: str, fragment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput) as caught:
        read_file(path)
    assert fragment in str(caught.value)
    assert caught.value.field == "config"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are POSIX's")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(InvalidInput, match="is no regular file"):
        read_file(tmp_path / "config.json")


def test_the_file_and_the_field_are_named(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"model_type": "llava", "text_config": {"hidden_size": -1}}')
    with pytest.raises(InvalidInput) as caught:
        read_file(tmp_path)
    assert str(caught.value) == (
        f"{path}: text_config.hidden_size -1 is below 1; give a whole number of at least 1"
    )
    (tmp_path / "preprocessor_config.json").write_text('{"crop_size": {"height": "336"}}')
    path.write_text('{"model_type": "llava"}')
    with pytest.raises(InvalidInput) as caught:
        read_file(path)
    assert str(caught.value).startswith(
        f"{tmp_path / 'preprocessor_config.json'}: crop_size.height 336 is not a whole number; "
    )


# --- model types ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "fragment"),
    [
        ({}, "model_type is missing"),
        ({"model_type": None}, "model_type is missing"),
        ({"model_type": "lava"}, "lava is not known; did you mean llava?"),
        ({"model_type": "qwen2.5_vl"}, "did you mean qwen2_5_vl?"),
        ({"model_type": "resnet50x"}, "is not known; choose from llava, "),
        ({"model_type": 3}, "is not known"),
        ({"model_type": ["llava"]}, "is not known"),
        ({"model_type": "llama"}, "is a language model alone"),
        ({"model_type": "siglip_vision_model"}, "is a vision encoder alone"),
        ({"model_type": "own", "auto_map": {"AutoModel": "x.Y"}}, "code of its own (auto_map)"),
        # far from any name: nothing is guessed
        ({"model_type": "clip"}, "is not known; choose from llava, "),
        ({"model_type": "llama4"}, "is not known; choose from llava, "),
    ],
    ids=str,
)
def test_a_model_type_that_is_not_read(
    config: dict[str, Any], fragment: str, refusal: Refusal
) -> None:
    error = refusal(config)
    assert error.field == "config.model_type"
    assert fragment in str(error)


def test_a_nested_model_type_that_is_not_read(refusal: Refusal) -> None:
    error = refusal({"model_type": "llava", TEXT: {"model_type": "qwen3_next"}})
    assert error.field == "config.text_config.model_type"
    assert "is not known; choose from llama, " in str(error)
    error = refusal({"model_type": "llava", TEXT: {"model_type": "qwen_2"}})
    assert "did you mean qwen2?" in str(error)
    error = refusal({"model_type": "llava", VISION: {"model_type": "swin"}})
    assert "is not known; choose from clip_vision_model, " in str(error)


ORIGINAL = {"mm_vision_tower": "openai/clip-vit-large-patch14-336", "mm_hidden_size": 1_024}


@pytest.mark.parametrize(
    "config",
    [
        {"hidden_size": 4_096, "model_type": "llava", **ORIGINAL},
        {**ORIGINAL, "model_type": "llava"},
        {"architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava", "hidden_size": 1},
        {"architectures": ["LlavaMistralForCausalLM"], "auto_map": {}, "model_type": "mistral"},
        {"image_aspect_ratio": "anyres", "model_type": "llava_mistral"},
        {"model_type": "llava_llama", **ORIGINAL},
        {"model_type": "llava_qwen", "hidden_size": 3_584},
        {"model_type": "llava", "vision_config": {}, **ORIGINAL},
        ORIGINAL,
    ],
    ids=str,
)
def test_files_of_llava_s_original_code(config: dict[str, Any], refusal: Refusal) -> None:
    error = refusal(config)
    assert error.field == "config.model_type"
    assert error.problem == "belongs to LLaVA's original code, not to transformers"
    assert "llava-hf conversion, or a preset (`tokencost models list llava`)" in error.way_out


def test_a_field_of_gemma_is_no_sign_of_llava() -> None:
    vision = {"image_size": 224, "patch_size": 14}
    config = {"model_type": "gemma3", "mm_tokens_per_image": 16}
    assert read_config({**config, VISION: vision}).model_type == "gemma3"
    assert not is_original_llava(config)


@pytest.mark.parametrize("model_type", REMOTE)
def test_remote_code_has_presets(model_type: str, refusal: Refusal) -> None:
    # some files name an auto_map, and MobileVLM's are LLaVA's besides
    for more in ({}, {"auto_map": {"AutoModel": "x.Y"}}, ORIGINAL):
        error = refusal({**more, "model_type": model_type})
        assert error.field == "config.model_type"
        assert "remote code" in error.problem
        found = re.search(r"`tokencost models list ([^`]+)`", error.way_out)
        assert found is not None
        assert any(found[1] in name for name in list_models())


def test_conversions_are_named(refusal: Refusal) -> None:
    assert str(refusal({"model_type": "internvl_chat"})).endswith(
        "; use the -hf conversion, or a preset (`tokencost models list internvl`)"
    )


def test_long_values_are_shortened(content: Contents, refusal: Refusal) -> None:
    config = content("llava-1.5-7b")
    config[TEXT]["per_layer_config"] = {"layers": list(range(1_000))}
    sentence = str(refusal(config))
    assert '{"layers": [0, 1, 2, ' in sentence
    assert "… is not understood for llama" in sentence
    assert "null" not in sentence


# --- values --------------------------------------------------------------------------------------


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
