"""Visual-token rules of Qwen and InternVL against transformers, defaults and invariants."""

import random
from types import SimpleNamespace

import pytest
from sizes import ADVERSARIAL, edges, planned, random_sizes
from vlm_tokencost.costmodel import InvalidInput, Workload, plan
from vlm_tokencost.costmodel.tokens.grids import tile_grid
from vlm_tokencost.costmodel.tokens.native import fit_native
from vlm_tokencost.presets import load_model

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
            assert ours.encoder_tokens[0] == ours.encoder_positions == height * width // 14**2
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
            assert ours.encoder_tokens[0] == 1025 * tiles
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
