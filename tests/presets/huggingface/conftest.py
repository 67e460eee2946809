"""Contents of config.json files: transformers' own of 65 checkpoints, and shrunk ones."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.presets.huggingface import read_config

CONFIGS = Path(__file__).parent / "configs"
Content = dict[str, Any]


@pytest.fixture
def content() -> Callable[[str], Content]:
    """Return a function that gives the content of a checkpoint's config.json."""

    def read(name: str) -> Content:
        found: Content = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
        return found

    return read


@pytest.fixture
def shrunk(content: Callable[[str], Content]) -> Callable[[str], Content]:
    """Return a function that gives the same with three layers in each stack."""

    def read(name: str) -> Content:
        found = copy.deepcopy(content(name))
        whole = found.get("thinker_config", found)
        for part in ("text_config", "vision_config", "qformer_config"):
            _shrink(whole.get(part) or {})
        if found["model_type"] == "phi4_multimodal":
            found["num_hidden_layers"] = 3
        return found

    return read


def _shrink(table: Content) -> None:
    for field in ("num_hidden_layers", "depth", "num_layers", "num_decoder_layers"):
        if field in table:
            table[field] = 3
    table.pop("layer_types", None)
    lists = {
        "fullatt_block_indexes": [1],
        "deepstack_visual_indexes": [0, 2],
        "cross_attention_layers": [1],
        "intermediate_layers_indices": [0, 2],
    }
    table.update({field: value for field, value in lists.items() if field in table})
    if "intermediate_layers_indices" in table:
        table["vision_output_dim"] = 3 * table["hidden_size"]
        table["num_global_layers"] = 2


@pytest.fixture
def refusal() -> Callable[..., InvalidInput]:
    """Return a function that reads a content and returns the error that refuses it."""

    def refused(config: Any, processor: Any = None) -> InvalidInput:
        with pytest.raises(InvalidInput) as caught:
            read_config(config, processor)
        sentence = str(caught.value)
        assert "\n" not in sentence
        assert len(sentence) < 900
        assert "; " in sentence  # what is wrong; the way out
        return caught.value

    return refused
