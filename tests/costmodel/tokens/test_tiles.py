"""Tiling rules against transformers' image processors and the text that its processors write.

The processors are called on stand-ins with the attributes they read; their tokenizers need a
checkpoint. Pixels are compared on small images of one colour.
"""

from types import SimpleNamespace

import pytest
from sizes import ADVERSARIAL, SLIVERS, edges, random_sizes
from vlm_tokencost.costmodel.tokens.grids import (
    canvas_grid,
    covering_grid,
    longest_edge_grid,
)

PLAIN = {"do_rescale": False, "do_normalize": False, "return_tensors": "np"}


def squares(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


# --- InternVL and Aya Vision --------------------------------------------------------------------


@pytest.mark.parametrize(("family", "side"), [("internvl", 448), ("aya-vision", 364)])
def test_closest_aspect_against_transformers(family, side, seen):
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    processor = GotOcr2ImageProcessorPil(size=squares(side), crop_to_patches=True)
    patches = side // 14
    for size in random_sizes(family)[:200] + ADVERSARIAL + edges(side):
        crops = processor.get_number_of_image_patches(*size, {})
        ours = seen(family, size)
        assert ours.crops == ((patches, patches),) * crops, size
        assert ours.visual_tokens == ours.connector_tokens == crops * (patches // 2) ** 2


@pytest.mark.parametrize(("family", "side"), [("internvl", 448), ("aya-vision", 364)])
def test_closest_aspect_against_the_pixels(family, side, seen, random_images):
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    processor = GotOcr2ImageProcessorPil(size=squares(side), crop_to_patches=True)
    for image in random_images(family, 15):
        made = processor(image, **PLAIN)
        assert made["pixel_values"].shape[1:] == (3, side, side)
        size = (image.height, image.width)
        assert len(seen(family, size).crops) == len(made["pixel_values"]), size


def test_aya_against_its_processor(seen):
    from transformers.models.aya_vision.processing_aya_vision import AyaVisionProcessor
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    images = GotOcr2ImageProcessorPil(size=squares(364), crop_to_patches=True)
    processor = SimpleNamespace(
        image_processor=images,
        img_size=364,
        patch_size=28,
        start_of_img_token="(",
        end_of_img_token=")",
        img_patch_token="#",
        tile_token="T",
        tile_global_token="G",
        _merge_kwargs=lambda **_: {"images_kwargs": {}},
    )
    sizes = random_sizes("aya processor")[:200]
    counted = AyaVisionProcessor._get_num_multimodal_tokens(processor, sizes)["num_image_tokens"]
    for size, tokens in zip(sizes, counted, strict=True):
        ours = seen("aya-vision", size)
        assert ours.visual_tokens + ours.structural_tokens == tokens, size
        text = AyaVisionProcessor.replace_image_token(
            processor, {"num_patches": [len(ours.crops)]}, 0
        )
        assert text.count("#") == ours.visual_tokens
        # a numbered tile is one token of the vocabulary
        others = (
            text.replace("#", "").replace("T_", "T").translate({ord(d): "" for d in "0123456789"})
        )
        assert len(others) == ours.structural_tokens


# --- Ovis2 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 4, 9, 12])
def test_ovis2_against_transformers(most):
    from transformers.models.ovis2.image_processing_pil_ovis2 import get_min_tile_covering_grid

    sizes = random_sizes(f"ovis2 {most}")[:200] + ADVERSARIAL + edges(448)
    for size in sizes:
        expected = get_min_tile_covering_grid(size, target_patch_size=448, max_image_tiles=most)
        assert covering_grid(size, 448, most) == expected, size


def test_ovis2_against_pixels_and_text(seen, random_images):
    from transformers.models.ovis2.image_processing_pil_ovis2 import Ovis2ImageProcessorPil
    from transformers.models.ovis2.processing_ovis2 import Ovis2Processor

    images = Ovis2ImageProcessorPil(size=squares(448), crop_to_patches=True)
    processor = SimpleNamespace(image_seq_length=256)
    for image in random_images("ovis2", 10, longest=1_500):
        made = images(image, **PLAIN)
        ours = seen("ovis2", (image.height, image.width))
        assert len(ours.crops) == len(made["pixel_values"])
        text = Ovis2Processor.replace_image_token(processor, made, 0)
        assert text.count("<IMG_ATOM>") == ours.visual_tokens
        assert text.count("<") - text.count("<IMG_ATOM>") == ours.structural_tokens


def test_ovis2_by_hand(seen):
    # 448 × 1344: three tiles in a row cover all of it; two columns of 672 px keep (448 / 672)²
    ours = seen("ovis2", (448, 1344))
    assert len(ours.crops) == 4  # and the thumbnail
    assert ours.visual_tokens == 4 * 256
    assert ours.structural_tokens == 5  # start, grid, end, two column ends


# --- Idefics3 and SmolVLM -----------------------------------------------------------------------

SPLITTING = [
    pytest.param("idefics3", 364, 1_456, 13, id="idefics3"),
    pytest.param("smolvlm-2b", 384, 1_536, 9, id="smolvlm-2b"),
    pytest.param("smolvlm-small", 512, 2_048, 8, id="smolvlm-small"),
]


@pytest.mark.parametrize(("family", "side", "edge", "tokens"), SPLITTING)
def test_longest_edge_grids_against_transformers(family, side, edge, tokens, seen):
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
    from transformers.models.idefics3.processing_idefics3 import Idefics3Processor

    images = Idefics3ImageProcessorPil(
        size={"longest_edge": edge}, max_image_size={"longest_edge": side}
    )
    # "\n\n" is one token, as in the tokenizers of Llama 3 and SmolLM2
    processor = SimpleNamespace(
        image_processor=images,
        image_seq_len=tokens**2,
        tokenizer=lambda *_, **__: {"input_ids": [0]},
        _merge_kwargs=lambda **_: {"images_kwargs": {}},
    )
    sizes = random_sizes(family)[:200] + ADVERSARIAL + edges(side) + SLIVERS
    counted = Idefics3Processor._get_num_multimodal_tokens(processor, sizes)["num_image_tokens"]
    for size, expected in zip(sizes, counted, strict=True):
        crops, rows, columns = images.get_number_of_image_patches(*size, {})
        assert longest_edge_grid(size, side, edge) == (rows, columns), size
        ours = seen(family, size)
        assert len(ours.crops) == crops
        assert ours.visual_tokens == crops * tokens**2
        assert ours.visual_tokens + ours.structural_tokens == expected, size


def test_longest_edge_grids_round_odd_sides_up():
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    # of even tiles that changes nothing: these are odd. 365 px become 366, two tiles
    assert longest_edge_grid((365, 1_460), 365, 1_460) == (2, 4)
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": 1_460}, max_image_size={"longest_edge": 365}
    )
    for size in random_sizes("odd tiles")[:200] + edges(365):
        _, rows, columns = images.get_number_of_image_patches(*size, {})
        assert longest_edge_grid(size, 365, 1_460) == (rows, columns), size


@pytest.mark.parametrize(("family", "side", "edge", "tokens"), SPLITTING)
def test_longest_edge_grids_against_pixels_and_text(
    family, side, edge, tokens, seen, random_images
):
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
    from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

    images = SmolVLMImageProcessorPil(
        size={"longest_edge": edge}, max_image_size={"longest_edge": side}
    )
    for image in random_images(family, 4):
        made = images(image, return_row_col_info=True, **PLAIN)
        ours = seen(family, (image.height, image.width))
        assert made["pixel_values"].shape[1:] == (len(ours.crops), 3, side, side)
        text = get_image_prompt_string(
            made["rows"][0][0], made["cols"][0][0], tokens**2, "<", "#", "G"
        )
        assert text.count("#") == ours.visual_tokens
        others = text.count("<row") + text.count("G") + text.count("\n") - 1
        others += text.count("<") - text.count("<row")
        assert others == ours.structural_tokens


# --- Llama-3.2-Vision ---------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 2, 4, 9])
def test_canvases_against_transformers(most):
    from transformers.models.mllama.image_processing_pil_mllama import get_optimal_tiled_canvas

    for size in random_sizes(f"mllama {most}")[:200] + ADVERSARIAL + edges(560) + SLIVERS:
        height, width = get_optimal_tiled_canvas(*size, most, 560)
        assert canvas_grid(size, 560, most) == (height // 560, width // 560), size


def test_llama_vision_against_the_pixels(seen, random_images):
    from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil
    from vlm_tokencost.costmodel.tokens import Processor

    processor = MllamaImageProcessorPil(size=squares(560), max_image_tiles=4)
    used = Processor(tiles="used")
    for image in random_images("mllama", 12, longest=1_200):
        made = processor(image, **PLAIN)
        size = (image.height, image.width)
        padded = seen("llama32-vision", size)
        assert made["pixel_values"].shape[1:] == (1, len(padded.crops), 3, 560, 560)
        assert padded.visual_tokens == 4 * 1601
        tiles = made["num_tiles"][0][0]
        kept = seen("llama32-vision", size, processor=used)
        assert len(kept.crops) == tiles
        assert kept.visual_tokens == kept.connector_tokens == 1601 * tiles


def test_llama_vision_pads_every_image(seen):
    ours = seen("llama32-vision", (560, 560), (560, 2240))
    assert ours.crops_per_image == (4, 4)
    assert ours.visual_tokens == 2 * 6404
    assert ours.structural_tokens == 2


# --- MiniCPM-V ----------------------------------------------------------------------------------


def test_slices_against_transformers(rule_of):
    # transformers has MiniCPM-V 4.6, which slices as 2.6 does but rounds to 56 pixels, not 14
    from transformers.models.minicpmv4_6.image_processing_pil_minicpmv4_6 import (
        MiniCPMV4_6ImageProcessorPil,
    )
    from vlm_tokencost.costmodel.tokens import Geometry

    processor = MiniCPMV4_6ImageProcessorPil()
    rule = rule_of("minicpm-v", multiple=56)
    geometry = Geometry(14, 1, lambda _: (1, 64))
    fit = {"scale_resolution": 448, "patch_size": 14, "downsample_mode": "16x"}
    for size in random_sizes("minicpm") + ADVERSARIAL[3:] + edges(448):
        grid = processor.get_sliced_grid(size, 9, 448)
        overview = processor.find_best_resize(size, **fit, allow_upscale=grid is None)
        crops = [(overview[0] // 14, overview[1] // 14)]
        if grid is not None:
            height, width = processor.get_refine_size(size, grid, **fit, allow_upscale=True)
            part = (height // grid[0] // 14, width // grid[1] // 14)
            crops += [part] * (grid[0] * grid[1])
        assert list(rule.image(size, geometry, 1).crops) == crops, size


def test_slices_against_the_pixels(rule_of, random_images):
    from transformers.models.minicpmv4_6.image_processing_pil_minicpmv4_6 import (
        MiniCPMV4_6ImageProcessorPil,
    )
    from vlm_tokencost.costmodel.tokens import Geometry

    processor = MiniCPMV4_6ImageProcessorPil()
    rule = rule_of("minicpm-v", multiple=56)
    for image in random_images("minicpm", 10, longest=1_200):
        made = processor(image, do_rescale=False, do_normalize=False)
        crops = rule.image((image.height, image.width), Geometry(14, 1, lambda _: (1, 64)), 1).crops
        assert [tuple(size) for size in made["target_sizes"].tolist()] == list(crops)
