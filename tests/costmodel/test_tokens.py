"""Visual-token rules against transformers' own processors and models, and against hand work.

transformers' torchvision image processors do not import without torchvision; the PIL ones, the
processors' counting methods (called on a stand-in with the attributes they read) and the modelling
functions do, and hold the same rules.
"""

import math
import random
from types import SimpleNamespace

import pytest
from vlm_tokencost.costmodel import InvalidInput, TokenPlan, Workload, plan
from vlm_tokencost.costmodel.tokens import (
    best_resolution,
    fit_native,
    tile_grid,
    unpadded_grid,
)
from vlm_tokencost.presets import load_model

SIZES_PER_FAMILY = 400


def planned(model_id: str, *images: tuple[int, int]) -> TokenPlan:
    return plan(load_model(model_id), Workload(images=images, text_tokens=0))


def random_sizes(seed: str) -> list[tuple[int, int]]:
    """Draw (height, width): photographs, screens, strips; from tiny to large."""
    numbers = random.Random(seed)
    sizes = []
    for _ in range(SIZES_PER_FAMILY):
        longest = round(2 ** numbers.uniform(3, 13))  # 8 to 8,192 px, evenly on a log scale
        shortest = math.ceil(longest / 2 ** numbers.uniform(0, 4.3))  # up to 20 : 1
        sizes.append(numbers.choice([(longest, shortest), (shortest, longest)]))
    return sizes


def edges(*units: int) -> list[tuple[int, int]]:
    """Return sizes at, and one pixel around, multiples of the units of a rule."""
    sides = sorted(
        {multiple * unit + off for unit in units for multiple in (1, 2, 3, 6) for off in (-1, 0, 1)}
    )
    return [(height, width) for height in sides for width in sides]


#: Sizes that break careless rules: a pixel, lines, the largest square, odd aspect ratios.
ADVERSARIAL = [
    (1, 1), (1, 2), (2, 1), (1, 7), (7, 1), (13, 1), (3, 5), (10, 199), (199, 10), (20, 4000),
    (4000, 20), (65_535, 65_535), (65_535, 3_000), (3_000, 65_535), (335, 1009), (1009, 335),
    (100, 4_799), (4_799, 100), (997, 991), (1080, 1920), (1920, 1080), (480, 640), (640, 480),
    # un-padding leaves a whole number of rows or columns, which floats miss by an ulp
    (799, 376), (984, 205), (704, 1496), (1872, 832), (738, 1722), (617, 1851),
]  # fmt: skip

SLIVERS = [(2, 2365), (1, 2485), (2311, 1), (1, 1193), (112, 4), (1, 65_535), (65_535, 1)]


def no_slivers(sizes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Leave out sizes of which LLaVA-NeXT's un-padding may leave nothing: they have their test."""
    return [size for size in sizes if max(size) <= 20 * min(size)]


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

    rule = load_model("llava-next-vicuna-7b").visual_tokens
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
        assert ours.encoder_tokens == 577 * len(crops)
        assert ours.encoder_positions == 576 * len(crops)


def test_llava_next_on_random_sizes():
    assert_next_agrees(random_sizes("llava-next"))


def test_llava_next_on_edges():
    assert_next_agrees(no_slivers(ADVERSARIAL + edges(24, 336)))


def test_llava_next_separators_end_the_rows_of_the_unpadded_grid():
    import torch
    from transformers.models.llava_next.modeling_llava_next import (
        get_anyres_image_grid_shape,
        unpad_image,
    )

    for size in [*random_sizes("unpad")[:100], *no_slivers(ADVERSARIAL)]:
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

    rule = load_model("llava-onevision-7b").visual_tokens
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
        assert ours.connector_tokens == ours.encoder_tokens == 729 * len(crops)


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


# --- Qwen2-VL and Qwen2.5-VL --------------------------------------------------------------------

LEAST, MOST = 3_136, 12_845_056  # pixels, in the checkpoints' preprocessor_config.json

#: Sizes around the pixel limits: 56² = LEAST; 3584² = MOST.
AT_LIMITS = [
    (side + rise, side + run)
    for side in (28, 56, 3_584)
    for rise in (-15, -14, -13, -1, 0, 1, 13, 14, 15)
    for run in (-15, -14, -1, 0, 1, 14, 15)
]


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param(random_sizes("qwen"), id="random"),
        pytest.param([size for size in ADVERSARIAL if max(size) <= 200 * min(size)], id="odd"),
        pytest.param(AT_LIMITS + edges(14, 28, 56), id="edges"),
        pytest.param([(1, 200), (200, 1), (327, 65_400), (65_400, 327)], id="200-to-1"),
    ],
)
def test_qwen_against_smart_resize(sizes):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    for size in sizes:
        height, width = smart_resize(*size, factor=28, min_pixels=LEAST, max_pixels=MOST)
        assert fit_native(size, 28, LEAST, MOST) == (height, width), size
        for model_id in ("qwen2-vl-7b", "qwen2.5-vl-3b", "qwen2.5-vl-7b"):
            ours = planned(model_id, size)
            assert ours.visual_input.crops == ((height // 14, width // 14),), size
            assert ours.encoder_tokens == ours.encoder_positions == height * width // 14**2
            assert ours.dense_visual_tokens == height * width // 28**2
            assert ours.connector_tokens == ours.dense_visual_tokens
            assert ours.visual_input.separator_tokens == 0


@pytest.mark.parametrize(("least", "most"), [(3_136, 1_003_520), (200_704, 401_408)])
def test_native_resolution_under_other_limits(least, most):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    for size in random_sizes(f"limits {least} {most}")[:200]:
        expected = smart_resize(*size, factor=28, min_pixels=least, max_pixels=most)
        assert fit_native(size, 28, least, most) == expected, size


def test_qwen_against_the_processor():
    from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    image_processor = Qwen2VLImageProcessorPil(size={"shortest_edge": LEAST, "longest_edge": MOST})
    processor = SimpleNamespace(
        image_processor=image_processor, _merge_kwargs=lambda **_: {"images_kwargs": {}}
    )
    sizes = random_sizes("qwen processor")[:50]
    counted = Qwen2_5_VLProcessor._get_num_multimodal_tokens(processor, sizes)["num_image_tokens"]
    assert counted == [planned("qwen2.5-vl-7b", size).dense_visual_tokens for size in sizes]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        pytest.param((1092, 1092), 1521, id="1092x1092"),  # 39 · 39 cells of 28 px
        pytest.param((28, 28), 4, id="28x28"),  # grown to 56×56
        pytest.param((1, 1), 4, id="1x1"),
        pytest.param((56, 84), 6, id="56x84"),  # 2 · 3
        pytest.param((84, 56), 6, id="84x56"),
        pytest.param((42, 70), 4, id="42x70"),  # 1.5 → 2 and 2.5 → 2 cells: half to even
        pytest.param((3_584, 3_584), 16_384, id="3584x3584"),  # 128², the limit itself
        pytest.param((7_168, 7_168), 16_384, id="7168x7168"),  # shrunk to it
        pytest.param((480, 640), 391, id="480x640"),  # 17.1 → 17, 22.9 → 23
    ],
)
def test_qwen_by_hand(size, expected):
    ours = planned("qwen2.5-vl-7b", size)
    assert ours.dense_visual_tokens == expected
    assert ours.structural_tokens == 2  # <|vision_start|>, <|vision_end|>


def test_qwen_several_images():
    seen = planned("qwen2-vl-7b", (1092, 1092), (56, 84)).visual_input
    assert seen.visual_tokens == 1521 + 6
    assert seen.structural_tokens == 4
    assert seen.crops == ((78, 78), (4, 6))


@pytest.mark.parametrize("size", [(1, 201), (201, 1), (10, 2_001)], ids=str)
def test_qwen_refuses_more_than_200_to_1_as_transformers_does(size):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    with pytest.raises(ValueError, match="200"):
        smart_resize(*size)
    with pytest.raises(InvalidInput, match=f"{size[0]}x{size[1]}.*above 200"):
        planned("qwen2.5-vl-7b", size)


def window_pairs(*grids):
    """Σ n² over transformers' attention windows of images of these patch grids."""
    import torch
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import get_vision_window_index

    images = torch.tensor([[1, rows, columns] for rows, columns in grids])
    _, bounds = get_vision_window_index(
        images, spatial_merge_size=2, window_size=112, patch_size=14
    )
    return sum(length**2 for length in bounds.diff().tolist())


def test_qwen25_window_size_is_the_configuration_s():
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig

    config, windows = Qwen2_5_VLVisionConfig(), load_model("qwen2.5-vl-7b").vision.windows
    assert windows.size == config.window_size // config.patch_size == 8
    assert windows.full_attention_layers == tuple(config.fullatt_block_indexes)


def test_qwen25_window_pairs_against_transformers():
    numbers = random.Random("windows")
    grids = [(2 * numbers.randint(1, 60), 2 * numbers.randint(1, 60)) for _ in range(200)]
    grids += [(rows, columns) for rows in range(2, 20, 2) for columns in range(2, 20, 2)]
    for rows, columns in grids:
        if max(rows, columns) > 200 * min(rows, columns) or rows * columns < 16:
            continue  # the processor would resize such an image
        ours = planned("qwen2.5-vl-7b", (14 * rows, 14 * columns))
        assert ours.visual_input.crops == ((rows, columns),)
        windowed = window_pairs((rows, columns))
        for layer, pairs in enumerate(ours.encoder_pairs):
            expected = (rows * columns) ** 2 if layer in (7, 15, 23, 31) else windowed
            assert pairs == expected, (rows, columns, layer)


def test_qwen25_windows_never_cross_images():
    ours = planned("qwen2.5-vl-7b", (140, 140), (224, 98 * 2))
    # 10×10 and 16×14 patches
    assert ours.encoder_pairs[0] == window_pairs((10, 10), (16, 14))
    # full attention is over each image: (100² + 224²)
    assert ours.encoder_pairs[7] == 10_000 + 50_176


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        # 16×16 patches: 4 windows of 64: 4·64²
        pytest.param(224, 16_384, id="224"),
        # 10×10: 8·8, 8·2, 2·8, 2·2: 64² + 2·16² + 4²
        pytest.param(140, 4_624, id="140"),
    ],
)
def test_qwen25_windows_by_hand(side, expected):
    assert planned("qwen2.5-vl-7b", (side, side)).encoder_pairs[0] == expected


def test_qwen2_attends_over_the_whole_image():
    assert planned("qwen2-vl-7b", (140, 140)).encoder_pairs == (10_000,) * 32  # 100² per layer


# --- InternVL2 and InternVL3 --------------------------------------------------------------------


def internvl_tiles(size):
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import (
        GotOcr2ImageProcessorPil,
        get_optimal_tiled_canvas,
    )

    columns, rows = get_optimal_tiled_canvas(size, (448, 448), 1, 12)
    settings = {"crop_to_patches": True, "min_patches": 1, "max_patches": 12}
    settings["patch_size"] = {"height": 448, "width": 448}
    count = GotOcr2ImageProcessorPil.get_number_of_image_patches(
        SimpleNamespace(min_patches=1, max_patches=12, size=None, crop_to_patches=True),
        *size,
        settings,
    )
    return (rows, columns), count


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param(random_sizes("internvl"), id="random"),
        pytest.param(ADVERSARIAL, id="odd"),
        pytest.param(edges(448), id="edges"),
        # half the pixels of a larger grid of equal aspect ratio, and around it
        pytest.param(
            [(634 + off, 634) for off in (-2, -1, 0, 1, 2)]
            + [(448, 448), (449, 449), (633, 633), (896, 1792), (317, 633), (317, 634)]
            # 588 · 2048 is half of 2×6 tiles: no more than half, so 1×3 tiles are taken
            + [(588, 2048 + off) for off in (-1, 0, 1)],
            id="half-area",
        ),
    ],
)
def test_internvl_against_transformers(sizes):
    for size in sizes:
        grid, tiles = internvl_tiles(size)
        assert tile_grid(size, 448, 12) == grid, size
        for model_id in ("internvl2-8b", "internvl3-8b"):
            ours = planned(model_id, size)
            assert ours.visual_input.crops == ((32, 32),) * tiles, size
            assert ours.dense_visual_tokens == ours.connector_tokens == 256 * tiles, size
            assert ours.encoder_tokens == 1025 * tiles
            assert ours.encoder_pairs == (tiles * 1025**2,) * 24


@pytest.mark.parametrize("most", [1, 2, 3, 6, 24, 40])
def test_tile_grid_with_other_limits(most):
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import (
        get_optimal_tiled_canvas,
    )

    for size in random_sizes(f"tiles {most}")[:100]:
        columns, rows = get_optimal_tiled_canvas(size, (448, 448), 1, most)
        assert tile_grid(size, 448, most) == (rows, columns), size


def test_internvl_tokens_against_the_processor():
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
    from transformers.models.internvl.processing_internvl import InternVLProcessor

    processor = SimpleNamespace(
        image_seq_length=256,
        image_processor=GotOcr2ImageProcessorPil(size={"height": 448, "width": 448}),
        _merge_kwargs=lambda **_: {"images_kwargs": {"crop_to_patches": True}},
    )
    sizes = random_sizes("internvl processor")[:50]
    counted = InternVLProcessor._get_num_multimodal_tokens(processor, sizes)["num_image_tokens"]
    ours = [planned("internvl3-8b", size) for size in sizes]
    assert counted == [one.dense_visual_tokens + one.structural_tokens for one in ours]


@pytest.mark.parametrize(
    ("size", "grid", "expected"),
    [
        pytest.param((448, 448), (1, 1), 256, id="448x448"),  # one tile, no thumbnail
        pytest.param((448, 896), (1, 2), 768, id="448x896"),  # 2 tiles + thumbnail: 3 · 256
        pytest.param((896, 448), (2, 1), 768, id="896x448"),
        pytest.param((896, 896), (2, 2), 1280, id="896x896"),  # 4 + 1; 3×3 has > twice the area
        pytest.param((1344, 1792), (3, 4), 3328, id="1344x1792"),  # 12 + 1
        pytest.param((588, 2048), (1, 3), 1024, id="588x2048"),  # half of 2×6, not more: 3 + 1
        pytest.param((10, 1200), (1, 12), 3328, id="10x1200"),  # 12 + 1, however small
    ],
)
def test_internvl_by_hand(size, grid, expected):
    assert tile_grid(size, 448, 12) == grid
    ours = planned("internvl3-8b", size)
    assert ours.dense_visual_tokens == expected
    assert ours.structural_tokens == 2  # <img>, </img>


def test_internvl_several_images():
    seen = planned("internvl2-8b", (448, 448), (896, 448)).visual_input
    assert seen.visual_tokens == 256 + 768
    assert seen.structural_tokens == 4
    assert len(seen.crops) == 4


# --- defaults and invariants --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_id", "size", "expected", "structural"),
    [
        ("llava-1.5-7b", (336, 336), 576, 0),
        ("llava-1.5-13b", (336, 336), 576, 0),
        ("llava-next-vicuna-7b", (672, 672), 2928, 0),
        ("llava-next-vicuna-13b", (672, 672), 2928, 0),
        ("llava-next-mistral-7b", (672, 672), 2928, 0),
        ("llava-next-34b", (672, 672), 2928, 0),
        ("llava-onevision-7b", (384, 384), 1485, 0),
        ("qwen2-vl-7b", (1092, 1092), 1521, 2),
        ("qwen2.5-vl-3b", (1092, 1092), 1521, 2),
        ("qwen2.5-vl-7b", (1092, 1092), 1521, 2),
        ("internvl2-8b", (448, 448), 256, 2),
        ("internvl3-8b", (448, 448), 256, 2),
    ],
)
def test_default_image(model_id, size, expected, structural):
    default = plan(load_model(model_id), Workload())
    assert default.images == (size,)
    assert default.dense_visual_tokens == expected
    assert default.structural_tokens == structural
    assert default.query[0] == expected + structural + 64
    # the same image, asked for
    assert default == plan(load_model(model_id), Workload(images=(size,)))


def test_given_visual_tokens_replace_the_derived_count_alone():
    model = load_model("llava-next-vicuna-7b")
    derived = plan(model, Workload(images=((480, 640),)))
    given = plan(model, Workload(images=((480, 640),), visual_tokens=2880))
    assert given.dense_visual_tokens == 2880
    assert given.visual == (2880,) * 32
    assert given.visual_input == derived.visual_input
    assert given.connector_tokens == derived.connector_tokens == 5 * 576
    assert given.encoder_pairs == derived.encoder_pairs == (5 * 577**2,) * 24


def test_order_of_images_changes_no_total():
    first = planned("qwen2.5-vl-7b", (140, 140), (896, 448)).visual_input
    second = planned("qwen2.5-vl-7b", (896, 448), (140, 140)).visual_input
    assert first.visual_tokens == second.visual_tokens
    assert sorted(first.crops) == sorted(second.crops)
