"""Families whose processors transformers lacks, or cannot import without torchvision: by hand.

Each case names the repository and file that it is worked out from.
"""

import pytest
from vlm_tokencost.costmodel.tokens.grids import (
    canvas_grid,
    log_aspect_grid,
    overlap_grid,
    single_precision,
    widest_grid,
)

# --- Phi-4-multimodal: transformers 5.23 image_processing_phi4_multimodal.py (needs torchvision) --


@pytest.mark.parametrize(
    ("size", "rows", "columns", "crops"),
    [
        # 1×1: nothing padded, 32 patches → 16 tokens a side
        pytest.param((448, 448), 16, 16, 2, id="one-crop"),
        # 2 rows, 3 columns: 16·2 and 16·3
        pytest.param((896, 1344), 32, 48, 7, id="six-crops"),
        # ⌈480/448⌉ = 2, ⌈640/448⌉ = 2: scaled by 1.4 to 672×896; ⌊224/14⌋ = 16 of 64 rows of
        # patches are padding: 48 → 24
        pytest.param((480, 640), 24, 32, 5, id="480x640"),
        # 2×1: scaled by 448/300 to 448·1.4933 = 672 of 896: 48 of 64 rows, 24
        pytest.param((450, 300), 24, 16, 3, id="450x300"),
        # 100×448 px are one crop, 348 px padded: ⌊348/14⌋ = 24, 8 rows of patches, 4
        pytest.param((100, 448), 4, 16, 2, id="strip"),
        # 110×448: ⌊338/14⌋ = 24 as well; 97×448: ⌊351/14⌋ = 25, 7 rows, every other one: 4
        pytest.param((97, 448), 4, 16, 2, id="odd-rows"),
        # 7×7 crops would be 49 > 36: closest aspect ratio 1, the largest grid 6×6
        pytest.param((3000, 3000), 96, 96, 37, id="36-crops"),
    ],
)
def test_phi4(size, rows, columns, crops, seen):
    ours = seen("phi4", size)
    assert len(ours.crops) == crops
    # 16² and 16 separators of the whole, one between, and one per row of the crops
    assert ours.visual_tokens == 256 + 16 + 1 + rows * columns + rows
    assert ours.separator_tokens == 16 + 1 + rows
    assert ours.connector_tokens == ours.visual_tokens  # separators pass the projector too


def test_phi4_pads_the_crops_of_a_prompt(seen):
    ours = seen("phi4", (448, 448), (896, 1344))
    assert ours.crops_per_image == (7, 7)
    assert len(ours.crops) == 14
    assert ours.visual_tokens == 545 + (256 + 17 + 32 * 48 + 32)


# --- Phi-3.5-vision: microsoft/Phi-3.5-vision-instruct processing_phi3_v.py ---------------------


@pytest.mark.parametrize(
    ("size", "most", "grid"),
    [
        pytest.param((336, 336), 1, (1, 1), id="class-default"),
        pytest.param((336, 336), 4, (2, 2), id="square"),  # 2·⌈2/1⌉ = 4; 3·3 = 9 is too many
        pytest.param((336, 336), 16, (4, 4), id="square-16"),
        # aspect 4/3: 2·⌈1.5⌉ = 4, 3·⌈2.25⌉ = 9: two columns, 672 / 1.333 = 504 px: two rows
        pytest.param((480, 640), 4, (2, 2), id="photo"),
        pytest.param((640, 480), 4, (2, 2), id="portrait"),
        # aspect 2: 2·1, then 3·2 = 6 is too many: two columns, one row
        pytest.param((336, 672), 4, (1, 2), id="2:1"),
        pytest.param((672, 336), 4, (2, 1), id="1:2"),
        # aspect 4: 4·1 = 4
        pytest.param((100, 400), 4, (1, 4), id="4:1"),
        # aspect 16/9: 5·⌈2.81⌉ = 15, 6·⌈3.375⌉ = 24
        pytest.param((1080, 1920), 16, (3, 5), id="full-hd-16"),
    ],
)
def test_phi35(size, most, grid, seen):
    assert widest_grid(size, 336, most) == grid
    ours = seen("phi35-vision", size, max_tiles=most)
    rows, columns = grid
    # as calc_num_image_tokens: (h·w + 1)·144 + 1 + (h + 1)·12
    assert ours.visual_tokens == (rows * columns + 1) * 144 + 1 + (rows + 1) * 12
    assert ours.separator_tokens == 1 + (rows + 1) * 12
    assert len(ours.crops) == most + 1  # padded, and all of them encoded


# --- DeepSeek-VL2: deepseek-ai/DeepSeek-VL2 processing_deepseek_vl_v2.py ------------------------


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        pytest.param((384, 384), (1, 1), id="one"),
        pytest.param((100, 100), (1, 1), id="small"),  # every canvas holds it: the least waste
        pytest.param((768, 768), (2, 2), id="four"),
        pytest.param((480, 640), (2, 2), id="photo"),  # 2×2 alone keeps all its pixels
        pytest.param((384, 1152), (1, 3), id="strip"),
        pytest.param((4000, 4000), (3, 3), id="nine"),
        pytest.param((4000, 400), (9, 1), id="tower"),  # 3456 × 345.6 keeps most
    ],
)
def test_deepseek(size, grid, seen):
    ours = seen("deepseek-vl2", size)
    rows, columns = grid
    # 14·(14 + 1) of the whole, 1 between, rows of 14·columns and a newline
    assert ours.visual_tokens == 14 * 15 + 1 + (14 * rows) * (14 * columns + 1)
    assert ours.separator_tokens == 14 + 1 + 14 * rows
    assert ours.connector_tokens == 196 * (rows * columns + 1)
    assert ours.crops == ((27, 27),) * (rows * columns + 1)


def test_deepseek_tiles_no_image_of_three(seen):
    two = seen("deepseek-vl2", (768, 768), (768, 768))
    assert two.visual_tokens == 2 * (211 + 28 * 29)
    three = seen("deepseek-vl2", *[(768, 768)] * 3)
    assert three.visual_tokens == 3 * 421
    assert three.crops_per_image == (2, 2, 2)


# --- Molmo: allenai/molmo olmo/data/model_preprocessor.py ---------------------------------------


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        # 336 px less the margins of 112 are one window of 224
        pytest.param((336, 336), (1, 1), id="one"),
        pytest.param((1024, 1024), (3, 3), id="1024"),  # 912 px: 3×3 shrinks least, as 3×4 does
        pytest.param((560, 560), (2, 2), id="560"),  # 448 px: exactly 2×2
        pytest.param((336, 560), (1, 2), id="336x560"),
        pytest.param((480, 640), (2, 3), id="480x640"),  # 368 and 528 px: 1.217 times; 2×2 shrinks
        # sides below the margins have negative scales: one row whatever the columns
        pytest.param((100, 560), (1, 1), id="below-the-margins"),
        pytest.param((112, 560), (1, 2), id="at-the-margins"),  # that side fits everything
    ],
)
def test_molmo(size, grid, seen):
    assert canvas_grid((size[0] - 112, size[1] - 112), 224, 12, single_precision) == grid
    ours = seen("molmo", size)
    # windows of 8 pooled tokens, and 4 of the margins once: 8·tiles + 4 a side
    rows, columns = 8 * grid[0] + 4, 8 * grid[1] + 4
    assert ours.visual_tokens == rows * columns + 144
    assert ours.structural_tokens == (rows + 2) + (12 + 2)
    assert ours.connector_tokens == 144 * (grid[0] * grid[1] + 1)


def test_molmo_rounds_scales_to_single_precision():
    # 1/3 has no exact representation: 32 bits keep 24 binary digits
    assert single_precision(1 / 3) == 11_184_811 / 2**25
    assert single_precision(0.5) == 0.5


# --- Kimi-VL: image_processing_kimi_vl.py -------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        pytest.param((896, 896), (64, 64), id="limit"),  # 64² = 4,096 patches
        pytest.param((100, 100), (8, 8), id="padded"),  # 100 → 112
        pytest.param((28, 29), (2, 4), id="one-more"),
        # 128² patches: scaled by √(4,096 / 16,384) = ½
        pytest.param((1792, 1792), (64, 64), id="shrunk"),
        # 71·85 = 6,035 patches: by √(4,096 / 6,035) = 0.82384 to 823×988, padded to 840×1008
        pytest.param((1000, 1200), (60, 72), id="above-the-limit"),
        # ⌊1920/14⌋ · ⌊1080/14⌋ = 137·77 = 10,549: by 0.62313 to 672×1196, padded to 1204
        pytest.param((1080, 1920), (48, 86), id="full-hd"),
    ],
)
def test_kimi(size, grid, seen):
    ours = seen("kimi-vl", size)
    assert ours.crops == (grid,)
    assert ours.visual_tokens == grid[0] * grid[1] // 4


# --- LLaVA-UHD: thunlp/LLaVA-UHD slice_logic.py; MiniCPM-V: image_processing_minicpmv.py --------


@pytest.mark.parametrize(
    ("size", "uhd", "minicpm"),
    [
        # n = 1: MiniCPM-V leaves the image whole; LLaVA-UHD may halve it
        pytest.param((336, 336), (1, 1), (1, 1), id="one"),
        pytest.param((200, 500), (1, 2), (1, 1), id="wide-one"),  # log 2.5 is closer to log 2
        # n = 2, so 2 or 3 slices, although one would be closest to log 1.2
        pytest.param((400, 480), (1, 2), (1, 2), id="two"),
        # n = 6, at most 6: log 1.5 = log 3/2
        pytest.param((672, 1008), (2, 3), (2, 3), id="six"),
        # a strip: LLaVA-UHD takes 7 slices
        pytest.param((336, 4000), (1, 7), (1, 6), id="strip"),
        # n = 3: two slices have the aspect ratio itself
        pytest.param((400, 800), (1, 2), (1, 2), id="three"),
    ],
)
def test_slices_by_log_aspect(size, uhd, minicpm):
    assert log_aspect_grid(size, 336, 6, beyond=True) == uhd
    assert log_aspect_grid(size, 336, 6, beyond=False) == minicpm


def test_llava_uhd_tokens(seen):
    # 2×3 slices and the whole, 64 queries each; "," or a newline after each slice
    ours = seen("llava-uhd", (672, 1008))
    assert (ours.visual_tokens, ours.structural_tokens) == (448, 6)
    assert seen("llava-uhd", (336, 336)).visual_tokens == 64


def test_minicpm_slices_by_hand(seen):
    # 1080×1920: ⌈10.3⌉ slices, at most 9; log 16/9 = 0.575: 2×4 is 0.693, 3×3 is 0, 2×4 wins.
    # A slice is 540×480: 448 / √(480/540) = 475 px high, 422 wide → 34×30 patches; the overview
    # 336 px, 597 wide → 24×43: 1,032 patches, to which the 1,020 of a slice are padded
    ours = seen("minicpm-v", (1080, 1920))
    assert ours.crops == ((1, 24 * 43),) * 9
    assert ours.visual_tokens == 9 * 64
    assert ours.structural_tokens == 5 + 8 * 2 + 1
    assert ours.note == (
        "overview of 24×43 patches + 2×4 slices of 34×30 patches; each padded to 1,032 patches"
    )
    # a small image is grown to 448² px, and not sliced
    small = seen("minicpm-v", (100, 100))
    assert small.crops == ((32, 32),)
    assert (small.visual_tokens, small.structural_tokens) == (64, 5)


def test_minicpm_pads_all_crops_of_a_prompt_to_the_longest(seen):
    # 300×1000: 448 / √(10/3) = 245 px high, 816 wide → 18×58 = 1,044 patches; ⌈1.49⌉ = 2, so 2 or
    # 3 slices: of log 2, log 1/2, log 3 and log 1/3, log 3 is the closest to log 10/3. A slice has
    # 300 px by 333: 448 / √1.11 = 425 px high, 471 wide → 30×34 = 1,020 patches
    assert seen("minicpm-v", (300, 1000)).crops == ((1, 1_044),) * 4
    # beside it the whole 448×448 image of 32×32 = 1,024 patches
    both = seen("minicpm-v", (448, 448), (300, 1000))
    assert (both.crops, both.crops_per_image) == (((1, 1_044),) * 5, (1, 4))
    assert both.visual_tokens == both.connector_tokens == 5 * 64
    assert both.note == (
        "overview of 32×32 patches; overview of 18×58 patches + 1×3 slices of 30×34 patches; "
        "each padded to 1,044 patches"
    )
    # nothing is padded where all have as many patches, whatever their sides: 24×43 and 43×24
    whole = seen("minicpm-v", (1080, 1920), (1920, 1080), max_tiles=1)
    assert whole.crops == ((24, 43), (43, 24))
    assert "padded" not in whole.note


# --- TokenPacker-HD: CircleRadon/TokenPacker llava/patch_divide.py ------------------------------


@pytest.mark.parametrize(
    ("size", "most", "grid"),
    [
        pytest.param((336, 336), 9, (1, 1), id="one"),
        pytest.param((1008, 1008), 9, (3, 3), id="nine"),
        # all fill 2:1 grids entirely: 1.4²·336·672 = 442,552 px, between 1×2 (225,792, IoU 0.51)
        # and 2×4 (903,168, IoU 0.49)
        pytest.param((336, 672), 9, (1, 2), id="2:1"),
        # 2×3: 605·1008 / (672·1008) = 0.900 and IoU 420·700 / 677,376 = 0.434; 1×2: 560·336 /
        # (336·672) = 0.833 and IoU 225,792 / 294,000 = 0.768: 0.944 and 0.910
        pytest.param((300, 500), 9, (2, 3), id="photo"),
        pytest.param((3000, 3000), 16, (4, 4), id="sixteen"),
        pytest.param((100, 2000), 16, (1, 9), id="strip"),  # no strip has more than 9
    ],
)
def test_tokenpacker_hd(size, most, grid, seen):
    assert overlap_grid(size, 336, most) == grid
    ours = seen("tokenpacker-hd", size, max_tiles=most)
    rows, columns = grid
    tiles = rows * columns
    several = tiles > 1
    assert ours.visual_tokens == 144 * (tiles + several)
    # commas within rows, newlines after them, and one after the whole
    assert ours.structural_tokens == rows * (columns - 1) + rows + several


@pytest.mark.parametrize(
    ("size", "grid"),
    [((3360, 3360), (5, 5)), ((672, 4032), (2, 12)), ((336, 8400), (1, 9))],
)
def test_tokenpacker_s_list_of_25_grids(size, grid):
    # patches_25 of that file goes up to 5×5 and 2×12, but to 1×9
    assert overlap_grid(size, 336, 25) == grid


# --- Monkey and Mini-Gemini: always the same windows --------------------------------------------


@pytest.mark.parametrize("size", [(896, 896), (100, 2000), (448, 448)])
def test_fixed_windows(size, seen):
    # 2×2 windows and the whole, 256 queries each
    assert seen("monkey", size).visual_tokens == 1280
    assert seen("mini-gemini-hd", size).visual_tokens == 5 * 576
