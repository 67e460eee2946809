"""Presets of the families that transformers implements: parameters, tokens, status, evidence.

Counts of vision encoder, projector and whole model are those of transformers' models, built without
memory from the checkpoints' configurations; published counts are the Hugging Face API's
(mm-evaluation/simple-mmeval, mmeval/model_metadata.json at 7f0faed) and, where named, keras-hub's.
They are written out here so that no figure of a preset is compared with itself.
"""

import pytest
from vlm_tokencost.costmodel import Workload, model_parameters, plan
from vlm_tokencost.presets import load_model

CLIP = 303_507_456
SIGLIP_26 = 397_747_744
LANGUAGEBIND = 606_359_552
EVA = 985_952_256
QWEN2 = 631_183_360
QWEN25 = 631_975_680
QWEN25_LARGE = 636_401_664
QWEN3_24 = 306_242_560
QWEN3_27 = 415_891_440
INTERNVIT_300M = 304_012_288
INTERNVIT_6B = 5_536_496_000
SIGLIP_980 = 417_792_240
SIGLIP_364 = 412_926_192
SIGLIP_384 = 412_987_248
SIGLIP_BASE = 86_433_024
SIGLIP_224 = 412_442_352
SIGLIP_448 = 413_327_088
SIGLIP_896 = 416_866_032
MLLAMA = 863_567_379
PIXTRAL = 403_489_792
PIXTRAL_14 = 403_305_472
GLM = 682_245_120
AIMV2_LARGE = 309_984_256
AIMV2_HUGE = 682_031_616
AIMV2_1B = 1_236_531_200

#: id: (vision, projector, learned newline or queries, total)
PARAMETERS = {
    "llava-1.5-7b": (CLIP, 20_979_712, 0, 7_063_427_072),
    "llava-1.5-13b": (CLIP, 31_467_520, 0, 13_351_494_656),
    "llava-next-vicuna-7b": (CLIP, 20_979_712, 4_096, 7_063_431_168),
    "llava-next-vicuna-13b": (CLIP, 31_467_520, 5_120, 13_351_499_776),
    "llava-next-mistral-7b": (CLIP, 20_979_712, 4_096, 7_566_747_648),
    "llava-next-34b": (CLIP, 58_734_592, 7_168, 34_752_083_968),
    "llava-next-llama3-8b": (CLIP, 20_979_712, 4_096, 8_355_276_800),
    "llava-next-72b": (CLIP, 75_513_856, 8_192, 72_666_949_632),
    "llava-onevision-0.5b": (SIGLIP_26, 1_836_800, 896, 893_675_552),
    "llava-onevision-7b": (SIGLIP_26, 16_980_992, 3_584, 8_030_807_584),
    "llava-onevision-72b": (SIGLIP_26, 76_562_432, 8_192, 73_181_570_592),
    "llava-video-7b": (SIGLIP_26, 16_980_992, 3_584, 8_030_348_832),
    "video-llava-7b": (LANGUAGEBIND, 20_979_712, 0, 7_366_279_168),
    "llava-next-video-7b": (CLIP, 20_979_712, 4_096, 7_063_431_168),
    "blip2-opt-2.7b": (EVA, 107_106_304, 32 * 768, 3_744_761_856),
    "blip2-opt-6.7b": (EVA, 108_287_488, 32 * 768, 7_752_869_376),
    # transformers 5 ties the head to the embedding; the checkpoints store both
    "blip2-flan-t5-xl": (EVA, 106_712_576, 32 * 768, 3_876_648_448),
    "blip2-flan-t5-xxl": (EVA, 108_287_488, 32 * 768, 12_098_000_384),
    "instructblip-vicuna-7b": (EVA, 188_809_984, 32 * 768, 7_913_726_720),
    "instructblip-vicuna-13b": (EVA, 189_597_440, 32 * 768, 14_192_093_952),
    "instructblip-flan-t5-xl": (EVA, 187_235_072, 32 * 768, 3_957_170_944),
    "qwen2-vl-2b": (QWEN2, 34_087_936, 0, 2_208_985_600),
    "qwen2-vl-7b": (QWEN2, 44_575_744, 0, 8_291_375_616),
    "qwen2-vl-72b": (QWEN2, 68_173_312, 0, 73_405_560_320),
    "qwen2.5-vl-3b": (QWEN25, 36_708_608, 0, 3_754_622_976),
    "qwen2.5-vl-7b": (QWEN25, 44_574_464, 0, 8_292_166_656),
    "qwen2.5-vl-32b": (QWEN25_LARGE, 52_440_320, 0, 33_452_718_336),
    "qwen2.5-vl-72b": (QWEN25_LARGE, 68_172_032, 0, 73_410_777_344),
    "qwen2.5-omni-7b": (QWEN25, 44_574_464, 0, 10_732_225_408),
    "qwen3-vl-2b": (QWEN3_24, 100_714_496, 0, 2_127_532_032),
    "qwen3-vl-4b": (QWEN3_24, 109_105_152, 0, 4_437_815_808),
    "qwen3-vl-8b": (QWEN3_27, 160_496_896, 0, 8_767_123_696),
    "qwen3-vl-32b": (QWEN3_27, 179_375_360, 0, 33_357_390_064),
    "qwen3-vl-30b-a3b": (QWEN3_27, 122_739_968, 0, 31_070_754_032),
    "qwen3-vl-235b-a22b": (QWEN3_27, 160_496_896, 0, 235_670_022_896),
    "internvl2-1b": (INTERNVIT_300M, 4_482_816, 0, 938_158_976),
    "internvl2-2b": (INTERNVIT_300M, 12_595_200, 0, 2_205_754_368),
    "internvl2-4b": (INTERNVIT_300M, 22_034_432, 0, 4_146_855_936),
    "internvl2-8b": (INTERNVIT_300M, 33_570_816, 0, 8_075_365_376),
    "internvl2-26b": (INTERNVIT_6B, 116_429_824, 0, 25_514_186_112),
    "internvl2-40b": (INTERNVIT_6B, 143_170_560, 0, 40_068_684_160),
    "internvl2-76b": (INTERNVIT_6B, 172_008_448, 0, 76_262_358_400),
    "internvl2.5-1b": (INTERNVIT_300M, 4_482_816, 0, 938_193_024),
    "internvl2.5-2b": (INTERNVIT_300M, 12_595_200, 0, 2_205_754_368),
    "internvl2.5-4b": (INTERNVIT_300M, 12_595_200, 0, 3_712_637_952),
    "internvl2.5-8b": (INTERNVIT_300M, 33_570_816, 0, 8_075_365_376),
    "internvl2.5-26b": (INTERNVIT_6B, 116_429_824, 0, 25_514_186_112),
    "internvl2.5-38b": (INTERNVIT_6B, 91_786_240, 0, 38_388_164_992),
    "internvl2.5-78b": (INTERNVIT_6B, 172_008_448, 0, 78_408_318_336),
    "internvl3-1b": (INTERNVIT_300M, 4_482_816, 0, 938_193_024),
    "internvl3-2b": (INTERNVIT_300M, 8_662_016, 0, 2_088_957_440),
    "internvl3-8b": (INTERNVIT_300M, 27_540_480, 0, 7_944_373_760),
    "internvl3-14b": (INTERNVIT_300M, 47_204_352, 0, 15_117_256_704),
    "internvl3-38b": (INTERNVIT_6B, 91_786_240, 0, 38_388_164_992),
    "internvl3-78b": (INTERNVIT_6B, 172_008_448, 0, 78_408_318_336),
    "internvl3.5-1b": (INTERNVIT_300M, 5_253_120, 0, 1_060_897_792),
    "internvl3.5-2b": (INTERNVIT_300M, 12_595_200, 0, 2_348_347_392),
    "internvl3.5-4b": (INTERNVIT_300M, 17_052_672, 0, 4_732_489_216),
    "internvl3.5-8b": (INTERNVIT_300M, 33_570_816, 0, 8_528_318_464),
    "internvl3.5-14b": (INTERNVIT_300M, 47_204_352, 0, 15_119_523_840),
    "internvl3.5-38b": (INTERNVIT_6B, 91_786_240, 0, 38_390_405_504),
    "idefics2-8b": (SIGLIP_980, 743_219_200, 0, 8_402_768_112),
    "idefics3-8b": (SIGLIP_364, 18_874_368, 0, 8_462_086_384),
    "smolvlm-2.2b": (SIGLIP_384, 21_233_664, 0, 2_246_272_880),
    "smolvlm-500m": (SIGLIP_BASE, 11_796_480, 0, 507_482_304),
    "smolvlm-256m": (SIGLIP_BASE, 7_077_888, 0, 256_484_928),
    "smolvlm2-2.2b": (SIGLIP_384, 21_233_664, 0, 2_246_784_880),
    "smolvlm2-500m": (SIGLIP_BASE, 11_796_480, 0, 507_482_304),
    "smolvlm2-256m": (SIGLIP_BASE, 7_077_888, 0, 256_484_928),
    "paligemma-3b-224": (SIGLIP_224, 2_361_344, 0, 2_923_466_480),
    "paligemma-3b-448": (SIGLIP_448, 2_361_344, 0, 2_924_351_216),
    "paligemma-3b-896": (SIGLIP_896, 2_361_344, 0, 2_927_890_160),
    "paligemma2-3b-224": (SIGLIP_224, 2_656_512, 0, 3_032_242_416),
    "paligemma2-10b-224": (SIGLIP_224, 4_132_352, 0, 9_662_638_832),
    "paligemma2-28b-224": (SIGLIP_224, 5_313_024, 0, 27_650_487_024),
    "gemma3-4b": (SIGLIP_896, 2_950_272, 0, 4_300_079_472),
    "gemma3-12b": (SIGLIP_896, 4_424_832, 0, 12_187_325_040),
    "gemma3-27b": (SIGLIP_896, 6_194_304, 0, 27_432_406_640),
    "llama3.2-vision-11b": (MLLAMA, 31_461_376, 0, 10_670_220_835),
    "llama3.2-vision-90b": (MLLAMA, 62_922_752, 0, 88_593_355_323),
    "pixtral-12b": (PIXTRAL, 31_467_520, 0, 12_682_739_712),
    # a head of its own, which Mistral3Config's default would tie: keras-hub's count has it
    "mistral-small-3.1-24b": (PIXTRAL_14, 35_652_608, 0, 23_340_272_640 + 131_072 * 5_120),
    "glm-4.1v-9b": (GLM, 210_253_312, 0, 10_292_777_472),
    "ovis2-1b": (AIMV2_LARGE, 327_266_294, 0, 1_131_283_318),
    # tied, and yet the checkpoints store the head a second time
    "ovis2-2b": (AIMV2_LARGE, 369_209_334, 0, 2_222_907_894 + 151_936 * 1_536),
    "ovis2-4b": (AIMV2_HUGE, 536_971_254, 0, 4_304_941_558 + 151_936 * 2_048),
    "ovis2-8b": (AIMV2_HUGE, 637_634_550, 0, 8_935_282_678),
    "ovis2-16b": (AIMV2_HUGE, 738_297_846, 0, 16_190_363_126),
    "ovis2-34b": (AIMV2_1B, 872_505_334, 0, 34_872_912_886),
    "aya-vision-8b": (SIGLIP_364, 190_882_816, 0, 8_631_842_032),
}

#: Models whose parameters no published count confirms to the integer.
APPROXIMATE = {"llava-video-7b", "idefics3-8b", "ovis2-2b", "ovis2-4b", "ovis2-8b", "ovis2-16b"}
PARTIAL = {
    "video-llava-7b",
    "llava-next-video-7b",
    "pixtral-12b",
    "glm-4.1v-9b",
    "ovis2-1b",
    "ovis2-34b",
    "aya-vision-8b",
}

#: published − computed, where they differ
DIFFERENCES = {
    # the head that the checkpoints store besides: 32,128 · d
    "blip2-flan-t5-xl": 32_128 * 2_048,
    "blip2-flan-t5-xxl": 32_128 * 4_096,
    "instructblip-flan-t5-xl": 32_128 * 2_048,
    "qwen2.5-omni-7b": 32,  # rotary frequencies among token2wav's tensors
    # keras-hub has 257,152 words, transformers 64 more of hidden_size each
    "paligemma-3b-448": -64 * 2048,
    "paligemma-3b-896": -64 * 2048,
    "paligemma2-3b-224": -64 * 2304,
    "paligemma2-10b-224": -64 * 3584,
    "paligemma2-28b-224": -64 * 4608,
}

#: Counts of keras-hub's presets (pali_gemma, blip2, mistral3), which the records' lack or repeat.
KERAS_HUB = {
    "paligemma-3b-448": 2_924_220_144,
    "paligemma-3b-896": 2_927_759_088,
    "paligemma2-3b-224": 3_032_094_960,
    "paligemma2-10b-224": 9_662_409_456,
    "paligemma2-28b-224": 27_650_192_112,
    "blip2-opt-2.7b": 3_744_761_856,
    "blip2-opt-6.7b": 7_752_869_376,
    "blip2-flan-t5-xl": 3_942_446_592,
    "blip2-flan-t5-xxl": 12_229_596_672,
    "mistral-small-3.1-24b": 24_011_361_280,
}

#: M of the default image, or of the default frames
TOKENS = {
    # 24 · 24
    "llava-1.5-7b": 576,
    "llava-1.5-13b": 576,
    # 576 + 48 · 48 + 48 newlines of a 672×672 image
    "llava-next-vicuna-7b": 2928,
    "llava-next-vicuna-13b": 2928,
    "llava-next-mistral-7b": 2928,
    "llava-next-34b": 2928,
    "llava-next-llama3-8b": 2928,
    "llava-next-72b": 2928,
    # 729 + 27 · 27 + 27 newlines
    "llava-onevision-0.5b": 1485,
    "llava-onevision-7b": 1485,
    "llava-onevision-72b": 1485,
    # 64 frames of 13 · 13 + 13 newlines
    "llava-video-7b": 11648,
    # 8 frames of 16 · 16 + 1 class token
    "video-llava-7b": 2056,
    # 8 frames of 12 · 12
    "llava-next-video-7b": 1152,
    # queries
    "blip2-opt-2.7b": 32,
    "blip2-opt-6.7b": 32,
    "blip2-flan-t5-xl": 32,
    "blip2-flan-t5-xxl": 32,
    "instructblip-vicuna-7b": 32,
    "instructblip-vicuna-13b": 32,
    "instructblip-flan-t5-xl": 32,
    # (1092 / 28)²
    "qwen2-vl-2b": 1521,
    "qwen2-vl-7b": 1521,
    "qwen2-vl-72b": 1521,
    "qwen2.5-vl-3b": 1521,
    "qwen2.5-vl-7b": 1521,
    "qwen2.5-vl-32b": 1521,
    "qwen2.5-vl-72b": 1521,
    "qwen2.5-omni-7b": 1521,
    "glm-4.1v-9b": 1521,
    # (1024 / 32)²; of PaliGemma (448 / 14)²
    "qwen3-vl-2b": 1024,
    "qwen3-vl-4b": 1024,
    "qwen3-vl-8b": 1024,
    "qwen3-vl-32b": 1024,
    "qwen3-vl-30b-a3b": 1024,
    "qwen3-vl-235b-a22b": 1024,
    "paligemma-3b-448": 1024,
    # 16 · 16
    "internvl2-1b": 256,
    "internvl2-2b": 256,
    "internvl2-4b": 256,
    "internvl2-8b": 256,
    "internvl2-26b": 256,
    "internvl2-40b": 256,
    "internvl2-76b": 256,
    "internvl2.5-1b": 256,
    "internvl2.5-2b": 256,
    "internvl2.5-4b": 256,
    "internvl2.5-8b": 256,
    "internvl2.5-26b": 256,
    "internvl2.5-38b": 256,
    "internvl2.5-78b": 256,
    "internvl3-1b": 256,
    "internvl3-2b": 256,
    "internvl3-8b": 256,
    "internvl3-14b": 256,
    "internvl3-38b": 256,
    "internvl3-78b": 256,
    "internvl3.5-1b": 256,
    "internvl3.5-2b": 256,
    "internvl3.5-4b": 256,
    "internvl3.5-8b": 256,
    "internvl3.5-14b": 256,
    "internvl3.5-38b": 256,
    "paligemma-3b-224": 256,
    "paligemma2-3b-224": 256,
    "paligemma2-10b-224": 256,
    "paligemma2-28b-224": 256,
    "gemma3-4b": 256,
    "gemma3-12b": 256,
    "gemma3-27b": 256,
    "ovis2-1b": 256,
    "ovis2-2b": 256,
    "ovis2-4b": 256,
    "ovis2-8b": 256,
    "ovis2-16b": 256,
    "ovis2-34b": 256,
    # latents
    "idefics2-8b": 64,
    # 17 · 13 · 13
    "idefics3-8b": 2873,
    # 17 · 9 · 9
    "smolvlm-2.2b": 1377,
    "smolvlm2-2.2b": 1377,
    # 17 · 8 · 8
    "smolvlm-500m": 1088,
    "smolvlm-256m": 1088,
    "smolvlm2-500m": 1088,
    "smolvlm2-256m": 1088,
    # 64 · 64
    "paligemma-3b-896": 4096,
    "pixtral-12b": 4096,
    # 4 tiles of 40 · 40 + 1, keys of cross-attention
    "llama3.2-vision-11b": 6404,
    "llama3.2-vision-90b": 6404,
    # (1540 / 28)²
    "mistral-small-3.1-24b": 3025,
    # 13 · 13
    "aya-vision-8b": 169,
}


def test_the_tables_agree():
    assert set(TOKENS) == set(PARAMETERS)
    assert set(PARAMETERS) >= APPROXIMATE | PARTIAL | set(DIFFERENCES) | set(KERAS_HUB)


@pytest.mark.parametrize("model_id", PARAMETERS)
def test_parameters(model_id):
    vision, projector, learned, total = PARAMETERS[model_id]
    counted = model_parameters(load_model(model_id))
    if model_id == "video-llava-7b":  # one of two equal towers runs; the other is stored besides
        assert counted.pop("other") == vision // 2
        total, vision = total - vision // 2, vision // 2
    assert counted["vision"] == vision
    assert counted["connector"] == projector + learned
    assert sum(counted.values()) == total


@pytest.mark.parametrize("model_id", PARAMETERS)
def test_published_parameters(model_id):
    model = load_model(model_id)
    if model_id in APPROXIMATE | PARTIAL:
        assert model.published_parameters is None
        return
    total = PARAMETERS[model_id][3]
    published = model.published_parameters
    assert published.count == KERAS_HUB.get(model_id, total + DIFFERENCES.get(model_id, 0))
    assert published.count - total == DIFFERENCES.get(model_id, 0)
    assert sum(published.difference.values()) == DIFFERENCES.get(model_id, 0)


@pytest.mark.parametrize("model_id", PARAMETERS)
def test_status(model_id):
    status = load_model(model_id).status
    assert (status == "approximate") == (model_id in APPROXIMATE)
    assert (status == "partial") == (model_id in PARTIAL)
    assert status in ("verified", "approximate", "partial")


@pytest.mark.parametrize("model_id", TOKENS)
def test_tokens_of_the_default_workload(model_id):
    planned = plan(load_model(model_id), Workload(text_tokens=0))
    assert planned.dense_visual_tokens == TOKENS[model_id]


@pytest.mark.parametrize(
    ("model_id", "structural"),
    [
        ("llava-1.5-7b", 0),
        ("llava-next-34b", 0),
        ("qwen2.5-vl-7b", 2),  # <|vision_start|>, <|vision_end|>
        ("qwen2.5-omni-7b", 2),
        ("internvl3-8b", 2),  # <img>, </img>
        ("gemma3-4b", 4),  # "\n\n", <start_of_image>, <end_of_image>, "\n\n"
        ("pixtral-12b", 64),  # a break after each of 64 rows, the last of another kind
        ("mistral-small-3.1-24b", 55),
        # 16 tiles with two tokens each, 4 ends of rows, three around the whole image
        ("idefics3-8b", 16 * 2 + 4 + 3),
        ("smolvlm2-256m", 16 * 2 + 4 + 3),
        ("paligemma-3b-224", 0),
        ("llama3.2-vision-11b", 1),  # <|image|>
    ],
)
def test_structural_tokens_of_the_default_image(model_id, structural):
    planned = plan(load_model(model_id), Workload(text_tokens=0))
    assert planned.visual_input.structural_tokens == structural


def test_omni_stores_what_no_image_runs():
    # transformers' modules: audio_tower, talker, token2wav; with the thinker all of the model
    talker = 3_212_160 + 1_340_578_688 + 7_569_408
    other = model_parameters(load_model("qwen2.5-omni-7b"))["other"]
    assert other == 639_647_232 + talker + 449_051_264
    assert 10_732_225_408 - other == 8_931_813_888 - 639_647_232


@pytest.mark.parametrize(
    ("model_id", "embedding"),
    [
        # 151,936 · 2048, stored once: the head reuses it
        ("qwen2.5-vl-3b", 311_164_928),
        # 151,936 · 2048, stored twice all the same
        ("ovis2-4b", 311_164_928),
        # 152,064 · 3584, two matrices
        ("qwen2.5-vl-7b", 544_997_376),
    ],
)
def test_tied_heads_store_nothing(model_id, embedding):
    decoder = load_model(model_id).decoder
    stored = model_parameters(load_model(model_id))["head"]
    assert stored == (0 if model_id == "qwen2.5-vl-3b" else embedding)
    assert decoder.tie_word_embeddings == (model_id in ("qwen2.5-vl-3b", "ovis2-4b"))
    assert decoder.vocab_size * decoder.hidden_size == embedding
