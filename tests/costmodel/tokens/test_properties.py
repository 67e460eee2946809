"""What holds of every family and any size: tokens are positive and grow with the image.

Scaling an image up by a whole number never lowers its tokens, with the exceptions of `FALLS`.
"""

import pytest
from hypothesis import assume, example, given, reject
from hypothesis import strategies as st
from vlm_tokencost.costmodel.errors import InvalidInput

SIDES = st.integers(1, 8_000)

#: Where (tokens, crops) fall although an image grows: family → (size, how many times, before,
#: after), found by search, and why.
FALLS = {
    # the canvas keeps most of the pixels, counted in whole rows and columns: rounding decides
    "llava-next": ((1688, 843), 3, (1776, 4), (1776, 3)),
    "llava-next-video": ((1688, 843), 3, (1776, 4), (1776, 3)),
    "deepseek-vl2": ((1760, 1173), 5, (1835, 9), (1429, 7)),
    # from 1.21 · 9 crops on the grid is shrunk to 9 crops
    "llava-onevision": ((1149, 1649), 3, (7295, 16), (7228, 31)),
    "llava-video": ((1149, 1649), 3, (7295, 16), (7228, 31)),
    # too small images grow to sides that are rounded up, others are rounded half to even
    "qwen2-vl": ((29, 22), 2, (6, 1), (4, 1)),
    "qwen25-omni": ((29, 22), 2, (6, 1), (4, 1)),
    "qwen3-vl": ((18, 282), 4, (96, 1), (70, 1)),
    "glm4v": ((34, 21), 3, (12, 1), (8, 1)),
    # sides are padded after the limit on patches, which counts whole patches alone
    "kimi-vl": ((1104, 1535), 5, (1092, 1), (1064, 1)),
    # the fewest tiles that keep 90 %, or the most pixels: parts are whole pixels
    "ovis2": ((5924, 604), 5, (3328, 13), (2816, 11)),
    # images of more than 36 crops fall back to the closest aspect ratio
    "phi4": ((1323, 3332), 3, (6129, 25), (2865, 11)),
    # margins of 112 px make a small image look more elongated than it is
    "molmo": ((2670, 466), 4, (960, 9), (864, 8)),
    # tiny images fill every grid alike but for rounding
    "tokenpacker-hd": ((16, 9), 5, (1296, 9), (432, 3)),
}


def families_table():
    import tomllib
    from pathlib import Path

    return tomllib.loads((Path(__file__).parent / "families.toml").read_text(encoding="utf-8"))


FAMILIES = sorted(families_table())


@pytest.mark.parametrize("family", FAMILIES)
@given(height=SIDES, width=SIDES)
@example(height=1, width=1)
@example(height=8_000, width=8_000)
def test_counts_are_consistent(family, height, width, seen):
    try:
        ours = seen(family, (height, width))
    except InvalidInput as error:
        assert error.field == "image_size"
        return
    assert ours.visual_tokens > 0
    assert ours.connector_tokens > 0
    assert 0 <= ours.separator_tokens < ours.visual_tokens or family.startswith("llava-next")
    assert ours.structural_tokens >= 0
    assert sum(ours.crops_per_image) == len(ours.crops)
    assert all(min(crop) > 0 for crop in ours.crops)
    assert type(ours.visual_tokens) is int
    # what is kept of the connector's tokens is not more than left it
    assert ours.visual_tokens - ours.separator_tokens <= ours.connector_tokens


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in FALLS])
@given(height=SIDES, width=SIDES, factor=st.integers(2, 5))
def test_larger_images_never_have_fewer_tokens(family, height, width, factor, seen):
    assume(max(height, width) * factor <= 65_535)
    try:
        small, large = (seen(family, (scale * height, scale * width)) for scale in (1, factor))
    except InvalidInput:
        reject()
    assert small.visual_tokens <= large.visual_tokens
    assert len(small.crops) <= len(large.crops)


@pytest.mark.parametrize("family", FALLS)
def test_where_a_larger_image_has_fewer_tokens(family, seen):
    (height, width), factor, before, after = FALLS[family]
    small, large = seen(family, (height, width)), seen(family, (factor * height, factor * width))
    assert (small.visual_tokens, len(small.crops)) == before
    assert (large.visual_tokens, len(large.crops)) == after


#: The most visual tokens of those families, by hand.
MOST = {
    "llava-next": 576 + 48 * 48 + 48,
    "llava-next-video": 576 + 48 * 48 + 48,
    "deepseek-vl2": 14 * 15 + 1 + 9 * 14 * 15,  # 9 tiles one above the other: most newlines
    # less than 1.21 · 9 · 729 of the grid, a newline per row (at most 6 · 27) and the base crop
    "llava-onevision": 729 + 7_938 + 162,
    "llava-video": 729 + 7_938 + 162,
    "qwen2-vl": 16_384,  # 12,845,056 / 28²
    "qwen25-omni": 16_384,
    "qwen3-vl": 16_384,  # 16,777,216 / 32²
    "glm4v": 6_144,  # 9,633,792 / 2 / 28²
    "kimi-vl": 1_024 + 512,  # 4,096 patches, and rows or columns that pad up to 511 of them
    "ovis2": 13 * 256,
    "phi4": 273 + 36 * 256 + 36 * 16,
    "molmo": 144 + (8 * 12 + 4) * 12,  # strips of 12: 3×4 is 28 · 36, less
    "tokenpacker-hd": 10 * 144,
}


@pytest.mark.parametrize("family", FALLS)
@given(height=SIDES, width=SIDES)
def test_tokens_stay_within_a_family_s_bounds(family, height, width, seen):
    try:
        tokens = seen(family, (height, width)).visual_tokens
    except InvalidInput:
        reject()
    assert tokens <= MOST[family]


@pytest.mark.parametrize(
    "family", ["qwen2-vl", "qwen3-vl", "glm4v", "llava-onevision", "internvl", "video-llava"]
)
@given(height=SIDES, width=SIDES, frames=st.integers(2, 40))
def test_more_frames_have_more_crops(family, height, width, frames, seen):
    try:
        few, more = (seen(family, (height, width), frames=count) for count in (frames, frames + 2))
    except InvalidInput:
        reject()
    assert len(few.crops) < len(more.crops)
    # limits over a whole video take pixels from each frame instead
    if family not in ("qwen3-vl", "glm4v"):
        assert few.visual_tokens < more.visual_tokens
    assert few.visual_tokens > 0
