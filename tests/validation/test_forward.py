"""The driver against transformers itself: keep-everything runs are the model's own forward pass."""

from __future__ import annotations

import re
from typing import Any

import pytest
from small_models import (
    CROSSED,
    FURTHER,
    FURTHER_SEVERAL,
    ONE_IMAGE,
    SEVERAL_IMAGES,
    Attention,
    Small,
    attentions,
    driven,
    own,
    request_of,
)
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.forward import Driver
from vlm_tokencost.validation.reduction import Reduction

torch = pytest.importorskip("torch")
DECODE_FORWARDS = 20

FAMILIES = [*ONE_IMAGE, *SEVERAL_IMAGES, *FURTHER, *FURTHER_SEVERAL, *CROSSED]
each_batch = pytest.mark.parametrize("batch", [1, 2])


def inputs_of(driver: Driver, case: Small, batch: int) -> dict[str, Any]:
    inputs = driver.model_inputs(request_of(driver, case, batch))
    # Without a mask of its own, generate looks for padding in the ids, and says so.
    return {**inputs, "attention_mask": torch.ones_like(inputs["input_ids"])}


@each_batch
@pytest.mark.parametrize(
    ("case", "attention"),
    [
        pytest.param(case, attention, id=f"{case}-{attention}")
        for case in FAMILIES
        for attention in attentions(case)
    ],
)
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
    torch.manual_seed(0)
    generated = model.generate(
        **inputs,
        max_new_tokens=DECODE_FORWARDS + 1,
        min_new_tokens=DECODE_FORWARDS + 1,
        do_sample=case.model == "gemma3-4b",  # whose likeliest tokens soon repeat
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


# --- Refusals -------------------------------------------------------------------------------------

LLAVA, QWENS, INTERNVL = ONE_IMAGE[0], ONE_IMAGE[4:], ONE_IMAGE[3]
JOINS = "its connector joins neighbouring patches, so nothing can "


def refused(case: Small, reduction: Reduction, sentence: str) -> None:
    driver = driven(case.model)
    with pytest.raises(InvalidInput, match=re.escape(sentence)):
        driver.prefill(request_of(driver, case), reduction)


@pytest.mark.parametrize("case", [INTERNVL, *QWENS], ids=str)
def test_merging_where_the_connector_joins_neighbours(case: Small) -> None:
    blocks = len(driven(case.model).adapter.encoder_layers)
    reduction = Reduction(merged=(1,) * blocks, selection="tome")
    refused(case, reduction, JOINS + "merge tokens inside the encoder; choose a method that")


@pytest.mark.parametrize("rule", [None, "visionzip"])
@pytest.mark.parametrize("case", [INTERNVL, *QWENS], ids=str)
def test_reducing_before_a_connector_that_joins_neighbours(case: Small, rule: str | None) -> None:
    reduction = Reduction(compressed=(4, "before-connector"), selection=rule)
    refused(case, reduction, JOINS + "reduce tokens before the connector; choose a method that")


def test_visual_tokens_that_the_model_does_not_make() -> None:
    sentence = "visual_tokens 15 enter the LLM by the plan, but the model makes 16 of the image; "
    refused(LLAVA, Reduction(entering=15), sentence)


def test_a_rule_without_reducer() -> None:
    sentence = "selection fasterv has no reducer; choose from fastv, pyramiddrop, visionzip, "
    refused(LLAVA, Reduction(selection="fasterv"), sentence)


def test_a_model_type_without_adapter() -> None:
    class Config:
        model_type = "llava_extra"

    class Model:
        config = Config()

    with pytest.raises(InvalidInput, match=r"llava_extra has no adapter; choose from llava,"):
        Driver(Model())  # type: ignore[arg-type]
