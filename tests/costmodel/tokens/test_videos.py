"""What becomes of the frames of a video, against transformers and by hand."""

from types import SimpleNamespace

import pytest
from refusals import refusal
from sizes import random_sizes
from vlm_tokencost.costmodel.tokens import Processor

FRAMES = (1, 2, 3, 7, 8, 16, 61)


def balanced(seed: str, count: int) -> list[tuple[int, int]]:
    return [size for size in random_sizes(seed) if max(size) <= 200 * min(size)][:count]


# --- pairs of frames ----------------------------------------------------------------------------


def test_qwen3_videos_against_transformers(seen):
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    size = {"shortest_edge": 4_096, "longest_edge": 25_165_824}
    checkpoint, defaults = Qwen3VLVideoProcessor(size=size), Qwen3VLVideoProcessor()
    for frame in balanced("qwen3 video", 200):
        for frames in FRAMES[1:]:
            for processor, limits in ((checkpoint, "checkpoint"), (defaults, "class")):
                patches = processor.get_num_of_video_patches(frames, *frame)
                ours = seen("qwen3-vl", frame, frames=frames, processor=Processor(limits=limits))
                assert sum(rows * columns for rows, columns in ours.crops) == patches
                assert len(ours.crops) == (frames + 1) // 2
                assert ours.visual_tokens == ours.connector_tokens == patches // 4


def test_glm_videos_against_transformers(seen):
    from transformers.models.glm4v.video_processing_glm4v import Glm4vVideoProcessor

    processor = Glm4vVideoProcessor()  # the checkpoint has the class's limits
    assert dict(processor.size)["longest_edge"] == 47_040_000
    for frame in balanced("glm video", 200):
        for frames in FRAMES[1:]:
            patches = processor.get_num_of_video_patches(frames, *frame)
            ours = seen("glm4v", frame, frames=frames)
            assert ours.visual_tokens == patches // 4, (frame, frames)


@pytest.mark.parametrize(
    ("frames", "size", "pairs", "grid"),
    [
        # Qwen2VLVideoProcessor needs torchvision: these are worked out from smart_resize.
        pytest.param(8, (420, 560), 4, (30, 40), id="as-it-is"),  # 420 = 15·28, 560 = 20·28
        pytest.param(7, (420, 560), 4, (30, 40), id="odd"),  # the last frame is repeated
        pytest.param(1, (420, 560), 1, (30, 40), id="one"),
        # 1080 / 28 = 38.57 → 39, 1920 / 28 = 68.57 → 69 cells: within 12,845,056 px
        pytest.param(16, (1080, 1920), 8, (78, 138), id="full-hd"),
    ],
)
def test_qwen2_videos_by_hand(frames, size, pairs, grid, seen):
    for family in ("qwen2-vl",):
        ours = seen(family, size, frames=frames)
        assert ours.crops == (grid,) * pairs
        assert ours.crops_per_image == (pairs,)
        assert ours.visual_tokens == pairs * grid[0] * grid[1] // 4
        assert ours.structural_tokens == 2  # around the whole video


def test_qwen2_videos_under_the_class_s_limits(seen):
    # 1080×1920 px exceed 602,112: √(2,073,600 / 602,112) = 1.8558; 581.97 / 28 → 20 cells and
    # 1,034.6 / 28 → 36
    ours = seen("qwen2-vl", (1080, 1920), frames=2, processor=Processor(limits="class"))
    assert ours.crops == ((40, 72),)
    # the same limits are what Qwen2.5-Omni's processor asks for
    assert seen("qwen25-omni", (1080, 1920), frames=2).crops == ((40, 72),)
    # 200×200 px are below 100,352: √2.5088 = 1.5839; 316.8 / 28 → 12 cells
    ours = seen("qwen2-vl", (200, 200), frames=2, processor=Processor(limits="class"))
    assert ours.crops == ((24, 24),)


def test_qwen3_text_of_a_video(seen):
    import numpy as np
    from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

    def timestamps(indices, fps, merge_size):
        return Qwen3VLProcessor._calculate_timestamps(processor, indices, fps, merge_size)

    processor = SimpleNamespace(
        video_processor=SimpleNamespace(merge_size=2, temporal_patch_size=2),
        vision_start_token="(",
        vision_end_token=")",
        video_token="#",
        _calculate_timestamps=timestamps,
    )
    for frames in (2, 8, 21, 22, 250):
        ours = seen("qwen3-vl", (320, 320), frames=frames)
        pairs = (frames + 1) // 2
        metadata = SimpleNamespace(fps=2, frames_indices=list(range(frames)))
        made = {"video_grid_thw": np.array([[pairs, *ours.crops[0]]]), "video_metadata": [metadata]}
        text = Qwen3VLProcessor.replace_video_token(processor, made, 0)
        assert text.count("#") == ours.visual_tokens
        # every character of "<12.3 seconds>" is a token, but " seconds" is one
        others = len(text.replace("#", "").replace(" seconds", "s"))
        assert others + 2 == ours.structural_tokens  # the chat template's start and end stay


def test_glm_text_of_a_video(seen):
    import numpy as np
    from transformers.models.glm4v.processing_glm4v import Glm4vProcessor

    processor = SimpleNamespace(
        video_processor=SimpleNamespace(merge_size=2),
        image_token="#",
        replace_frame_token_id=lambda *args, **kwargs: Glm4vProcessor.replace_frame_token_id(
            processor, *args, **kwargs
        ),
    )
    for frames in (2, 9, 30):
        ours = seen("glm4v", (280, 280), frames=frames)
        grid = np.array([[len(ours.crops), *ours.crops[0]]])
        seconds = SimpleNamespace(fps=2, timestamps=[frame / 2 for frame in range(frames)])
        made = {"video_grid_thw": grid, "video_metadata": [seconds]}
        text = Glm4vProcessor.replace_video_token(processor, made, 0)
        assert text.count("#") == ours.visual_tokens
        # begin, end and the seconds of every pair; up to three digits are one token
        assert ours.structural_tokens == 2 + 3 * text.count("<|begin_of_image|>")


@pytest.mark.parametrize("family", ["qwen3-vl", "glm4v"])
def test_limits_over_a_video_need_two_frames(family, seen):
    error = refusal(seen, family, (320, 320), frames=1)
    assert (error.field, error.value) == ("frames", 1)


# --- frames one by one --------------------------------------------------------------------------


@pytest.mark.parametrize("frames", FRAMES)
def test_onevision_videos_against_the_processor(frames, seen):
    from transformers.models.llava_onevision.processing_llava_onevision import (
        LlavaOnevisionProcessor,
    )

    processor = SimpleNamespace(num_image_tokens=729)
    count = LlavaOnevisionProcessor._get_num_multimodal_tokens
    expected = count(processor, video_sizes=[(frames, 300, 500)])["num_video_tokens"]
    ours = seen("llava-onevision", (300, 500), frames=frames)
    assert [ours.visual_tokens] == expected
    assert ours.separator_tokens == 1
    assert ours.connector_tokens == 729 * frames  # pooled after the projector
    assert ours.crops == ((27, 27),) * frames


@pytest.mark.parametrize("frames", FRAMES)
@pytest.mark.parametrize(
    ("family", "module", "name", "side", "per_frame"),
    [
        ("video-llava", "video_llava", "VideoLlavaProcessor", 224, 257),
        ("llava-next-video", "llava_next_video", "LlavaNextVideoProcessor", 336, 144),
    ],
)
def test_llava_videos_against_the_processors(family, module, name, side, per_frame, frames, seen):
    from importlib import import_module

    import numpy as np

    found = import_module(f"transformers.models.{module}.processing_{module}")
    processor = SimpleNamespace(patch_size=14, num_additional_image_tokens=1, video_token="#")
    pixels = np.broadcast_to(np.zeros(1), (1, frames, 3, side, side))
    text = getattr(found, name).replace_video_token(processor, {"pixel_values_videos": pixels}, 0)
    ours = seen(family, (240, 320), frames=frames)
    assert ours.visual_tokens == len(text) == per_frame * frames
    # CLIP's patches of every frame; LLaVA-NeXT-Video pools before the projector
    assert ours.crops == ((side // 14, side // 14),) * frames
    assert ours.connector_tokens == per_frame * frames
    assert ours.structural_tokens == 0


def test_llava_next_video_s_pooler():
    import torch
    from transformers.models.llava_next_video.modeling_llava_next_video import LlavaNextVideoPooler

    config = SimpleNamespace(
        spatial_pool_mode="average",
        spatial_pool_stride=2,
        vision_config=SimpleNamespace(hidden_size=8, image_size=336, patch_size=14),
    )
    pooled = LlavaNextVideoPooler(config)(torch.zeros(1, 576, 8))
    assert pooled.shape == (1, 144, 8)


@pytest.mark.parametrize(
    ("frames", "visual", "newlines"),
    [
        # 27 / 2 cut to 13; a newline ends every row: 13·14 per frame
        pytest.param(1, 182, 13, id="one"),
        pytest.param(64, 11_648, 832, id="64"),
    ],
)
def test_llava_video_by_hand(frames, visual, newlines, seen):
    ours = seen("llava-video", (720, 1280), frames=frames)
    assert ours.visual_tokens == visual
    assert ours.separator_tokens == newlines
    assert ours.connector_tokens == 729 * frames


def test_internvl_text_of_a_video(seen):
    import numpy as np
    from transformers.models.internvl.processing_internvl import InternVLProcessor

    processor = SimpleNamespace(
        start_image_token="(", end_image_token=")", image_token="#", image_seq_length=256
    )
    for frames in (1, 8, 12):
        pixels = np.zeros((1, frames))
        made = {"pixel_values_videos": pixels}
        text = InternVLProcessor.replace_video_token(processor, made, 0)
        ours = seen("internvl", (240, 320), frames=frames)
        assert ours.visual_tokens == text.count("#") == 256 * frames
        # "Frame" is a token, and so is every other character
        assert len(text.replace("#", "").replace("Frame", "F")) == ours.structural_tokens


def test_smolvlm_frames_are_not_split(seen):
    from transformers.models.smolvlm.processing_smolvlm import _prompt_single_image

    for family, tokens in (("smolvlm-2b", 81), ("smolvlm-small", 64)):
        ours = seen(family, (720, 1280), frames=5)
        assert ours.visual_tokens == 5 * tokens
        assert len(ours.crops) == 5
        around = _prompt_single_image(tokens, "<", "#", "G").replace("#", "")
        # those three, ten of "\nFrame from 00:01:" and the introduction: estimated
        assert ours.structural_tokens == 5 * (len(around) + 10) + 32


def test_minicpm_frames_are_not_sliced(seen):
    # 1,920 × 1,080: 448 / √(16/9) = 336 px high, 597 wide: 24 × 43 patches
    ours = seen("minicpm-v", (1080, 1920), frames=3)
    assert ours.crops == ((24, 43),) * 3
    assert ours.visual_tokens == 3 * 64
    assert ours.structural_tokens == 3 * 2 + 2


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llava15", "gemma3", "pixtral", "phi4", "llama32-vision"])
def test_frames_where_no_video_is_taken(family, seen):
    error = refusal(seen, family, (300, 300), frames=4)
    assert (error.field, error.value) == ("frames", 4)
    assert error.problem == "is given, but the model takes no video"


def test_a_frame_of_its_own_size_needs_a_rule_for_it(seen):
    video = {"kind": "frames", "source": ["nowhere"]}
    error = refusal(seen, "llava15", (300, 300), frames=2, video=video)
    assert error.field == "token_rule.video.frame_size"
    assert seen("pixtral", (160, 320), frames=2, video=video).crops == ((10, 20),) * 2
