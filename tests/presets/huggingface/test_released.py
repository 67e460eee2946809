"""Files as checkpoints are released with: short, of several versions, with fields no class reads.

What each of them describes has the published parameter count of the checkpoint.
"""

from __future__ import annotations

import pytest
from released_configs import RELEASED
from vlm_tokencost.costmodel import Workload, model_parameters, plan
from vlm_tokencost.presets.huggingface import read_config


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_file_has_the_published_count(name: str) -> None:
    config, published = RELEASED[name]
    model = read_config(config)
    assert sum(model_parameters(model).values()) == published
    assert plan(model, Workload()).dense_visual_tokens > 0


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_file_may_be_quantised(name: str) -> None:
    config, published = RELEASED[name]
    quantised = {**config, "quantization_config": {"bits": 4, "quant_method": "awq"}}
    model = read_config(quantised)
    assert sum(model_parameters(model).values()) == published
    assert any("not quantised" in source for source in model.source)


def test_an_llm_in_the_top_table_and_in_its_own() -> None:
    flat, published = RELEASED["qwen2.5-vl-7b"]
    nested = {name: flat[name] for name in ("hidden_size", "intermediate_size", "vocab_size")}
    nested |= {"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4}
    # as transformers 4.5x writes: both
    both = {**flat, "text_config": {**nested, "model_type": "qwen2_5_vl_text"}}
    both.pop("max_window_layers")
    both.pop("sliding_window")
    both.pop("use_sliding_window")
    assert sum(model_parameters(read_config(both)).values()) == published
    assert read_config(both).decoder.hidden_size == read_config(flat).decoder.hidden_size
