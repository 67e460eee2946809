"""The config.json files of 65 checkpoints: parameters, tokens, and what transformers builds.

The counts are those of the models that transformers 5.23 builds from these files on the meta
device, as recorded when the files were gathered; published counts of the checkpoints equal them
where the presets say so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from transformers_configs import built, parameters
from vlm_tokencost.costmodel import Workload, model_parameters, plan
from vlm_tokencost.presets.huggingface import read_config

#: file: (all parameters, the encoder's)
PARAMETERS = {
    "llava-1.5-7b": (7_063_427_072, 303_507_456),
    "llava-1.5-13b": (13_351_494_656, 303_507_456),
    "llava-next-vicuna-7b": (7_063_431_168, 303_507_456),
    "llava-next-vicuna-13b": (13_351_499_776, 303_507_456),
    "llava-next-mistral-7b": (7_566_747_648, 303_507_456),
    "llava-next-72b": (72_666_949_632, 303_507_456),
    "llava-onevision-0.5b": (893_675_552, 397_747_744),
    "llava-onevision-7b": (8_030_807_584, 397_747_744),
    "llava-video-7b": (8_030_348_832, 397_747_744),
    "llava-next-video-7b": (7_063_431_168, 303_507_456),
    "blip2-opt-2.7b": (3_744_761_856, 985_952_256),
    "blip2-opt-6.7b": (7_752_869_376, 985_952_256),
    "blip2-flan-t5-xl": (3_876_648_448, 985_952_256),
    "instructblip-vicuna-7b": (7_913_726_720, 985_952_256),
    "instructblip-flan-t5-xl": (3_957_170_944, 985_952_256),
    "qwen2-vl-7b": (8_291_375_616, 631_183_360),
    "qwen2-vl-72b": (73_405_560_320, 631_183_360),
    "qwen2.5-vl-3b": (3_754_622_976, 631_975_680),
    "qwen2.5-vl-7b": (8_292_166_656, 631_975_680),
    "qwen2.5-vl-72b": (73_410_777_344, 636_401_664),
    "qwen3-vl-2b": (2_127_532_032, 306_242_560),
    "qwen3-vl-8b": (8_767_123_696, 415_891_440),
    "qwen3-vl-32b": (33_357_390_064, 415_891_440),
    "qwen3-vl-30b-a3b": (31_070_754_032, 415_891_440),
    "internvl2-1b": (938_158_976, 304_012_288),
    "internvl2-4b": (4_146_855_936, 304_012_288),
    "internvl2-8b": (8_075_365_376, 304_012_288),
    "internvl2-26b": (25_514_186_112, 5_536_496_000),
    "internvl2-76b": (76_262_358_400, 5_536_496_000),
    "internvl2.5-1b": (938_193_024, 304_012_288),
    "internvl2.5-2b": (2_205_754_368, 304_012_288),
    "internvl2.5-4b": (3_712_637_952, 304_012_288),
    "internvl2.5-8b": (8_075_365_376, 304_012_288),
    "internvl2.5-38b": (38_388_164_992, 5_536_496_000),
    "internvl2.5-78b": (78_408_318_336, 5_536_496_000),
    "internvl3-1b": (938_193_024, 304_012_288),
    "internvl3-2b": (2_088_957_440, 304_012_288),
    "internvl3-8b": (7_944_373_760, 304_012_288),
    "internvl3-38b": (38_388_164_992, 5_536_496_000),
    "internvl3-78b": (78_408_318_336, 5_536_496_000),
    "internvl3.5-1b": (1_060_897_792, 304_012_288),
    "internvl3.5-2b": (2_348_347_392, 304_012_288),
    "internvl3.5-8b": (8_528_318_464, 304_012_288),
    "internvl3.5-14b": (15_119_523_840, 304_012_288),
    "fastvlm-0.5b": (620_361_440, 122_714_208),
    "fastvlm-7b": (7_762_651_744, 122_714_208),
    "idefics3-8b": (8_462_086_384, 412_926_192),
    "smolvlm-2.2b": (2_246_272_880, 412_987_248),
    "smolvlm-256m": (256_484_928, 86_433_024),
    "smolvlm2-500m": (507_482_304, 86_433_024),
    "smolvlm2-256m": (256_484_928, 86_433_024),
    "paligemma-3b-224": (2_923_466_480, 412_442_352),
    "paligemma-3b-448": (2_924_351_216, 413_327_088),
    "paligemma2-3b-224": (3_032_242_416, 412_442_352),
    "paligemma2-28b-224": (27_650_487_024, 412_442_352),
    "gemma3-4b": (4_300_079_472, 416_866_032),
    "gemma3-27b": (27_432_406_640, 416_866_032),
    "llama3.2-vision-11b": (10_670_220_835, 863_567_379),
    "pixtral-12b": (12_682_739_712, 403_489_792),
    # 4,744,004,032 with the audio encoder's 466,432,256
    "phi-4-multimodal": (4_744_004_032 - 466_432_256, 428_565_440),
    "ovis2-1b": (1_131_283_318, 309_984_256),
    "ovis2-2b": (2_222_907_894, 309_984_256),
    "ovis2-8b": (8_935_282_678, 682_031_616),
    "ovis2-34b": (34_872_912_886, 1_236_531_200),
    # what sees and writes is that of Qwen2.5-VL-7B; 10,732,225,408 with what hears and speaks
    "qwen2.5-omni-7b": (8_292_166_656, 631_975_680),
}
#: file: (M, S) of the default image or video without a preprocessor_config.json, as worked out for
#: the families' presets; 35·35 and 31·31 follow from the class's limit of 1,003,520 pixels
TOKENS = {
    "llava-1.5-7b": (576, 0),
    "pixtral-12b": (4_096, 64),  # 64 rows of 64, a break after each
    "llava-next-vicuna-7b": (2_928, 0),  # 24² + 48² + 48
    "llava-next-video-7b": (1_152, 0),  # 8 frames of 12²
    "llava-onevision-7b": (1_485, 0),  # 2·27² + 27
    "internvl3-8b": (256, 2),
    "paligemma-3b-448": (1_024, 0),
    "gemma3-4b": (256, 4),
    "idefics3-8b": (2_873, 39),  # 17·13²; 3 + 16·2 + 4 texts
    "smolvlm-2.2b": (1_377, 39),  # 17·9²
    "smolvlm2-256m": (1_088, 39),  # 17·8²
    "qwen2-vl-7b": (1_225, 2),
    "qwen2.5-vl-7b": (1_225, 2),
    "qwen2.5-omni-7b": (1_225, 2),
    "qwen3-vl-8b": (961, 2),
    "ovis2-8b": (256, 3),
    "llama3.2-vision-11b": (6_404, 1),  # keys: 4·1601
    "blip2-opt-2.7b": (32, 0),
    "instructblip-vicuna-7b": (32, 0),
    "fastvlm-7b": (256, 0),  # (1024/64)²
    "phi-4-multimodal": (545, 0),  # 2·16² + 2·16 + 1
}
#: What the classes build and no image passes, by name.
UNPRICED = ("audio",)
Contents = Callable[[str], dict[str, Any]]


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_recorded_ones(name: str, content: Contents) -> None:
    counts = model_parameters(read_config(content(name)))
    assert (sum(counts.values()), counts["vision"]) == PARAMETERS[name]


def test_every_file_is_recorded(request: pytest.FixtureRequest) -> None:
    files = {path.stem for path in (request.path.parent / "configs").glob("*.json")}
    assert files == set(PARAMETERS)


@pytest.mark.parametrize("name", [name for name in PARAMETERS if "fastvlm" not in name])
def test_transformers_builds_as_many_parameters(name: str, content: Contents) -> None:
    # FastVLM's encoder needs timm
    expected = parameters(built(content(name)), without=UNPRICED)
    assert sum(model_parameters(read_config(content(name))).values()) == expected


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_of_the_default_input(name: str, content: Contents) -> None:
    model = read_config(content(name))
    dense = plan(model, Workload())
    assert (dense.dense_visual_tokens, dense.visual_input.structural_tokens) == TOKENS[name]


@pytest.mark.parametrize("text", [None, True, False])
@pytest.mark.parametrize("whole", [None, True, False])
@pytest.mark.parametrize(
    "name",
    [
        "llava-1.5-7b",
        "pixtral-12b",
        "llava-next-mistral-7b",
        "llava-next-video-7b",
        "llava-onevision-0.5b",
        "internvl2.5-38b",
        "internvl3.5-1b",
        "internvl2-4b",
        "paligemma-3b-224",
        "paligemma2-3b-224",
        "gemma3-4b",
        "idefics3-8b",
        "smolvlm2-256m",
        "qwen2-vl-7b",
        "qwen2.5-vl-3b",
        "qwen3-vl-2b",
        "qwen3-vl-30b-a3b",
        "ovis2-1b",
        "llama3.2-vision-11b",
        "blip2-opt-2.7b",
        "blip2-flan-t5-xl",
        "instructblip-vicuna-7b",
        "phi-4-multimodal",
        "qwen2.5-omni-7b",
    ],
)
def test_the_head_is_tied_where_transformers_ties_it(
    name: str, whole: bool | None, text: bool | None, shrunk: Contents
) -> None:
    config = shrunk(name)
    top = config.get("thinker_config", config)
    for table, value in ((top, whole), (top.get("text_config"), text)):
        if table is not None:
            table.pop("tie_word_embeddings", None)
            if value is not None:
                table["tie_word_embeddings"] = value
    counts = model_parameters(read_config(config))
    assert sum(counts.values()) == parameters(built(config), without=UNPRICED)
