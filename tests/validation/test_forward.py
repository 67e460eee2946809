"""The driver against transformers itself: keep-everything runs are the model's own forward pass."""

from __future__ import annotations

from typing import Any

import pytest
from small_models import ONE_IMAGE, SEVERAL_IMAGES, Attention, Small, driven, own, request_of
from vlm_tokencost.validation.forward import Driver
from vlm_tokencost.validation.reduction import Reduction

torch = pytest.importorskip("torch")
DECODE_FORWARDS = 20

each_attention = pytest.mark.parametrize("attention", ["sdpa", "eager"])
each_batch = pytest.mark.parametrize("batch", [1, 2])


def inputs_of(driver: Driver, case: Small, batch: int) -> dict[str, Any]:
    inputs = driver.model_inputs(request_of(driver, case, batch))
    # Without a mask of its own, generate looks for padding in the ids, and says so.
    return {**inputs, "attention_mask": torch.ones_like(inputs["input_ids"])}


@each_batch
@each_attention
@pytest.mark.parametrize("case", [*ONE_IMAGE, *SEVERAL_IMAGES], ids=str)
def test_keep_everything_is_the_models_own_generation(
    case: Small, attention: Attention, batch: int
) -> None:
    driver, model = driven(case.model, attention), own(case.model, attention)
    inputs = inputs_of(driver, case, batch)
    prefilled = driver.prefill(request_of(driver, case, batch), logits="all")
    assert prefilled.stages == {}
    with torch.no_grad():
        assert torch.equal(prefilled.logits, model(**inputs).logits)
    length = inputs["input_ids"].shape[1]
    generated = model.generate(
        **inputs,
        max_new_tokens=DECODE_FORWARDS + 1,
        min_new_tokens=DECODE_FORWARDS + 1,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    tokens = generated.sequences[:, length:]
    for request in tokens.tolist():
        assert len(set(request)) > 5, "a constant continuation would prove little"
    for step in range(DECODE_FORWARDS):
        logits = driver.decode(prefilled, tokens[:, step : step + 1])
        assert torch.equal(logits[:, 0], generated.logits[step + 1]), f"decode forward {step + 1}"
    assert prefilled.cache.get_seq_length() == length + DECODE_FORWARDS
