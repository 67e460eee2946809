"""Visual-token rules against transformers' own processors and models, and against hand work.

transformers' torchvision image processors do not import without torchvision; the PIL ones, the
processors' counting methods (called on a stand-in with the attributes they read) and the modelling
functions do, and hold the same rules.

This file: the LLaVA families.
"""

from types import SimpleNamespace

import pytest
from sizes import ADVERSARIAL, SLIVERS, edges, planned, random_sizes
from vlm_tokencost.costmodel.tokens.anyres import best_resolution, unpadded_grid
from vlm_tokencost.presets import load_model

# --- LLaVA-1.5 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ADVERSARIAL, ids=str)
def test_llava_resizes_everything_to_336(size):
    seen = planned("llava-1.5-7b", size).visual_input
    # 336 / 14 = 24; 24² = 576
    assert (seen.crops, seen.visual_tokens, seen.connector_tokens) == (((24, 24),), 576, 576)
    assert (seen.separator_tokens, seen.structural_tokens) == (0, 0)


def test_llava_against_its_processor():
    from transformers.models.llava.processing_llava import LlavaProcessor

    # As in the checkpoint: patches of 14, CLS among the additional tokens and taken off again.
    processor = SimpleNamespace(
        patch_size=14,
        num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
        image_processor=SimpleNamespace(crop_size={"height": 336, "width": 336}),
        _merge_kwargs=lambda **_: {"images_kwargs": {}},
    )
    sizes = random_sizes("llava")[:5]
    counted = LlavaProcessor._get_num_multimodal_tokens(processor, sizes)["num_image_tokens"]
    assert counted == [planned("llava-1.5-7b", size).dense_visual_tokens for size in sizes]


# --- LLaVA-NeXT ---------------------------------------------------------------------------------

NEXT_GRIDS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]  # (height, width)


def next_processor_tokens(size):
    from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor

    processor = SimpleNamespace(
        patch_size=14,
        num_additional_image_tokens=1,
        image_processor=SimpleNamespace(image_grid_pinpoints=NEXT_GRIDS),
    )
    processor._get_unpadded_features = LlavaNextProcessor._get_unpadded_features.__get__(processor)
    with_class_token = LlavaNextProcessor._get_number_of_features(processor, *size, 336, 336)
    return with_class_token - 1  # vision_feature_select_strategy "default" drops it


def test_llava_next_pinpoints_are_the_configuration_s():
    from transformers import LlavaNextConfig

    rule = load_model("llava-next-vicuna-7b").token_rule
    assert [list(size) for size in rule.resolutions] == NEXT_GRIDS
    assert LlavaNextConfig().image_grid_pinpoints == NEXT_GRIDS


def assert_next_agrees(sizes):
    from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

    for size in sizes:
        ours = planned("llava-next-mistral-7b", size)
        assert ours.dense_visual_tokens == next_processor_tokens(size), size
        crops = ours.visual_input.crops
        assert len(crops) == image_size_to_num_patches(size, NEXT_GRIDS, 336), size
        assert set(crops) == {(24, 24)}
        assert ours.connector_tokens == 576 * len(crops)
        assert ours.encoder_tokens[0] == 577 * len(crops)
        assert ours.encoder_positions == 576 * len(crops)


def test_llava_next_on_random_sizes():
    assert_next_agrees(random_sizes("llava-next"))


def test_llava_next_on_edges():
    assert_next_agrees(ADVERSARIAL + SLIVERS + edges(24, 336))


def test_llava_next_separators_end_the_rows_of_the_unpadded_grid():
    import torch
    from transformers.models.llava_next.modeling_llava_next import (
        get_anyres_image_grid_shape,
        unpad_image,
    )

    for size in [*random_sizes("unpad")[:100], *ADVERSARIAL, *SLIVERS]:
        high, wide = get_anyres_image_grid_shape(size, NEXT_GRIDS, 336)
        features = torch.empty(1, 24 * high, 24 * wide, device="meta")
        _, rows, columns = unpad_image(features, size).shape
        seen = planned("llava-next-vicuna-7b", size).visual_input
        assert seen.separator_tokens == rows, size
        assert seen.visual_tokens == 576 + rows * columns + rows, size


@pytest.mark.parametrize(
    ("size", "expected", "crops"),
    [
        # (height, width). 2×2 crops, nothing padded: 576 + 48·48 + 48
        pytest.param((672, 672), 2928, 5, id="672x672"),
        # 640 wide, 480 high: 2×2 crops; 480 · 48 / 640 = 36 rows are left: 576 + 36·48 + 36
        pytest.param((480, 640), 2340, 5, id="480x640"),
        # 640 high, 480 wide: 36 columns are left: 576 + 48·36 + 48
        pytest.param((640, 480), 2352, 5, id="640x480"),
        # a strip 336 high, 1008 wide: 1×3 crops: 576 + 24·72 + 24
        pytest.param((336, 1008), 2328, 4, id="336x1008"),
        # a strip 1008 high: 3×1 crops: 576 + 72·24 + 72
        pytest.param((1008, 336), 2376, 4, id="1008x336"),
        # 1×2 crops: 576 + 24·48 + 24
        pytest.param((336, 672), 1752, 3, id="336x672"),
    ],
)
def test_llava_next_by_hand(size, expected, crops):
    seen = planned("llava-next-vicuna-7b", size).visual_input
    assert (seen.visual_tokens, len(seen.crops)) == (expected, crops)
    assert seen.structural_tokens == 0


def test_llava_next_several_images_are_all_tiled():
    seen = planned("llava-next-vicuna-7b", (672, 672), (480, 640), (672, 672)).visual_input
    assert seen.visual_tokens == 2928 + 2340 + 2928
    assert seen.separator_tokens == 48 + 36 + 48
    assert len(seen.crops) == 15
    assert seen.connector_tokens == 15 * 576


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        # 24 rows, and 4 · 24 / 112 = 0 columns: the base crop and 24 newlines
        pytest.param((112, 4), 600, id="no-column"),
        pytest.param((1_000, 1), 648, id="no-column-of-72-rows"),  # 576 + 72 newlines
        pytest.param((1, 1_000), 576, id="no-row"),  # the base crop alone
        pytest.param((1, 65_535), 576, id="longest"),
    ],
)
def test_llava_next_unpadding_may_leave_nothing_of_a_sliver(size, expected):
    assert next_processor_tokens(size) == expected
    assert planned("llava-next-vicuna-7b", size).dense_visual_tokens == expected


def test_unpadding_keeps_an_odd_remainder():
    # ⌊100 · 48 / 133⌋ = 36 rows; 12 are padding, 6 above and 6 below
    assert unpadded_grid((100, 133), 48, 48) == (36, 48)
    # ⌊100 · 48 / 137⌋ = 35 rows; of 13 rows of padding 2·6 are cut, one stays
    assert unpadded_grid((100, 137), 48, 48) == (36, 48)


# --- LLaVA-OneVision ----------------------------------------------------------------------------

ONEVISION_GRIDS = [[384 * high, 384 * wide] for high in range(1, 7) for wide in range(1, 7)]


def onevision_processor_tokens(size):
    from transformers.models.llava_onevision.processing_llava_onevision import (
        LlavaOnevisionProcessor,
    )

    processor = SimpleNamespace(
        num_image_tokens=729,
        vision_aspect_ratio="anyres_max_9",
        image_processor=SimpleNamespace(image_grid_pinpoints=ONEVISION_GRIDS),
    )
    method = LlavaOnevisionProcessor._get_unpadded_features
    processor._get_unpadded_features = method.__get__(processor)
    return LlavaOnevisionProcessor._get_number_of_features(processor, *size, 384, 384)


def test_onevision_pinpoints_are_the_configuration_s():
    from transformers import LlavaOnevisionConfig

    rule = load_model("llava-onevision-7b").token_rule
    assert [list(size) for size in rule.resolutions] == ONEVISION_GRIDS
    assert LlavaOnevisionConfig().image_grid_pinpoints == ONEVISION_GRIDS


def assert_onevision_agrees(sizes):
    from transformers.models.llava_onevision.modeling_llava_onevision import (
        image_size_to_num_patches,
    )

    for size in sizes:
        ours = planned("llava-onevision-7b", size)
        assert ours.dense_visual_tokens == onevision_processor_tokens(size), size
        crops = ours.visual_input.crops
        assert len(crops) == image_size_to_num_patches(size, ONEVISION_GRIDS, 384), size
        assert set(crops) == {(27, 27)}
        assert ours.connector_tokens == ours.encoder_tokens[0] == 729 * len(crops)


def test_onevision_on_random_sizes():
    assert_onevision_agrees(random_sizes("llava-onevision"))


def test_onevision_on_edges():
    assert_onevision_agrees(ADVERSARIAL + SLIVERS + edges(27, 384))


@pytest.mark.parametrize("grids", [NEXT_GRIDS, ONEVISION_GRIDS], ids=["next", "onevision"])
def test_best_resolution_against_transformers(grids):
    from transformers.image_processing_utils import select_best_resolution

    ours = [(height, width) for height, width in grids]
    for size in random_sizes("resolutions") + ADVERSARIAL + SLIVERS:
        assert best_resolution(size, ours) == select_best_resolution(size, grids), size


@pytest.mark.parametrize(
    ("size", "expected", "crops"),
    [
        # one crop: 729 + 27·27 + 27
        pytest.param((384, 384), 1485, 2, id="384x384"),
        # 3×3 crops: 729 + 81·81 + 81
        pytest.param((1024, 1024), 7371, 10, id="1024x1024"),
        # 6×6 crops, 162² > 1.21·9·729: shrunk by 162 / 81 = 2 to 81×81: 729 + 81·81 + 81
        pytest.param((2304, 2304), 7371, 37, id="2304x2304"),
        # 1×2 crops: 729 + 27·54 + 27
        pytest.param((384, 768), 2214, 3, id="384x768"),
        # 2×1 crops: 729 + 54·27 + 54
        pytest.param((768, 384), 2241, 3, id="768x384"),
    ],
)
def test_onevision_by_hand(size, expected, crops):
    seen = planned("llava-onevision-7b", size).visual_input
    assert (seen.visual_tokens, len(seen.crops)) == (expected, crops)
    assert seen.structural_tokens == 0


def test_onevision_several_images_are_base_crops():
    # each 729 + 1 newline, as the processor writes `num_image_tokens + 1`
    seen = planned("llava-onevision-7b", (384, 384), (1024, 1024), (2304, 2304)).visual_input
    assert seen.visual_tokens == 3 * 730
    assert seen.separator_tokens == 3
    assert seen.crops == ((27, 27),) * 3
    assert seen.connector_tokens == 3 * 729


def test_onevision_several_images_against_the_processor():
    from transformers.models.llava_onevision.processing_llava_onevision import (
        LlavaOnevisionProcessor,
    )

    processor = SimpleNamespace(
        image_token="#", num_image_tokens=729, vision_feature_select_strategy="full"
    )
    written = [
        LlavaOnevisionProcessor.replace_image_token(processor, {"batch_num_images": [2]}, index)
        for index in range(2)
    ]
    ours = planned("llava-onevision-7b", (800, 600), (300, 900))
    assert ours.dense_visual_tokens == len("".join(written))
