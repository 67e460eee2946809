"""A preset and the config.json of the same checkpoint, written independently, cost the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vlm_tokencost.costmodel import Counting, Model, Workload, lower, model_parameters, plan
from vlm_tokencost.presets import list_models, load_model
from vlm_tokencost.presets.huggingface import read_config

Contents = Callable[[str], dict[str, Any]]
FILES = {path.stem for path in (Path(__file__).parent / "configs").glob("*.json")}
#: What the presets know and the files do not say: heads stored twice, parts that hear and speak.
STORED = {
    "fastvlm-0.5b": {"head"},
    "ovis2-1b": {"head"},
    "ovis2-2b": {"head"},
    "blip2-flan-t5-xl": {"head"},
    "instructblip-flan-t5-xl": {"head"},
    "phi-4-multimodal": {"other"},
    "qwen2.5-omni-7b": {"other"},
}


def operators(model: Model) -> list[tuple[str, str, int]]:
    """Return what an image of 448×448 runs, in no order: component, part, multiply-accumulates."""
    dense = plan(model, Workload(images=((448, 448),)))
    found = lower(model, dense, Counting())
    return sorted((each.component, each.part, each.macs) for each in found)


@pytest.mark.parametrize("name", sorted(FILES & set(list_models())))
def test_a_file_costs_what_the_preset_costs(name: str, content: Contents) -> None:
    preset, read = load_model(name), read_config(content(name))
    if name == "phi-4-multimodal":  # its config.json has no adapters
        preset = type(preset)(
            **{
                **dict(preset),
                "decoder": type(preset.decoder)(**{**dict(preset.decoder), "adapter": None}),
            }
        )
    assert operators(read) == operators(preset)
    ours, theirs = model_parameters(read), model_parameters(preset)
    differing = {part for part in ours.keys() | theirs.keys() if ours.get(part) != theirs.get(part)}
    assert differing <= STORED.get(name, set())
    for field in ("sliding_window", "bidirectional", "tie_word_embeddings"):
        assert getattr(read.decoder, field) == getattr(preset.decoder, field)
    for field in ("contributing_layers", "class_token", "class_token_kept", "output_features"):
        assert getattr(read.vision, field, None) == getattr(preset.vision, field, None)


def marks(model: Model) -> set[str]:
    """Return the figures of the token rule that no source settles."""
    return {name for name in model.unverified if name.startswith("token_rule.")}


@pytest.mark.parametrize("name", sorted(FILES & set(list_models())))
def test_a_file_has_the_preset_s_marks(name: str, content: Contents) -> None:
    assert marks(load_model(name)) <= marks(read_config(content(name)))


def test_some_presets_have_marks() -> None:
    marked = {name for name in FILES & set(list_models()) if marks(load_model(name))}
    assert {"gemma3-4b", "idefics3-8b", "smolvlm2-256m", "qwen3-vl-8b", "ovis2-8b"} <= marked


def test_a_figure_that_a_file_settles_has_no_mark(content: Contents) -> None:
    cut = {"crop_to_patches": True, "max_patches": 9}
    assert marks(read_config(content("ovis2-8b"), cut)) == set()
    assert marks(read_config(content("idefics3-8b"), {"do_image_splitting": False})) == set()
