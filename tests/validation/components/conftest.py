"""Configs of few layers, of every kind that a model has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from vlm_tokencost.validation.components.build import load

#: Layers of every stack but where a pattern needs more of them.
LAYERS = 3
#: Names that the configs have for the number of a stack's layers.
DEPTHS = ("num_hidden_layers", "depth", "num_layers", "num_decoder_layers", "resampler_depth")


def cut(table: dict[str, Any]) -> dict[str, Any]:
    """Return a config whose stacks have few layers, with some of each kind."""
    found = {key: cut(value) if isinstance(value, dict) else value for key, value in table.items()}
    layers = LAYERS
    if "layer_types" in table or "sliding_window_pattern" in table:
        layers = 6  # Gemma 3 has one full layer in six, Cohere 2 one in four, Gemma 2 in two
    if "intermediate_layers_indices" in table:
        # five states, concatenated with the last
        found.update(intermediate_layers_indices=[0, 1, 2, 3, 4], num_global_layers=2)
        layers = 6
    if "cross_attention_layers" in table:
        found["cross_attention_layers"] = [1]
    if "fullatt_block_indexes" in table:
        found["fullatt_block_indexes"] = [1]
    if "deepstack_visual_indexes" in table:
        found["deepstack_visual_indexes"] = [0, 2]
    if table.get("layer_types") is not None:
        found["layer_types"] = table["layer_types"][:layers]
    found.update({name: layers for name in DEPTHS if table.get(name) is not None})
    return found


@pytest.fixture(scope="session")
def shallow() -> Callable[[str], dict[str, Any]]:
    """Return what cuts a config of the package."""
    return lambda name: cut(load(name))
