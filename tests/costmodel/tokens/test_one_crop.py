"""Rules that make one crop of an image, against transformers' image processors."""

from types import SimpleNamespace

import pytest
from refusals import refusal
from sizes import ADVERSARIAL, edges, random_sizes
from vlm_tokencost.costmodel.tokens import Processor
from vlm_tokencost.costmodel.tokens.fixed import pan_and_scan
from vlm_tokencost.costmodel.tokens.native import fit_frames

PLAIN = {"do_rescale": False, "do_normalize": False, "return_tensors": "np"}
BALANCED = [size for size in ADVERSARIAL if max(size) <= 200 * min(size)]


# --- one square ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "module", "name", "settings", "count"),
    [
        ("llava15", "clip", "CLIP", {"crop_size": 336, "size": {"shortest_edge": 336}}, 200),
        ("video-llava", "clip", "CLIP", {"crop_size": 224, "size": {"shortest_edge": 224}}, 200),
        ("blip2", "blip", "Blip", {"size": {"height": 224, "width": 224}}, 200),
        ("paligemma-224", "siglip", "Siglip", {"size": {"height": 224, "width": 224}}, 200),
        ("paligemma-448", "siglip", "Siglip", {"size": {"height": 448, "width": 448}}, 200),
        ("paligemma-896", "siglip", "Siglip", {"size": {"height": 896, "width": 896}}, 20),
        ("gemma3", "gemma3", "Gemma3", {"size": {"height": 896, "width": 896}}, 20),
    ],
)
def test_one_square_against_the_pixels(family, module, name, settings, count, seen, random_images):
    from importlib import import_module

    found = import_module(f"transformers.models.{module}.image_processing_pil_{module}")
    processor = getattr(found, f"{name}ImageProcessorPil")(**settings)
    for image in random_images(family, count):
        pixels = processor(image, **PLAIN)["pixel_values"]
        height, width = pixels.shape[-2:]
        ours = seen(family, (image.height, image.width))
        assert ours.crops == ((height // 14, width // 14),)


# --- Gemma 3's pan and scan ---------------------------------------------------------------------


def test_pan_and_scan_against_transformers():
    import numpy as np
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    processor = Gemma3ImageProcessorPil()
    sizes = random_sizes("gemma") + ADVERSARIAL + edges(256, 308)
    for height, width in sizes:
        image = np.broadcast_to(np.zeros(1, dtype=np.uint8), (3, height, width))
        for most, least in ((4, 256), (2, 100)):
            expected = len(processor.pan_and_scan(image, least, most, 1.2))
            assert pan_and_scan((height, width), most, least) == expected, (height, width)


def test_gemma_against_its_processor(seen):
    from transformers.models.gemma3.processing_gemma3 import Gemma3Processor

    sequence = "\n" + "(" + "#" * 256 + ")" + "\n"  # "\n\n" is one token
    processor = SimpleNamespace(full_image_sequence=sequence)
    for size, crops in {(800, 800): 0, (600, 1200): 2, (2000, 500): 4}.items():
        written = Gemma3Processor.replace_image_token(processor, {"num_crops": [crops]}, 0)
        ours = seen("gemma3", size, processor=Processor(max_tiles=4))
        assert ours.visual_tokens == written.count("#")
        around = sum(written.count(character) for character in "\n()")
        assert ours.structural_tokens == around + (17 if crops else 0)
        assert len(ours.crops) == 1 + crops
        assert seen("gemma3", size).visual_tokens == 256  # off by default


# --- Qwen3-VL and GLM-4.1V ----------------------------------------------------------------------


def test_qwen3_against_its_image_processor(seen):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 65_536, "longest_edge": 16_777_216}, patch_size=16
    )
    for size in random_sizes("qwen3")[:200] + BALANCED + edges(32):
        patches = processor.get_number_of_image_patches(*size, {})
        ours = seen("qwen3-vl", size)
        assert ours.crops[0][0] * ours.crops[0][1] == patches, size
        assert ours.visual_tokens == patches // 4


def test_qwen_class_limits_are_the_class_s(seen):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil()
    for size in [*random_sizes("class")[:50], (28, 28), (4_000, 4_000)]:
        for family, patch in (("qwen2-vl", 14), ("qwen3-vl", 16)):
            patches = processor.get_number_of_image_patches(*size, {"patch_size": patch})
            ours = seen(family, size, processor=Processor(limits="class"))
            assert ours.visual_tokens == patches // 4, size


def glm_sizes():
    # sides below 28 px are scaled up first, which brings some strips within 200 : 1
    return [*random_sizes("glm")[:200], *BALANCED, *edges(14, 28, 112), (1, 199), (3, 500)]


def test_glm_against_its_image_processor(seen):
    from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil

    processor = Glm4vImageProcessorPil(size={"shortest_edge": 12_544, "longest_edge": 9_633_792})
    for size in glm_sizes():
        patches = processor.get_number_of_image_patches(*size, {})
        ours = seen("glm4v", size)
        assert ours.crops[0][0] * ours.crops[0][1] == patches, size
        assert ours.visual_tokens == patches // 4
    unlimited = Glm4vImageProcessorPil()  # the class's limits
    for size in [(4_000, 4_000), (10, 10), (2_000, 3_000)]:
        patches = unlimited.get_number_of_image_patches(*size, {})
        ours = seen("glm4v", size, processor=Processor(limits="class"))
        assert ours.visual_tokens == patches // 4


@pytest.mark.parametrize("frames", [2, 3, 5, 8, 61])
def test_fitted_frames_against_transformers(frames):
    from transformers.models.glm4v.image_processing_pil_glm4v import smart_resize

    for size in glm_sizes():
        for least, most in ((12_544, 47_040_000), (200_704, 401_408)):
            expected = smart_resize(frames, *size, 2, 28, least, most)
            assert fit_frames(size, frames, 28, least, most) == expected, size


def test_glm_limits_count_a_still_image_twice(seen):
    # 3,000² px are 107 cells of 28 px a side; twice 9 M px exceed 9,633,792: 3,000 / √(18 M /
    # 9,633,792) = 2,194.7 px, 78 cells
    assert seen("glm4v", (3_000, 3_000)).visual_tokens == 78**2
    # 1,092² px twice are 2.4 M
    assert seen("glm4v", (1092, 1092)).visual_tokens == 39**2


def test_one_crop_against_the_pixels(seen, random_images):
    from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processors = {
        "qwen3-vl": Qwen2VLImageProcessorPil(
            size={"shortest_edge": 65_536, "longest_edge": 16_777_216}, patch_size=16
        ),
        "glm4v": Glm4vImageProcessorPil(size={"shortest_edge": 12_544, "longest_edge": 9_633_792}),
    }
    for image in random_images("grids", 10, longest=500):
        for family, processor in processors.items():
            grid = processor(image, **PLAIN)["image_grid_thw"][0].tolist()
            assert [1, *seen(family, (image.height, image.width)).crops[0]] == grid


# --- Pixtral and Mistral-3 ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "edge", "cell", "patch"), [("pixtral", 1024, 16, 16), ("mistral3", 1540, 28, 14)]
)
def test_pixtral_against_transformers(family, edge, cell, patch, seen):
    import numpy as np
    from transformers.models.pixtral.image_processing_pil_pixtral import (
        get_resize_output_image_size,
    )

    checked = 0
    for size in random_sizes(family) + BALANCED + edges(cell, edge):
        if max(size) > edge and min(size) * edge < max(size):
            continue  # nothing is left of the shorter side
        image = np.broadcast_to(np.zeros(1), (*size, 3))
        height, width = get_resize_output_image_size(
            image, (edge, edge), (cell, cell), input_data_format="channels_last"
        )
        ours = seen(family, size)
        assert ours.crops == ((height // patch, width // patch),), size
        rows, columns = height // cell, width // cell
        assert ours.visual_tokens == rows * columns
        assert ours.structural_tokens == rows  # [IMG_BREAK], and [IMG_END] for the last
        checked += 1
    assert checked >= 400


def test_pixtral_against_the_pixels(seen, random_images):
    from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil

    processor = PixtralImageProcessorPil()
    for image in random_images("pixtral", 10, longest=1_500):
        height, width = processor(image, **PLAIN)["image_sizes"][0]
        ours = seen("pixtral", (image.height, image.width))
        assert ours.crops == ((height // 16, width // 16),)


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        pytest.param((1024, 1024), (64, 64), id="limit"),
        pytest.param((1025, 1024), (64, 64), id="above"),  # 1024 and ⌊1023.0…⌋ → 64 cells
        pytest.param((512, 2048), (16, 64), id="shrunk"),  # by 2: 256 × 1024
        pytest.param((17, 16), (2, 1), id="rounded-up"),
        pytest.param((1, 1), (1, 1), id="pixel"),
    ],
)
def test_pixtral_by_hand(size, grid, seen):
    ours = seen("pixtral", size)
    assert ours.crops == (grid,)
    assert ours.visual_tokens + ours.structural_tokens == grid[0] * (grid[1] + 1)


# --- Idefics2 -----------------------------------------------------------------------------------


def test_idefics2_against_transformers(seen):
    import numpy as np
    from transformers.image_utils import SizeDict
    from transformers.models.idefics2.image_processing_pil_idefics2 import (
        get_resize_output_image_size,
    )

    bounds = SizeDict(shortest_edge=378, longest_edge=980)
    for size in random_sizes("idefics2") + ADVERSARIAL + edges(378, 490):
        image = np.broadcast_to(np.zeros(1), (3, *size))
        height, width = get_resize_output_image_size(image, bounds)
        ours = seen("idefics2", size)
        assert ours.crops == ((height // 14, width // 14),), size
        assert ours.visual_tokens == 64


def test_idefics2_split_against_the_pixels(seen, random_images):
    from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil

    processor = Idefics2ImageProcessorPil(do_image_splitting=True)
    for image in random_images("idefics2", 8, longest=900):
        pixels = processor(image, **PLAIN)["pixel_values"]
        ours = seen("idefics2", (image.height, image.width), split=True)
        assert pixels.shape[:2] == (1, 5)
        # padded to the largest of the five, as the encoder computes them
        assert ours.crops == ((pixels.shape[-2] // 14, pixels.shape[-1] // 14),) * 5
        assert ours.crops_per_image == (5,)
        assert ours.visual_tokens == 320


def test_idefics2_quarters_by_hand(rule_of):
    from vlm_tokencost.costmodel.tokens import Geometry

    # quarters of 391 or 392 by 500 px: 27 or 28 by 35 patches; the whole is shrunk to 767×980
    made = rule_of("idefics2", split=True).image((783, 1000), Geometry(14, 1, lambda _: (1, 64)), 1)
    assert made.crops == ((27, 35), (27, 35), (28, 35), (28, 35), (54, 70))


def test_idefics2_against_its_processor(seen):
    from transformers.models.idefics2.processing_idefics2 import Idefics2Processor

    for split in (False, True):
        processor = SimpleNamespace(
            fake_image_token="<",
            image_token="#",
            image_seq_len=64,
            image_processor=SimpleNamespace(do_image_splitting=split),
            tokenizer=SimpleNamespace(init_kwargs={}),
            _check_special_mm_tokens=lambda *_, **__: None,
            _merge_kwargs=lambda **_: {"text_kwargs": {}, "images_kwargs": {}},
        )
        written = []
        processor.tokenizer = _Recorder(written)
        Idefics2Processor.__call__(processor, text="#")
        ours = seen("idefics2", (500, 700), split=split)
        assert written[0].count("#") == ours.visual_tokens
        assert written[0].count("<") == ours.structural_tokens == (6 if split else 2)


class _Recorder:
    """Stands in for a tokenizer: keeps what it is given."""

    def __init__(self, written: list[str]) -> None:
        self.written, self.init_kwargs = written, {}

    def __call__(self, texts: list[str], **_: object) -> dict[str, list]:
        self.written.extend(texts)
        return {}


def test_idefics2_pads_the_images_of_a_prompt_together(seen):
    # 980×490 → 70×35 patches and 400×800 → 28×57: both are computed as 70×57
    ours = seen("idefics2", (980, 490), (400, 800))
    assert ours.crops == ((70, 57), (70, 57))
    assert "padded to 70×57" in ours.note


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "size", "problem"),
    [
        pytest.param("glm4v", (28, 6_000), "aspect ratio above 200", id="glm"),
        pytest.param("qwen3-vl", (10, 2_001), "aspect ratio above 200", id="qwen3"),
        pytest.param("pixtral", (1, 2_000), "no pixel of its shorter side", id="pixtral"),
        pytest.param("mistral3", (3_100, 1), "no pixel of its shorter side", id="mistral3"),
        pytest.param("kimi-vl", (14, 7_200), "more than 511 patches", id="kimi"),
        pytest.param("phi4", (1, 3_000), "the model's processor refuses", id="phi4"),
        pytest.param("phi35-vision", (1, 3_000), "no pixel of its shorter side", id="phi35"),
    ],
)
def test_images_that_a_processor_refuses(family, size, problem, seen):
    error = refusal(seen, family, size)
    assert error.field == "image_size"
    assert error.value == f"{size[0]}x{size[1]}"
    assert problem in error.problem


def test_half_a_pixel_cannot_be_split(seen):
    error = refusal(seen, "idefics2", (1, 100), split=True)
    assert "no pixel" in error.problem
    assert seen("idefics2", (1, 100)).visual_tokens == 64
