"""A preprocessor_config.json beside config.json decides about tokens; without it the class does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vlm_tokencost.costmodel import InvalidInput, Model, Workload, plan
from vlm_tokencost.presets.huggingface import read_config, read_file

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
        ("ovis2-8b", {"max_patches": 1}, 256),
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
    assert error.field.startswith(f"processor.{field}") or "image_size" in error.field
    assert fragment in str(error)


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
