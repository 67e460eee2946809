"""The closed form of a training step equals what a counter sees of forward and backward passes.

Full sizes on the meta device, eager attention; every family of the driver. Gradients are asked of
all logits, as the loss does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from counted_runs import (
    FAMILIES,
    GEMMA_3,
    INTERNVL,
    LLAVA,
    MLLAMA,
    PALIGEMMA,
    PALIGEMMA_2,
    QWEN3_MOE,
    SMOLVLM,
    TEXT,
    Case,
    staged,
)
from vlm_tokencost.costmodel import Report, Schedule, Workload, evaluate
from vlm_tokencost.costmodel.primitives.training import Training
from vlm_tokencost.costmodel.training import training_step
from vlm_tokencost.presets import load_model
from vlm_tokencost.validation.forward import Driver
from vlm_tokencost.validation.reduction import Reduction

DriverOf = Callable[..., Driver]
ALL = [*FAMILIES, QWEN3_MOE, SMOLVLM, PALIGEMMA, PALIGEMMA_2, GEMMA_3, MLLAMA]
#: Parts of a connector that transformers builds into the tower's module.
MERGERS = ("merger", "deepstack_merger_list")


def report_of(case: Case, schedule: Schedule | None = None) -> Report:
    workload = Workload(images=case.images, text_tokens=TEXT)
    return evaluate(load_model(case.model), workload, schedule)


def encoder_of(model: Any) -> Any:
    names = ("vision_tower", "visual", "vision_model")
    return next(getattr(model, name) for name in names if hasattr(model, name))


def counted(
    driver: Driver, case: Case, frozen: bool, reduction: Reduction | None = None
) -> tuple[int, int]:
    """Return the FLOPs of a forward pass, and with its backward pass."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model: Any = driver.model
    encoder = encoder_of(model.model)
    model.requires_grad_(True)
    if frozen:
        encoder.requires_grad_(False)
        for name in MERGERS:
            if hasattr(encoder, name):
                getattr(encoder, name).requires_grad_(True)
    request = driver.request(case.images, case.crops, TEXT, 1)
    try:
        with FlopCounterMode(display=False) as counter:
            with mock.patch("torch.no_grad", torch.enable_grad):  # the driver wants none
                prefilled = driver.prefill(request, reduction, "all")
            forward = counter.get_total_flops()
            prefilled.logits.sum().backward()
            return forward, counter.get_total_flops()
    finally:
        model.zero_grad(set_to_none=True)
        model.requires_grad_(False)


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen encoder", "trained encoder"])
@pytest.mark.parametrize("case", ALL, ids=str)
def test_every_family(driver_of: DriverOf, case: Case, frozen: bool) -> None:
    step = training_step(report_of(case), Training(frozen_encoder=frozen))
    assert (step.forward.total, step.total) == counted(driver_of(case.model), case, frozen)
    assert step.bounds == ()


@pytest.mark.parametrize("case", [LLAVA, INTERNVL], ids=str)
def test_a_schedule_is_active(driver_of: DriverOf, case: Case) -> None:
    model, dense = load_model(case.model), report_of(case).dense.dense_visual_tokens
    layers = model.decoder.num_hidden_layers
    reduction = staged(dense, layers, (2, dense // 2), (9, dense // 8))
    schedule = Schedule(
        stages=({"first_layer": 2, "ratio": 0.5}, {"first_layer": 9, "ratio": 0.125})
    )
    step = training_step(report_of(case, schedule), Training())
    expected = counted(driver_of(case.model), case, True, reduction)
    assert (step.forward.total, step.total) == expected


# --- Recomputation, in a small model on the CPU ---------------------------------------------------

FIGURES = {
    "vision_config": {
        "model_type": "clip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": 28,
        "patch_size": 7,
    },
    "text_config": {
        "model_type": "llama",
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 128,
        "max_position_embeddings": 128,
    },
    "image_token_index": 127,
    "image_seq_length": 16,
    "vision_feature_layer": -2,
}


def small_step(reentrant: bool | None, early_stop: bool = True) -> int:
    """Return the FLOPs of a step whose LLM is checkpointed so; None is not at all."""
    import torch
    from torch.utils.checkpoint import set_checkpoint_early_stop
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(0)
    model: Any = LlavaForConditionalGeneration._from_config(
        LlavaConfig(**FIGURES), attn_implementation="eager"
    )
    model.train()
    model.model.vision_tower.requires_grad_(False)
    if reentrant is not None:
        words = {"activation_checkpointing_kwargs": {"use_reentrant": reentrant}}
        model.model.language_model.activation_checkpointing_enable(**words)
    ids = torch.tensor([[1, 2, 3] + [127] * 16 + [4, 5]])
    images = torch.randn(1, 3, 28, 28)
    with FlopCounterMode(display=False) as counter, set_checkpoint_early_stop(early_stop):
        mask = torch.ones_like(ids)
        output = model(
            input_ids=ids, pixel_values=images, labels=ids, attention_mask=mask, use_cache=False
        )
        output.loss.backward()
    return int(counter.get_total_flops())


def test_recomputation() -> None:
    import json

    from transformers import LlavaConfig
    from vlm_tokencost.presets.huggingface import read_config

    written = json.loads(LlavaConfig(**FIGURES).to_json_string(use_diff=False))
    report = evaluate(read_config(written), Workload(text_tokens=5))
    once, again = (training_step(report, Training(recompute=how)) for how in (False, True))
    assert once.total == small_step(None)
    assert again.total == small_step(reentrant=True)
    assert again.total == small_step(reentrant=False, early_stop=False)
    # Stopping early spares the last product of each of 3 layers: 21 tokens, 96 → 48 features
    assert again.total - small_step(reentrant=False) == 3 * 2 * 21 * 96 * 48
