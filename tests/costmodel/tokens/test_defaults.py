"""What each family makes of its default workload, worked out by hand."""

import pytest

#: family: (M, S, learned separators among M, tokens of the connector, crops, grid of a crop)
DEFAULTS = {
    "llava15": (576, 0, 0, 576, 1, (24, 24)),  # 336 / 14 = 24
    "llava-next": (2928, 0, 48, 2880, 5, (24, 24)),  # 576 + 48·48 + 48; 5 · 576
    "llava-onevision": (1485, 0, 27, 1458, 2, (27, 27)),  # 729 + 27·27 + 27; 2 · 729
    # 64 frames of 13 rows of 13 and a newline: 64 · 13·14; 64 · 729
    "llava-video": (11_648, 0, 832, 46_656, 64, (27, 27)),
    "video-llava": (2056, 0, 0, 2056, 8, (16, 16)),  # 8 · (16² + class token)
    "llava-next-video": (1152, 0, 0, 1152, 8, (24, 24)),  # 8 · 12²
    "blip2": (32, 0, 0, 32, 1, (16, 16)),
    "qwen2-vl": (1521, 2, 0, 1521, 1, (78, 78)),  # (1092 / 28)² = 39²
    "qwen25-omni": (1521, 2, 0, 1521, 1, (78, 78)),
    "qwen3-vl": (1024, 2, 0, 1024, 1, (64, 64)),  # (1024 / 32)²
    "internvl": (256, 2, 0, 256, 1, (32, 32)),  # (448 / 14 / 2)²
    "fastvlm": (256, 0, 0, 256, 1, (16, 16)),  # (1024 / 64)²
    "idefics2": (64, 2, 0, 64, 1, (70, 70)),  # 980 / 14 = 70
    # (16 + 1) · 13²; 16 · 2 + 4 newlines + 3
    "idefics3": (2873, 39, 0, 2873, 17, (26, 26)),
    "smolvlm-2b": (1377, 39, 0, 1377, 17, (27, 27)),  # 17 · 9²
    "smolvlm-small": (1088, 39, 0, 1088, 17, (32, 32)),  # 17 · 8²
    "paligemma-224": (256, 0, 0, 256, 1, (16, 16)),
    "paligemma-448": (1024, 0, 0, 1024, 1, (32, 32)),
    "paligemma-896": (4096, 0, 0, 4096, 1, (64, 64)),
    "gemma3": (256, 4, 0, 256, 1, (64, 64)),  # (896 / 14 / 4)²
    "llama32-vision": (6404, 1, 0, 6404, 4, (40, 40)),  # 4 · (40² + class token)
    "pixtral": (4096, 64, 0, 4096, 1, (64, 64)),  # 64², and a token after each row
    "mistral3": (3025, 55, 0, 3025, 1, (110, 110)),  # (1540 / 28)² = 55²
    "phi4": (545, 0, 33, 545, 2, (32, 32)),  # 2 · (16² + 16) + 1
    "glm4v": (1521, 2, 0, 1521, 1, (78, 78)),
    "ovis2": (256, 3, 0, 256, 1, (32, 32)),
    "aya-vision": (169, 3, 0, 169, 1, (26, 26)),  # (364 / 14 / 2)²
    "qwen-vl": (256, 2, 0, 256, 1, (32, 32)),
    "monkey": (1280, 2, 0, 1280, 5, (32, 32)),  # (4 + 1) · 256
    # 2×2 crops and the whole: 5 · 12² + (24 + 12) newlines + 1
    "phi35-vision": (757, 0, 37, 757, 5, (24, 24)),
    # (9 + 1) · 64; 3 of the image's number, 2 · 10 around the slices, 2 newlines
    "minicpm-v": (640, 25, 0, 640, 10, (32, 32)),
    # 28² of 3×3 crops and 12²; 28 + 12 row ends, 4 starts and ends; 10 · 12² pass the connector
    "molmo": (928, 44, 0, 1440, 10, (24, 24)),
    "openvla": (256, 0, 0, 256, 1, (16, 16)),
    "kimi-vl": (1024, 4, 0, 1024, 1, (64, 64)),  # (896 / 28)²
    "deepseek-vl2": (421, 0, 29, 392, 2, (27, 27)),  # 2 · (14² + 14) + 1
    "mobilevlm-v2": (144, 0, 0, 144, 1, (24, 24)),
    "tokenpacker": (144, 0, 0, 144, 1, (24, 24)),
    # (9 + 1) · 12²; 6 commas and 3 newlines, and one after the whole
    "tokenpacker-hd": (1440, 10, 0, 1440, 10, (24, 24)),
    "mini-gemini": (576, 0, 0, 576, 1, (24, 24)),
    "mini-gemini-hd": (2880, 0, 0, 2880, 5, (24, 24)),  # (4 + 1) · 576
    "vila-384": (196, 0, 0, 196, 1, (27, 27)),  # 27 padded to 28: 14²
    "vila-448": (256, 0, 0, 256, 1, (32, 32)),
    "llava-uhd": (448, 6, 0, 448, 7, (24, 24)),  # (6 + 1) · 64
    "openflamingo": (64, 1, 0, 64, 1, (16, 16)),  # 64 latents, cross-attention keys
}


@pytest.mark.parametrize("family", DEFAULTS)
def test_default_workload(family, rule_of, seen):
    rule = rule_of(family)
    made = seen(family, rule.default_image, frames=rule.default_frames)
    visual, structural, separators, connected, crops, grid = DEFAULTS[family]
    assert made.visual_tokens == visual
    assert made.structural_tokens == structural
    assert made.separator_tokens == separators
    assert made.connector_tokens == connected
    assert made.crops == (grid,) * crops
    assert made.crops_per_image == (crops,)
    assert made.note


def test_every_family_has_a_default(families):
    assert set(families) == set(DEFAULTS)


@pytest.mark.parametrize(
    ("family", "grid"),
    [
        pytest.param("mini-gemini", (24, 24), id="base"),  # 768 px, of a total stride of 32
        pytest.param("mini-gemini-hd", (48, 48), id="hd"),  # 1,536 / 32
    ],
)
def test_mini_geminis_second_encoder_sees_one_large_image(family, grid, seen):
    assert seen(family, (500, 300)).second_crops == (grid,)
    assert seen(family, (500, 300), (70, 80)).second_crops == (grid, grid)


def test_most_second_encoders_see_the_crops(seen):
    assert seen("openvla", (224, 224)).second_crops == ()
