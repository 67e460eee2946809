"""Prompts and image inputs of the further families against transformers' own processors."""

from __future__ import annotations

import re
from typing import Any

import pytest
from small_models import CROSSED, FURTHER, FURTHER_SEVERAL, Small, driven, request_of
from vlm_tokencost.costmodel import InvalidInput
from vlm_tokencost.validation.prompt import prompt_of
from vlm_tokencost.validation.sequence import STRUCTURAL, TEXT, VISUAL

IDEFICS3, SMOLVLM, SEVERAL_IDEFICS3 = FURTHER[2], FURTHER[3], FURTHER_SEVERAL[1]
PER_TILE = 16  # 8×8 patches, joined by 2×2


def prompt_kinds(case: Small, tokens: list[int]) -> tuple[list[int], list[list[tuple[int, int]]]]:
    """Return the kinds of a prompt's tokens, and the runs of visual tokens of each image."""
    driver = driven(case.model)
    prompt = prompt_of(driver.adapter, request_of(driver, case), tokens)
    return prompt.kinds, prompt.runs


@pytest.mark.parametrize(
    ("case", "grids"),
    [(IDEFICS3, [(2, 3)]), (SMOLVLM, [(3, 2)]), (SEVERAL_IDEFICS3, [(2, 2), (1, 2)])],
    ids=str,
)
def test_tiles_stand_as_idefics3s_processor_writes_them(
    case: Small, grids: list[tuple[int, int]]
) -> None:
    from transformers.models.idefics3.processing_idefics3 import Idefics3Processor

    processor: Any = object.__new__(Idefics3Processor)
    processor.fake_image_token, processor.global_image_tag = "<fake>", "<global-img>"
    processor.image_token, processor.image_seq_len = "<image>", PER_TILE
    inputs = {"rows": [[rows for rows, _ in grids]], "cols": [[columns for _, columns in grids]]}
    written = "".join(processor.replace_image_token(inputs, image) for image in range(len(grids)))
    # Two newlines are one token of Llama 3's vocabulary.
    tokens = re.findall(r"<[^>]+>|\n+", written)
    expected = [VISUAL if token == "<image>" else STRUCTURAL for token in tokens]
    counts = [(rows * columns + 1) * PER_TILE for rows, columns in grids]
    kinds, runs = prompt_kinds(case, counts)
    assert kinds == [TEXT] * 10 + expected + [TEXT] * 10
    for (rows, columns), of_one in zip(grids, runs, strict=True):
        assert [length for _, length in of_one] == [PER_TILE] * (rows * columns + 1)
        assert all(kinds[start : start + length] == [VISUAL] * length for start, length in of_one)


def test_tiles_that_no_image_of_its_size_has() -> None:
    driver = driven(IDEFICS3.model)
    request = driver.request([(120, 336)], [[(8, 8)] * 6], text_tokens=4)  # 5 tiles: not 1×3, 2×3
    with pytest.raises(InvalidInput, match="crops 6 does not fit an image of 120x336"):
        driver.prefill(request)


def test_gemma_3_puts_four_tokens_around_each_crop() -> None:
    # 112×112 with two crops of pan and scan, in a sentence of 17 tokens; 100×90 as it is
    kinds, runs = prompt_kinds(FURTHER_SEVERAL[3], [3 * 16, 16])
    framed = [STRUCTURAL] * 2 + [VISUAL] * 16 + [STRUCTURAL] * 2
    assert kinds == [TEXT] * 10 + [STRUCTURAL] * 17 + framed * 3 + framed + [TEXT] * 10
    assert [[length for _, length in of_one] for of_one in runs] == [[16] * 3, [16]]


def test_gemma_3s_crops_are_blocks_of_their_own() -> None:
    driver = driven("gemma3-4b")
    entered = driver.prefill(request_of(driver, FURTHER_SEVERAL[3])).entered
    assert entered.blocks is not None
    blocks = entered.blocks[0][entered.kinds[0] == VISUAL].tolist()
    assert blocks == [0] * 16 + [1] * 16 + [2] * 16 + [3] * 16
    assert set(entered.blocks[0][entered.kinds[0] != VISUAL].tolist()) == {-1}


def test_paligemmas_images_come_first_and_positions_begin_at_1() -> None:
    driver = driven("paligemma-3b-224")
    entered = driver.prefill(request_of(driver, FURTHER[4])).entered
    assert entered.kinds[0].tolist() == [VISUAL] * 16 + [TEXT] * 20
    assert entered.positions[0].tolist() == [*range(1, 37)]


@pytest.mark.parametrize("case", CROSSED, ids=str)
def test_llama_3_2s_inputs_are_those_of_its_processor(case: Small) -> None:
    import numpy as np
    import torch
    from PIL import Image
    from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil
    from transformers.models.mllama.processing_mllama import (
        convert_sparse_cross_attention_mask_to_dense,
        get_cross_attention_token_mask,
    )

    driver = driven(case.model)
    inputs = driver.model_inputs(request_of(driver, case))
    processor: Any = MllamaImageProcessorPil(size={"height": 56, "width": 56}, max_image_tiles=4)
    images = [Image.new("RGB", (width, height)) for height, width in case.images]
    made = processor([images], return_tensors="np")
    for name in ("aspect_ratio_ids", "aspect_ratio_mask"):
        assert np.array_equal(made[name], inputs[name].numpy())
    assert made["pixel_values"].shape == tuple(inputs["pixel_values"].shape)
    black = torch.from_numpy(made["aspect_ratio_mask"]) == 0
    assert (inputs["pixel_values"][black] == 0).all()
    ids = inputs["input_ids"][0].tolist()
    mask = convert_sparse_cross_attention_mask_to_dense(
        [get_cross_attention_token_mask(ids, 198)], made["num_tiles"], 4, len(ids)
    )
    assert np.array_equal(mask, inputs["cross_attention_mask"].numpy())
    assert prompt_kinds(case, [68] * len(images))[0].count(STRUCTURAL) == len(images)
