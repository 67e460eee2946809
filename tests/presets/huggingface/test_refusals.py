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
