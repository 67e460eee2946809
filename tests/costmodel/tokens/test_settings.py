"""Rules as tables, and what processor settings change."""

import pytest
from refusals import refusal
from vlm_tokencost.costmodel.tokens import RULES, Geometry, Processor, visual_input

SOURCE = ["nowhere"]
SQUARE = {"default_image": [8, 8], "source": SOURCE}


def test_every_kind_has_a_family(families):
    kinds = {table["token_rule"]["kind"] for table in families.values()}
    assert kinds == set(RULES.modules)
    videos = {table["token_rule"].get("video", {}).get("kind") for table in families.values()}
    assert videos == {None, "frames", "pairs"}


def test_every_choice_of_a_grid_has_a_family(families):
    from vlm_tokencost.costmodel.tokens.tiles import TilesRule

    tables = [table["token_rule"] for table in families.values()]
    grids = {table.get("grid", "closest-aspect") for table in tables if table["kind"] == "tiles"}
    assert grids == set(TilesRule.model_fields["grid"].annotation.__args__)


@pytest.mark.parametrize(
    ("changes", "field", "problem"),
    [
        ({"grid": "spiral"}, "grid", "is not a choice"),
        ({"max_tiles": 0}, "max_tiles", "is below 1"),
        ({"longest_edge": 100}, "tilesrule", "goes with max_tiles alone"),
        ({"grid": "fixed"}, "tilesrule", "goes with fixed_grid alone"),
        ({"grid": "longest-edge"}, "tilesrule", "goes with longest_edge alone"),
        ({"overlap": 448}, "tilesrule", "is not below tile_size"),
        ({"tile_sise": 3}, "tile_sise", "is not a known key"),
    ],
)
def test_wrong_tiles(changes, field, problem, rule_of):
    error = refusal(rule_of, "internvl", **changes)
    assert error.field == field
    assert problem in error.problem


def test_padding_to_the_most_needs_a_most(rule_of):
    error = refusal(rule_of, "monkey", padding="most")
    assert "goes with max_tiles" in error.problem


@pytest.mark.parametrize("kind", ["tile", "", 3])
def test_unknown_kind(kind, rule_of):
    error = refusal(rule_of, "internvl", kind=kind)
    assert (error.field, error.value) == ("kind", kind)


def test_unknown_kind_of_video(rule_of):
    error = refusal(rule_of, "internvl", video={"kind": "frame"})
    assert error.field == "video.kind"


# --- settings that change a rule ----------------------------------------------------------------


def test_pixel_limits(seen):
    # 1,024 px: 37 cells of 28 px; at most 401,408 px = 512 cells: 1,024 / √(1,048,576 / 401,408)
    # = 633.6 px, 22 cells
    limited = seen("qwen2-vl", (1024, 1024), processor=Processor(max_pixels=401_408))
    assert limited.visual_tokens == 22**2
    # at least 200,704 px: 100 px grow to ⌈448 / 28⌉ = 16 cells
    grown = seen("qwen2-vl", (100, 100), processor=Processor(min_pixels=200_704))
    assert grown.visual_tokens == 16**2


def test_pixel_limits_of_frames(seen):
    settings = Processor(max_pixels=401_408)
    assert seen("qwen2-vl", (1024, 1024), frames=4, processor=settings).visual_tokens == 2 * 22**2


@pytest.mark.parametrize(
    ("family", "most", "size", "crops"),
    [
        pytest.param("internvl", 6, (896, 1792), 3, id="internvl"),  # 1×2; 2×4 would be 8
        pytest.param("internvl", 1, (896, 1792), 1, id="one-tile"),
        pytest.param("llama32-vision", 2, (1120, 1120), 2, id="padded-to-the-most"),
        pytest.param("phi35-vision", 16, (1000, 1000), 17, id="phi35"),
        pytest.param("minicpm-v", 1, (1344, 1344), 1, id="not-sliced"),
        pytest.param("molmo", 4, (1024, 1024), 5, id="molmo"),
        pytest.param("deepseek-vl2", 4, (4000, 4000), 5, id="deepseek"),
        pytest.param("ovis2", 9, (1344, 1344), 10, id="ovis2"),
        pytest.param("gemma3", 2, (500, 2000), 3, id="pan-and-scan"),
    ],
)
def test_tile_limits(family, most, size, crops, seen):
    assert len(seen(family, size, processor=Processor(max_tiles=most)).crops) == crops


def test_padding_tiles_may_be_left_out(seen):
    used = Processor(tiles="used")
    # one tile of four: 1,601 keys
    assert seen("llama32-vision", (560, 560), processor=used).visual_tokens == 1601
    # tokens are the same; the crops of padding are not computed: 1×2 and the whole
    padded, kept = (
        seen("phi35-vision", (336, 672), processor=settings) for settings in (Processor(), used)
    )
    assert (len(padded.crops), len(kept.crops)) == (5, 3)
    assert padded.visual_tokens == kept.visual_tokens
    assert "padded by 2 more" in padded.note
    # and crops of other images are not evened out
    assert seen("phi4", (448, 448), (896, 1344), processor=used).crops_per_image == (2, 7)


def test_class_limits_of_phi35(seen):
    ours = seen("phi35-vision", (2000, 1000), processor=Processor(limits="class"))
    assert ours.visual_tokens == 313  # num_crops 1: 2 · 144 + 1 + 2 · 12


def test_class_limits_may_be_of_any_field(seen):
    # the checkpoint splits images, transformers' class does not
    fields = {"split": True, "class_limits": {"split": False}}
    assert seen("idefics2", (500, 500), **fields).visual_tokens == 320
    ours = seen("idefics2", (500, 500), processor=Processor(limits="class"), **fields)
    assert ours.visual_tokens == 64


def test_every_class_limit_fits_its_rule(families, rule_of):
    for family, tables in families.items():
        if "class_limits" in tables["token_rule"]:
            rule = rule_of(family).configured(Processor(limits="class"))
            assert dict(rule).items() >= tables["token_rule"]["class_limits"].items()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"second_size": 768}, "goes with second_patch_size"),
        ({"default_frames": 8}, "goes with a video rule"),
    ],
)
def test_fields_that_go_together(changes, problem, rule_of):
    assert problem in refusal(rule_of, "llava15", **changes).problem


@pytest.mark.parametrize(
    ("family", "settings", "field"),
    [
        ("llava15", {"limits": "class"}, "processor.limits"),
        ("llava15", {"max_tiles": 3}, "processor.max_tiles"),
        ("llava15", {"min_pixels": 3}, "processor.min_pixels"),
        ("internvl", {"max_pixels": 3}, "processor.max_pixels"),
        ("internvl", {"tiles": "used"}, "processor.tiles"),
        ("monkey", {"max_tiles": 3}, "processor.max_tiles"),
        ("idefics3", {"max_tiles": 3}, "processor.max_tiles"),
        ("qwen2-vl", {"max_tiles": 3}, "processor.max_tiles"),
        ("llava-next", {"max_tiles": 3}, "processor.max_tiles"),
        ("pixtral", {"max_pixels": 3}, "processor.max_pixels"),
    ],
)
def test_settings_without_effect_are_refused(family, settings, field, rule_of):
    rule = rule_of(family)
    error = refusal(rule.configured, Processor(**settings))
    assert error.field == field
    assert "changes nothing for this model" in error.problem


def test_no_settings_leave_the_rule_alone(families, rule_of):
    for family in families:
        rule = rule_of(family)
        assert rule.configured(Processor()) is rule


# --- LLaVA's flat merge -------------------------------------------------------------------------


def test_flat_anyres_is_the_papers_2880(seen):
    ours = seen("llava-next", (672, 672), merge="flat")
    assert (ours.visual_tokens, ours.separator_tokens) == (5 * 576, 0)
    # nothing is un-padded: 2×2 crops whatever the image's shape within them
    assert seen("llava-next", (480, 640), merge="flat").visual_tokens == 2880
    assert seen("llava-next", (336, 1008), merge="flat").visual_tokens == 4 * 576


# --- several images -----------------------------------------------------------------------------


def test_several_images_add_up(families, rule_of, seen):
    alone = ("llava-onevision", "llava-video", "idefics2", "phi4", "minicpm-v")  # made otherwise
    for family in families:
        if family in alone:
            continue
        first, second = (seen(family, size) for size in ((300, 500), (900, 400)))
        both = seen(family, (300, 500), (900, 400))
        for count in ("connector_tokens", "visual_tokens", "separator_tokens", "structural_tokens"):
            assert getattr(both, count) == getattr(first, count) + getattr(second, count), family
        assert both.crops == first.crops + second.crops
        assert both.crops_per_image == first.crops_per_image + second.crops_per_image


def test_rules_need_no_more_than_a_table():
    rule = RULES.build({"kind": "fixed", "image_size": 28, **SQUARE})
    geometry = Geometry(patch_size=14, merge_size=1, connected=lambda crop: crop)
    assert visual_input(rule, [(5, 5)], geometry).visual_tokens == 4
    assert RULES.build(rule) is rule
