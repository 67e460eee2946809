"""KV bytes against the caches that transformers fills: shapes of every layer, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from counted_runs import GEMMA_3, INTERNVL, LLAVA, MLLAMA, QWEN2_5, TEXT, Case, staged
from vlm_tokencost.costmodel import Schedule, Workload, evaluate
from vlm_tokencost.costmodel.memory import decode_read_bytes, kv_cache_bytes
from vlm_tokencost.presets import load_model
from vlm_tokencost.validation.forward import Driver

#: 16 bits a value.
BYTES = 2


def held(cache: Any) -> int:
    """Return the bytes of all keys and values that a cache holds."""
    return sum(BYTES * (layer.keys.numel() + layer.values.numel()) for layer in cache.layers)


@pytest.mark.parametrize("pruned", [False, True], ids=["dense", "pruned"])
@pytest.mark.parametrize("case", [LLAVA, INTERNVL, QWEN2_5, GEMMA_3, MLLAMA], ids=str)
def test_every_forward_reads_what_the_cache_then_holds(
    driver_of: Callable[..., Driver], case: Case, pruned: bool
) -> None:
    import torch

    model, driver = load_model(case.model), driver_of(case.model)
    workload = Workload(images=case.images, text_tokens=TEXT, batch=2)
    visual = evaluate(model, workload).dense.dense_visual_tokens
    schedule, reduction = None, None
    if pruned:
        schedule = Schedule.keep(0.5, layer=2)
        reduction = staged(visual, model.decoder.num_hidden_layers, (2, visual // 2))
    plan = evaluate(model, workload, schedule).scheduled
    request = driver.request(case.images, case.crops, TEXT, 2)
    prefilled = driver.prefill(request, reduction)
    assert held(prefilled.cache) == kv_cache_bytes(model, plan)
    for step in (1, 2, 3):
        driver.decode(prefilled, torch.zeros(2, 1, dtype=torch.int64))
        assert held(prefilled.cache) == decode_read_bytes(model, plan, step, step)
