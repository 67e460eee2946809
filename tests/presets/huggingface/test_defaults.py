"""Class defaults: those of the installed transformers, taken where a file has none."""

from __future__ import annotations

import copy
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vlm_tokencost.presets.huggingface import defaults, read_config
from vlm_tokencost.presets.huggingface.families import FAMILIES

Contents = Callable[[str], dict[str, Any]]
NAMES = sorted(path.stem for path in (Path(__file__).parent / "configs").glob("*.json"))


def test_the_defaults_are_those_of_transformers() -> None:
    path = Path(__file__).parent / "write_defaults.py"
    spec = importlib.util.spec_from_file_location("write_defaults", path)
    assert spec is not None
    assert spec.loader is not None
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    kept = json.loads(Path(defaults.__file__).with_suffix(".json").read_text(encoding="utf-8"))
    assert kept == writer.class_defaults(), "run tests/presets/huggingface/write_defaults.py"


def without_defaults(table: dict[str, Any], model_type: str, path: str, gone: list[str]) -> None:
    """Remove what equals the class's default, in every table; note what was removed in `gone`."""
    import dataclasses

    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = CONFIG_MAPPING[model_type]
    for part, spec in config.sub_configs_defaults.items():
        if table.get(part):
            named = table[part].get("model_type", spec.model_type)
            without_defaults(table[part], named, f"{path}{part}.", gone)
    for field in dataclasses.fields(config):
        default = field.default
        if field.name in table and field.name not in config.sub_configs_defaults:
            if isinstance(default, tuple):
                default = list(default)
            if table[field.name] == default and type(table[field.name]) is type(default):
                del table[field.name]
                gone.append(path + field.name)


@pytest.mark.parametrize("name", [name for name in NAMES if "fastvlm" not in name])
def test_a_file_without_its_defaults_says_the_same(name: str, content: Contents) -> None:
    config = content(name)
    short, gone = copy.deepcopy(config), []
    without_defaults(short, config["model_type"], "", gone)
    assert gone
    whole, read = read_config(config), read_config(short)
    assert dict(whole) | {"defaulted": ()} == dict(read) | {"defaulted": ()}
    assert set(read.defaulted) - set(whole.defaulted) <= set(gone)


def test_what_was_defaulted_is_told() -> None:
    # LlavaConfig, LlamaConfig and CLIPVisionConfig of transformers 5.23
    model = read_config(
        {
            "model_type": "llava",
            "text_config": {"model_type": "llama", "num_hidden_layers": 2},
            "vision_config": {"hidden_size": 1_024, "num_attention_heads": 16, "patch_size": 14},
        }
    )
    decoder, vision = model.decoder, model.vision
    assert (decoder.hidden_size, decoder.feed_forward.intermediate_size) == (4_096, 11_008)
    assert (decoder.vocab_size, decoder.attention.num_key_value_heads) == (32_000, 32)
    assert (vision.num_hidden_layers, vision.feed_forward.intermediate_size) == (12, 3_072)
    assert (vision.position_embeddings, vision.contributing_layers) == (257, 11)
    assert set(model.defaulted) == {
        "tie_word_embeddings",
        "multimodal_projector_bias",
        "vision_feature_layer",
        "vision_feature_select_strategy",
        "text_config.hidden_size",
        "text_config.intermediate_size",
        "text_config.num_attention_heads",
        "text_config.num_key_value_heads",
        "text_config.head_dim",
        "text_config.vocab_size",
        "text_config.attention_bias",
        "text_config.mlp_bias",
        "text_config.tie_word_embeddings",
        "vision_config.num_hidden_layers",
        "vision_config.intermediate_size",
        "vision_config.image_size",
        "vision_config.num_channels",
    }


def test_a_missing_table_is_the_family_s_own() -> None:
    # LlavaConfig: CLIP ViT-L/14-336, not CLIPVisionConfig's ViT-B/32
    model = read_config({"model_type": "llava"})
    assert (model.vision.hidden_size, model.vision.position_embeddings) == (1_024, 577)
    assert {"vision_config", "text_config"} <= set(model.defaulted)
    assert not any(name.startswith("vision_config.") for name in model.defaulted)
    # PaliGemmaConfig: SigLIP and Gemma 2B of its own
    model = read_config({"model_type": "paligemma"})
    assert (model.decoder.num_hidden_layers, model.decoder.attention.num_key_value_heads) == (18, 1)
    assert model.vision.position_embeddings == 256


def test_null_is_not_the_same_as_missing() -> None:
    # MistralConfig: sliding_window 4096 unless it is null
    def window(**text: Any) -> Any:
        mistral = {"model_type": "mistral", "num_hidden_layers": 2, **text}
        return read_config({"model_type": "llava", "text_config": mistral}).decoder.sliding_window

    assert window(sliding_window=None) is None
    assert (window().size, window().layers) == (4_096, (0, 1))


@pytest.mark.parametrize(
    ("text", "size", "layers"),
    [
        # Qwen2Config: off unless use_sliding_window, then from max_window_layers on
        ({"model_type": "qwen2", "num_hidden_layers": 4}, None, ()),
        (
            {
                "model_type": "qwen2",
                "num_hidden_layers": 4,
                "use_sliding_window": True,
                "max_window_layers": 3,
                "sliding_window": 99,
            },
            99,
            (3,),
        ),
        (
            {
                "model_type": "qwen2",
                "num_hidden_layers": 3,
                "use_sliding_window": True,
                "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            },
            4_096,
            (0, 2),
        ),
        ({"model_type": "gemma2", "num_hidden_layers": 5}, 4_096, (0, 2, 4)),
        # five of six layers; three of four
        ({"model_type": "gemma3_text", "num_hidden_layers": 7}, 4_096, (0, 1, 2, 3, 4, 6)),
        ({"model_type": "cohere2", "num_hidden_layers": 5}, 4_096, (0, 1, 2, 4)),
        (
            {"model_type": "cohere2", "num_hidden_layers": 5, "sliding_window_pattern": 2},
            4_096,
            (0, 2, 4),
        ),
        ({"model_type": "phi3", "num_hidden_layers": 2, "sliding_window": 7}, 7, (0, 1)),
        ({"model_type": "mixtral", "num_hidden_layers": 2}, None, ()),
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else None,
)
def test_windows(text: dict[str, Any], size: int | None, layers: tuple[int, ...]) -> None:
    window = read_config({"model_type": "llava", "text_config": text}).decoder.sliding_window
    found = (window.size, window.layers) if window else (None, ())
    assert found == (size, layers)


def test_every_family_has_a_reader() -> None:
    from vlm_tokencost.presets.huggingface.families import family_reader

    for model_type in FAMILIES:
        assert callable(family_reader(model_type))
        assert defaults.class_defaults(model_type).name.endswith("Config")
