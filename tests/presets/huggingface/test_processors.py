"""A preprocessor_config.json beside config.json decides about tokens; without it the class does."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vlm_tokencost.costmodel import InvalidInput, Model, Workload, plan
from vlm_tokencost.presets.huggingface import read_config, read_file
from vlm_tokencost.presets.huggingface.families import FAMILIES, rules
from vlm_tokencost.presets.huggingface.processor_types import PROCESSORS, class_stem

Contents = Callable[[str], dict[str, Any]]
Refusal = Callable[..., InvalidInput]


def tokens(model: Model, *sizes: tuple[int, int]) -> int:
    """Return the visual tokens of images."""
    return plan(model, Workload(images=sizes)).dense_visual_tokens


@pytest.mark.parametrize(
    ("limits", "side", "expected"),
    [
        # (1092/28)² = 1,521 fits the checkpoint's limit, and not the class's 1,003,520 pixels
        ({"min_pixels": 3136, "max_pixels": 12_845_056}, 1_092, 39 * 39),
        ({"size": {"shortest_edge": 3136, "longest_edge": 12_845_056}}, 1_092, 39 * 39),
        ({"min_pixels": 3136, "max_pixels": 784 * 100}, 1_092, 10 * 10),
        ({"min_pixels": 784 * 400, "max_pixels": 12_845_056}, 28, 20 * 20),
        (None, 1_092, 35 * 35),  # ⌊√1,003,520 / 28⌋ = 35
        ({}, 1_092, 35 * 35),
    ],
)
def test_pixel_limits(
    limits: dict[str, Any] | None, side: int, expected: int, content: Contents
) -> None:
    model = read_config(content("qwen2-vl-7b"), limits)
    assert tokens(model, (side, side)) == expected
    defaulted = {"preprocessor.min_pixels", "preprocessor.max_pixels"}
    assert (defaulted <= set(model.defaulted)) is not bool(limits)
    # the class's limits stay selectable where the file has others
    assert bool(model.token_rule.class_limits) is bool(limits)


def test_glm_counts_two_frames(content: Contents) -> None:
    # Glm4vImageProcessor's 11,760,000 pixels over two frames: √5,880,000 = 2,424.9 → 86 · 28
    assert tokens(read_config({"model_type": "glm4v"}), (4_000, 4_000)) == 86 * 86


@pytest.mark.parametrize(
    ("name", "processor", "expected"),
    [
        ("internvl3-8b", {"max_patches": 4, "min_patches": 1}, (2 * 2 + 1) * 256),
        ("internvl3-8b", None, (3 * 3 + 1) * 256),
        # Ovis2's class cuts nothing by default; get_min_tile_covering_grid gives (3, 4) and (2, 2)
        ("ovis2-8b", None, 256),
        ("ovis2-8b", {"crop_to_patches": True}, (3 * 4 + 1) * 256),
        ("ovis2-8b", {"crop_to_patches": True, "max_patches": 4}, (2 * 2 + 1) * 256),
        # tiles of 512 along 2,048 pixels, 8×8 tokens each; 1,024; without splitting
        ("smolvlm-256m", None, (4 * 4 + 1) * 64),
        ("smolvlm-256m", {"size": {"longest_edge": 1_024}}, (2 * 2 + 1) * 64),
        ("smolvlm-256m", {"max_image_size": {"longest_edge": 512}}, (4 * 4 + 1) * 64),
        ("smolvlm-256m", {"do_image_splitting": False}, 64),
        ("pixtral-12b", {"size": {"longest_edge": 512}}, 32 * 32),
        ("fastvlm-7b", {"crop_size": {"height": 512, "width": 512}}, 8 * 8),
        ("llava-1.5-7b", {"crop_size": {"height": 336, "width": 336}}, 576),
        ("llava-1.5-7b", {"size": {"shortest_edge": 336}, "crop_size": 336}, 576),
    ],
)
def test_sizes(
    name: str, processor: dict[str, Any] | None, expected: int, content: Contents
) -> None:
    assert tokens(read_config(content(name), processor), (2_000, 2_000)) == expected


def test_quarters(content: Contents) -> None:
    config: dict[str, Any] = {"model_type": "idefics2", "vision_config": {"patch_size": 14}}
    assert tokens(read_config(config), (980, 980)) == 64
    assert tokens(read_config(config, {"do_image_splitting": True}), (980, 980)) == 5 * 64


def test_pan_and_scan(content: Contents) -> None:
    gemma = content("gemma3-4b")
    panning = {"do_pan_and_scan": True, "pan_and_scan_max_num_crops": 3}
    assert tokens(read_config(gemma, {"do_pan_and_scan": None}), (500, 2_000)) == 256
    # 2000/500 = 4 crops, of which 3 are allowed, beside the image
    assert tokens(read_config(gemma, panning), (500, 2_000)) == 4 * 256


@pytest.mark.parametrize(
    ("name", "processor", "field", "fragment"),
    [
        ("llava-1.5-7b", {"crop_size": {"height": 224, "width": 224}}, "crop_size.height", "336"),
        ("llava-onevision-7b", {"size": {"height": 384, "width": 400}}, "size.width", "384"),
        ("qwen2-vl-7b", {"min_pixels": "3136"}, "min_pixels", "is not a whole number"),
        ("qwen2-vl-7b", {"min_pixels": 9, "max_pixels": 4}, "min_pixels", "is above max_pixels"),
        ("qwen2-vl-7b", {"size": {"longest_edge": -1}}, "size.longest_edge", "is below 1"),
        ("internvl3-8b", {"max_patches": 0}, "max_patches", "is below 1"),
        ("internvl3-8b", {"max_patches": 1_001}, "max_patches", "is above 1,000"),
        ("internvl3-8b", {"min_patches": 2}, "min_patches", "only 1 can be read"),
        ("ovis2-8b", {"use_covering_area_grid": False}, "use_covering", "only true can be read"),
        ("smolvlm-256m", {"size": {"longest_edge": 20_000}}, "size.longest_edge", "1,000 tiles"),
        (
            "llava-next-vicuna-7b",
            {"image_grid_pinpoints": [[336, 672]]},
            "image_grid_pinpoints",
            "is not the list of config.json",
        ),
        ("smolvlm-256m", {"max_image_size": {"longest_edge": 600}}, "max_image_size", "above the"),
        ("smolvlm-256m", {"do_image_splitting": 1}, "do_image_splitting", "true nor false"),
        ("pixtral-12b", {"size": "large"}, "size", "is not a size"),
        (
            "fastvlm-7b",
            {"crop_size": {"height": 1_000}},
            "crop_size.height",
            "is no multiple of 64",
        ),
        ("llama3.2-vision-11b", {"max_image_tiles": 6}, "max_image_tiles", "max_num_tiles 4"),
    ],
)
def test_a_processor_that_does_not_fit(
    name: str,
    processor: dict[str, Any],
    field: str,
    fragment: str,
    content: Contents,
    refusal: Refusal,
) -> None:
    error = refusal(content(name), processor)
    assert error.field.startswith(f"processor.{field}")
    assert fragment in str(error)


@pytest.mark.parametrize(
    ("name", "processor", "field"),
    [
        ("qwen2-vl-7b", {"patch_size": 16}, "patch_size"),
        ("qwen2.5-vl-7b", {"merge_size": 4}, "merge_size"),
        ("qwen3-vl-8b", {"temporal_patch_size": 1}, "temporal_patch_size"),
        ("qwen3-vl-8b", {"patch_size": 14}, "patch_size"),
        ("pixtral-12b", {"patch_size": {"height": 14, "width": 14}}, "patch_size"),
        ("pixtral-12b", {"patch_size": "16"}, "patch_size"),
        ("llava-1.5-7b", {"image_processor_type": "Qwen2VLImageProcessor"}, "image_processor_type"),
        ("qwen2-vl-7b", {"image_processor_type": "CLIPImageProcessor"}, "image_processor_type"),
        ("gemma3-4b", {"image_processor_type": "SiglipImageProcessorFast"}, "image_processor_type"),
        ("llava-1.5-7b", {"do_resize": False}, "do_resize"),
        ("qwen2-vl-7b", {"do_resize": False}, "do_resize"),
    ],
)
def test_a_processor_that_contradicts_the_config(
    name: str, processor: dict[str, Any], field: str, content: Contents, refusal: Refusal
) -> None:
    error = refusal(content(name), processor)
    assert error.field == f"processor.{field}"
    shown = processor[field]
    assert (str(shown) if isinstance(shown, str | int) else json.dumps(shown)) in (
        str(error).replace("false", "False")
    )


def test_a_video_processor_that_contradicts_the_config(content: Contents) -> None:
    for wrong in ({"patch_size": 14}, {"merge_size": 1}, {"do_resize": False}):
        with pytest.raises(InvalidInput) as caught:
            read_config(content("qwen3-vl-8b"), video_processor=wrong)
        assert caught.value.field == f"video_processor.{next(iter(wrong))}"


@pytest.mark.parametrize(
    ("name", "processor"),
    [
        (
            "qwen2-vl-7b",
            {
                "image_processor_type": "Qwen2VLImageProcessorFast",
                "patch_size": 14,
                "merge_size": 2,
                "temporal_patch_size": 2,
                "do_resize": True,
            },
        ),
        ("pixtral-12b", {"patch_size": {"height": 16, "width": 16}, "do_resize": None}),
        ("pixtral-12b", {"patch_size": 16, "image_processor_type": "PixtralImageProcessor"}),
        ("internvl3-8b", {"image_processor_type": "SomeImageProcessor"}),
    ],
)
def test_a_processor_that_agrees(name: str, processor: dict[str, Any], content: Contents) -> None:
    read = read_config(content(name), processor)
    assert tokens(read, (448, 448)) == tokens(read_config(content(name)), (448, 448))


@pytest.mark.parametrize("model_type", FAMILIES)
def test_processors_are_those_of_transformers(model_type: str) -> None:
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    if model_type not in IMAGE_PROCESSOR_MAPPING_NAMES:
        assert model_type in {"fast_vlm", "qwen3_vl_moe"}
        return
    for name in IMAGE_PROCESSOR_MAPPING_NAMES[model_type].values():
        assert name is None or class_stem(name) in PROCESSORS[model_type]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (
            {"model_type": "mistral3"},
            "preprocessor.size.longest_edge (from vision_config.image_size)",
        ),
        (
            "fastvlm-7b",
            "preprocessor.crop_size.height (from the released checkpoints)",
        ),
        (
            "pixtral-12b",
            "preprocessor.size.longest_edge (from vision_config.image_size)",
        ),
        (
            "idefics3-8b",
            "preprocessor.max_image_size.longest_edge (from vision_config.image_size)",
        ),
        (
            "smolvlm2-256m",
            "preprocessor.size.longest_edge (from four times vision_config.image_size)",
        ),
    ],
    ids=str,
)
def test_a_size_of_the_encoder_is_told_as_such(
    config: dict[str, Any] | str, told: str, content: Contents
) -> None:
    model = read_config(content(config) if isinstance(config, str) else config)
    assert told in model.defaulted
    assert "preprocessor.size.longest_edge" not in model.defaulted
    edge = {"size": {"longest_edge": 384}, "max_image_size": {"longest_edge": 128}}
    if config in ("pixtral-12b", "smolvlm2-256m"):
        given = read_config(content(str(config)), edge)
        assert not any("longest_edge" in name for name in given.defaulted)


def test_a_size_of_another_is_told_as_such(content: Contents) -> None:
    # four tiles of 256 along the edge, though the encoder takes 512
    model = read_config(content("smolvlm-256m"), {"max_image_size": {"longest_edge": 256}})
    origin = "preprocessor.max_image_size.longest_edge"
    assert f"preprocessor.size.longest_edge (from four times {origin})" in model.defaulted
    assert model.token_rule.longest_edge == 1_024


def test_videos(content: Contents) -> None:
    def limits(name: str, **files: Any) -> tuple[int, int]:
        video = read_config(content(name), **files).token_rule.video
        return video.min_pixels, video.max_pixels

    own = {"size": {"shortest_edge": 4_096, "longest_edge": 25_165_824}}
    assert limits("qwen3-vl-8b", video_processor=own) == (4_096, 25_165_824)
    assert limits("qwen3-vl-8b", processor={"max_pixels": 9_999}) == (131_072, 786_432)
    assert limits("qwen2-vl-7b", video_processor=own) == (4_096, 25_165_824)
    assert limits("qwen2-vl-7b") == (100_352, 602_112)
    # without a file of their own, Qwen2-VL's videos have the limits of its images
    images = {"min_pixels": 3_136, "max_pixels": 12_845_056}
    assert limits("qwen2-vl-7b", processor=images) == (3_136, 12_845_056)
    told = read_config(content("qwen3-vl-8b")).defaulted
    assert "video_preprocessor.max_pixels" in told


def sizes(path: str, name: str) -> dict[str, int]:
    """Return `size` of a transformers class, from its source: importing it needs torchvision."""
    import transformers

    source = Path(transformers.__file__).parent / "models" / path
    classes = [
        node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.ClassDef)
    ]
    (found,) = [node for node in classes if node.name == name]
    for node in found.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "size":
            result: dict[str, int] = eval(compile(ast.Expression(node.value), path, "eval"), {})
            return result
    raise AssertionError(f"{name} has no size")


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        (
            "qwen2_vl/image_processing_pil_qwen2_vl.py",
            "Qwen2VLImageProcessorPil",
            rules.QWEN_LIMITS,
        ),
        ("qwen2_vl/video_processing_qwen2_vl.py", "Qwen2VLVideoProcessor", rules.QWEN_VIDEO_LIMITS),
        (
            "qwen3_vl/video_processing_qwen3_vl.py",
            "Qwen3VLVideoProcessor",
            rules.QWEN3_VIDEO_LIMITS,
        ),
        ("glm4v/image_processing_pil_glm4v.py", "Glm4vImageProcessorPil", rules.GLM_LIMITS),
        ("glm4v/video_processing_glm4v.py", "Glm4vVideoProcessor", rules.GLM_VIDEO_LIMITS),
        ("idefics2/image_processing_pil_idefics2.py", "Idefics2ImageProcessorPil", (378, 980)),
    ],
)
def test_limits_are_those_of_the_class(path: str, name: str, expected: tuple[int, int]) -> None:
    size = sizes(path, name)
    assert (size["shortest_edge"], size["longest_edge"]) == expected


def test_canvases_are_those_of_the_class() -> None:
    from transformers import LlavaNextConfig, LlavaOnevisionConfig

    for config in (LlavaNextConfig(), LlavaOnevisionConfig()):
        read = read_config({"model_type": config.model_type}).token_rule.resolutions
        assert [list(canvas) for canvas in read] == config.image_grid_pinpoints


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("preprocessor_config.json", {"min_pixels": 3_136, "max_pixels": 78_400}),
        # transformers 5 writes one file for all of a processor
        (
            "processor_config.json",
            {"image_processor": {"size": {"shortest_edge": 3_136, "longest_edge": 78_400}}},
        ),
    ],
)
def test_the_file_beside_is_read(
    name: str, written: dict[str, Any], content: Contents, tmp_path: Path
) -> None:
    folder = tmp_path / "Qwen2-VL 7B"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(content("qwen2-vl-7b")))
    assert read_file(folder).token_rule.max_pixels == 1_003_520
    (folder / name).write_text(json.dumps(written))
    for path in (folder, folder / "config.json", str(folder)):
        model = read_file(path)
        assert model.token_rule.max_pixels == 78_400
        assert model.id == "Qwen2-VL-7B"
    assert read_file(folder, model_id="mine").id == "mine"
    assert any(str(folder / "config.json") in source for source in model.source)
    assert read_config(folder, {"max_pixels": 7_840}).token_rule.max_pixels == 7_840
    (folder / name).write_text("{")
    with pytest.raises(InvalidInput, match="is not JSON"):
        read_file(folder)


def test_a_processor_s_file_that_is_empty(content: Contents, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(content("llava-1.5-7b")))
    for name in ("video_preprocessor_config.json", "preprocessor_config.json"):
        (tmp_path / name).touch()
        with pytest.raises(InvalidInput) as caught:
            read_file(tmp_path)
        sentence = str(caught.value)
        assert sentence.startswith("config ")
        # however long the path is, its end is shown
        assert sentence.endswith(
            f"/{name} is empty, which is not JSON; "
            "mend it, or remove it for the defaults, which the output names"
        )
