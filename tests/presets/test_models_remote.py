"""Presets of models with code of their own, and of papers: figures written out from their sources.

Counts of parameters are published ones or sums over the layers of the original code; nothing here
is read from a preset. "Head" of an encoder: the attention pooling of SigLIP and DINOv2's timm
models, 1152 + 4·(1152² + 1152) + 2·1152 + (2·1152·4304 + 4304 + 1152).
"""

from typing import NamedTuple

import pytest
from vlm_tokencost.costmodel import model_parameters
from vlm_tokencost.costmodel.tokens.base import visual_input
from vlm_tokencost.presets import load_model

CLIP = 303_507_456  # ViT-L/14-336
SIGLIP = 412_987_248  # SO400M/14-384
HEAD = 15_238_352
BIGG = 1_842_770_688  # ViT-bigG/14 as Qwen-VL has it
FASTVITHD = 122_714_208  # timm 1.0.31 fastvit_mci3, branches fused
CONVNEXT = 196_227_264  # timm 1.0.31 convnext_large without its last norm and head
INTERNVIT_6B = 5_536_496_000  # 45 layers

#: LLMs with a head of their own: Llama-2-7B, Llama-2-13B, Llama-3-8B and Yi-34B as published.
LLAMA_7B = 6_738_415_616
LLAMA_13B = 13_015_864_320
LLAMA_3_8B = 8_030_261_248
YI_34B = 34_388_917_248


class Record(NamedTuple):
    """What the sources say of a model.

    Attributes:
        vision: Parameters of the encoders.
        connector: Parameters of the connector, separators included.
        total: All stored parameters.
        tokens: Visual and structural tokens (M, S) of the default image.
        status: How well the figures were checked.
        published: The published count, if it is an exact one.
    """

    vision: int
    connector: int
    total: int
    tokens: tuple[int, int]
    status: str
    published: int | None = None


def perceiver(hidden: int, inner: int, latents: int = 64, layers: int = 6) -> int:
    """Latents; layers of four products, FFN ×4 and three LayerNorms; a last LayerNorm."""
    layer = 4 * hidden * inner + 2 * hidden * 4 * hidden + 3 * 2 * hidden
    return latents * hidden + layers * layer + 2 * hidden


def mlp(c_in: int, hidden: int) -> int:
    """Two linears with biases."""
    return c_in * hidden + hidden + hidden * hidden + hidden


def mpt(hidden: int, layers: int, norms: int) -> int:
    """50,280 rows, layers of 12·d² and norms of d, a last norm."""
    return 50_280 * hidden + layers * (12 * hidden**2 + norms * hidden) + hidden


def gated_block(hidden: int) -> int:
    """OpenFlamingo: 8 heads of 64 to 1,024 features, FFN ×4, two LayerNorms, two gates."""
    return 2 * hidden * 512 + 2 * 1024 * 512 + 8 * hidden**2 + 4 * hidden + 2


#: ViT-L/14 at 224 px: 256 positions instead of 576, and 1024·768 of the joint space: 303,966,208.
CLIP_224 = CLIP - 320 * 1024 + 1024 * 768
#: Queries and aux LayerNorm + Linear: 1024² + 1024 + 2·1024, twice 2880·1024 + 1024 + 2·2880; MLP.
MINING = 1_051_648 + 2 * 2_955_904 + mlp(1024, 4096)
RECORDS = {
    "qwen-vl-7b": Record(BIGG, 92_839_936, 9_656_935_168, (256, 2), "verified", 9_656_935_168),
    # Qwen-VL and 4·48·(16·4·1664 + 16·2·1664 + 32·2·1664 + 3) of adapters
    "monkey": Record(
        BIGG + 51_118_656, 92_839_936, 9_656_935_168 + 51_118_656, (1_280, 2), "partial"
    ),
    # (2·2 + 1)·144 + 1 + (2 + 1)·12 under the checkpoint's num_crops 4
    "phi-3.5-vision": Record(CLIP, 22_034_432, 4_146_621_440, (757, 0), "verified", 4_146_621_440),
    # as transformers' class has it: without 32·45,056·(256 + 320) of LoRA
    "phi-4-multimodal": Record(
        413_327_088 + HEAD,
        12_982_272 + 2 * 1_152,
        4_744_004_032,
        (545, 0),
        "verified",
        5_574_460_384,
    ),
    # 10 · 64; 5 + 9 · 2 + 2
    "minicpm-v-2.6": Record(
        417_792_240, 68_619_264, 8_099_175_152, (640, 25), "verified", 8_099_175_152
    ),
    # 28·28 + 144 tokens; 28 + 12 rows and 4 more; the connector has 2 · 2048 of padding
    "molmo-7b-d": Record(290_909_184, 114_036_736 + 4_096, 8_021_025_280, (928, 44), "approximate"),
    "openvla-7b": Record(
        303_230_976 + 427_680_704, 71_385_600, 7_541_237_184, (256, 0), "verified", 7_541_237_184
    ),
    "kimi-vl-a3b": Record(
        416_866_032, 30_679_808, 16_407_656_048, (1_024, 4), "verified", 16_407_657_776
    ),
    # the code builds the head as well and does not run it
    "deepseek-vl2-tiny": Record(SIGLIP, 7_541_760, 3_355_263_088 + HEAD, (421, 0), "partial"),
    "deepseek-vl2-small": Record(SIGLIP, 13_639_680, 16_133_111_152 + HEAD, (421, 0), "partial"),
    "deepseek-vl2": Record(SIGLIP, 18_360_320, 27_464_895_896 + HEAD, (421, 0), "partial"),
    "mobilevlm-v2-1.7b": Record(CLIP, 6_316_032, 1_674_121_216, (144, 0), "approximate"),
    "mobilevlm-v2-3b": Record(CLIP, 9_205_760, 3_014_273_536, (144, 0), "partial"),
    "mobilevlm-v2-7b": Record(CLIP, 21_020_672, 7_062_943_744, (144, 0), "partial"),
    "tokenpacker-7b": Record(CLIP, 36_722_688, CLIP + 36_722_688 + LLAMA_7B, (144, 0), "partial"),
    # nine tiles and the whole image; one separator each
    "tokenpacker-7b-hd": Record(
        CLIP, 36_722_688, CLIP + 36_722_688 + LLAMA_7B, (1_440, 10), "partial"
    ),
    "mini-gemini-7b": Record(
        CLIP + CONVNEXT, MINING, CLIP + CONVNEXT + MINING + LLAMA_7B, (576, 0), "partial"
    ),
    "mini-gemini-7b-hd": Record(
        CLIP + CONVNEXT, MINING, CLIP + CONVNEXT + MINING + LLAMA_7B, (2_880, 0), "partial"
    ),
    # LayerNorm of 4·1152 and the MLP; Sheared-LLaMA: 32·(4·2560² + 3·2560·6912 + 2·2560) + 2560
    # + 2·32,000·2560 = 2,701,560,320
    "vila-1.5-3b": Record(
        SIGLIP,
        9_216 + mlp(4_608, 2_560),
        SIGLIP + 9_216 + mlp(4_608, 2_560) + 2_701_560_320,
        (196, 0),
        "partial",
    ),
    "vila-1.5-8b": Record(
        SIGLIP,
        9_216 + mlp(4_608, 4_096),
        SIGLIP + 9_216 + mlp(4_608, 4_096) + LLAMA_3_8B,
        (196, 0),
        "partial",
    ),
    "vila-1.5-13b": Record(
        SIGLIP,
        9_216 + mlp(4_608, 5_120),
        SIGLIP + 9_216 + mlp(4_608, 5_120) + LLAMA_13B,
        (196, 0),
        "partial",
    ),
    "vila-1.5-40b": Record(
        INTERNVIT_6B,
        25_600 + mlp(12_800, 7_168),
        INTERNVIT_6B + 25_600 + mlp(12_800, 7_168) + YI_34B,
        (256, 0),
        "partial",
    ),
    # 1024·5120 + 4·(5120² + 5120) + 2·64·5120 + 3·2·5120 + 5120²; six slices and the whole image
    "llava-uhd-13b": Record(
        CLIP, 137_021_440, CLIP + 137_021_440 + LLAMA_13B, (448, 6), "from memory"
    ),
    # norms of a layer: two, and two of query and key in MPT-1B
    "openflamingo-3b": Record(
        CLIP_224,
        perceiver(1_024, 512),
        CLIP_224 + perceiver(1_024, 512) + mpt(2_048, 24, 4) + 24 * gated_block(2_048),
        (64, 1),
        "partial",
    ),
    "openflamingo-9b": Record(
        CLIP_224,
        perceiver(1_024, 512),
        CLIP_224 + perceiver(1_024, 512) + mpt(4_096, 32, 2) + 8 * gated_block(4_096),
        (64, 1),
        "partial",
    ),
    # 80 layers of 13·8192² with relative positions, 12 blocks of (2·8192 + 2·1536 + 8·8192)·8192
    # and two norms and gates each, 161 norms, 32,000 rows; NFNet-F6 as timm builds it
    "flamingo-80b": Record(
        435_286_116,
        perceiver(1_536, 2_048) + 3_072 * 1_536 + 1_536,
        435_286_116
        + perceiver(1_536, 2_048)
        + 3_072 * 1_536
        + 1_536
        + (80 * 13 * 8_192 + 161 + 32_000) * 8_192
        + 12 * ((10 * 8_192 + 2 * 1_536 + 2) * 8_192 + 2),
        (64, 1),
        "from memory",
    ),
    # the head stored once more: 152,000 · 896
    "fastvlm-0.5b": Record(FASTVITHD, 3_557_120, 620_361_440 + 136_192_000, (256, 0), "partial"),
    "fastvlm-1.5b": Record(FASTVITHD, 7_080_960, 1_673_607_776, (256, 0), "partial"),
    "fastvlm-7b": Record(FASTVITHD, 23_862_272, 7_762_651_744, (256, 0), "partial"),
}


@pytest.mark.parametrize("model_id", RECORDS)
def test_parameters(model_id):
    record, counted = RECORDS[model_id], model_parameters(load_model(model_id))
    assert counted["vision"] == record.vision
    assert counted["connector"] == record.connector
    assert sum(counted.values()) == record.total


@pytest.mark.parametrize("model_id", RECORDS)
def test_default_tokens(model_id):
    model = load_model(model_id)
    seen = visual_input(model.token_rule, [model.token_rule.default_image], model.geometry)
    assert (seen.visual_tokens, seen.structural_tokens) == RECORDS[model_id].tokens


@pytest.mark.parametrize("model_id", RECORDS)
def test_status_and_published_count(model_id):
    record, model = RECORDS[model_id], load_model(model_id)
    assert model.status == record.status
    published = model.published_parameters
    assert (published.count if published else None) == record.published
    if published:
        assert published.count - record.total == sum(published.difference.values())


#: What came from memory or was assumed; the figures of all others have sources.
UNVERIFIED = {
    "monkey": ("vision.crop_adapters",),
    "deepseek-vl2-tiny": ("decoder",),
    "deepseek-vl2-small": ("decoder",),
    "deepseek-vl2": ("decoder",),
    "mobilevlm-v2-1.7b": ("decoder",),
    "mobilevlm-v2-3b": ("decoder",),
    "tokenpacker-7b-hd": ("hf_id",),
    "vila-1.5-3b": ("vision", "decoder"),
    "vila-1.5-8b": ("vision", "decoder"),
    "vila-1.5-13b": ("vision", "decoder"),
    "vila-1.5-40b": ("vision", "decoder"),
    "llava-uhd-13b": ("hf_id", "decoder", "token_rule.structural_per_tile"),
    "openflamingo-3b": ("decoder.feed_forward", "decoder.vocab_size"),
    "openflamingo-9b": ("decoder.vocab_size",),
    "flamingo-80b": ("vision", "connector", "decoder", "token_rule"),
}


@pytest.mark.parametrize("model_id", RECORDS)
def test_unverified_fields_are_named_and_exist(model_id):
    model = load_model(model_id)
    assert model.unverified == UNVERIFIED.get(model_id, ())
    for field in model.unverified:
        part = model
        for name in field.split("."):
            part = getattr(part, name)


@pytest.mark.parametrize(
    ("model_id", "difference"),
    [
        ("kimi-vl-a3b", [27 * 64]),
        # LoRA of ranks 256 and 320 over 45,056 inputs and outputs in 32 layers; half of 2 · 1000
        # relative positions of 16 heads; mean and inverse deviation of the audio features
        ("phi-4-multimodal", [32 * 45_056 * (256 + 320), -1000 * 16, 2 * 80]),
    ],
)
def test_itemised_differences(model_id, difference):
    published = load_model(model_id).published_parameters
    assert list(published.difference.values()) == difference


#: id: (layers, hidden size, heads, key/value heads, head size, FFN, vocabulary, tied)
DECODERS = {
    "qwen-vl-7b": (32, 4096, 32, 32, 128, 11008, 151936, False),
    "monkey": (32, 4096, 32, 32, 128, 11008, 151936, False),
    "phi-3.5-vision": (32, 3072, 32, 32, 96, 8192, 32064, False),
    "phi-4-multimodal": (32, 3072, 24, 8, 128, 8192, 200064, True),
    "minicpm-v-2.6": (28, 3584, 28, 4, 128, 18944, 151666, False),
    "molmo-7b-d": (28, 3584, 28, 4, 128, 18944, 152064, False),
    "openvla-7b": (32, 4096, 32, 32, 128, 11008, 32064, False),
    "kimi-vl-a3b": (27, 2048, 16, 16, 192, 1408, 163840, False),
    "deepseek-vl2-tiny": (12, 1280, 10, 10, 128, 896, 129280, False),
    "deepseek-vl2-small": (27, 2048, 16, 16, 192, 1408, 102400, False),
    "deepseek-vl2": (30, 2560, 32, 32, 192, 1536, 129280, False),
    "mobilevlm-v2-1.7b": (24, 2048, 16, 16, 128, 5632, 32000, False),
    "mobilevlm-v2-3b": (32, 2560, 32, 32, 80, 6912, 32000, False),
    "mobilevlm-v2-7b": (32, 4096, 32, 32, 128, 11008, 32000, False),
    "tokenpacker-7b": (32, 4096, 32, 32, 128, 11008, 32000, False),
    "tokenpacker-7b-hd": (32, 4096, 32, 32, 128, 11008, 32000, False),
    "mini-gemini-7b": (32, 4096, 32, 32, 128, 11008, 32000, False),
    "mini-gemini-7b-hd": (32, 4096, 32, 32, 128, 11008, 32000, False),
    "vila-1.5-3b": (32, 2560, 20, 20, 128, 6912, 32000, False),
    "vila-1.5-8b": (32, 4096, 32, 8, 128, 14336, 128256, False),
    "vila-1.5-13b": (40, 5120, 40, 40, 128, 13824, 32000, False),
    "vila-1.5-40b": (60, 7168, 56, 8, 128, 20480, 64000, False),
    "llava-uhd-13b": (40, 5120, 40, 40, 128, 13824, 32000, False),
    "openflamingo-3b": (24, 2048, 16, 16, 128, 8192, 50280, True),
    "openflamingo-9b": (32, 4096, 32, 32, 128, 16384, 50280, True),
    "flamingo-80b": (80, 8192, 64, 64, 128, 32768, 32000, True),
    "fastvlm-0.5b": (24, 896, 14, 2, 64, 4864, 152000, True),
    "fastvlm-1.5b": (28, 1536, 12, 2, 128, 8960, 152000, True),
    "fastvlm-7b": (28, 3584, 28, 4, 128, 18944, 152128, False),
}


@pytest.mark.parametrize("model_id", DECODERS)
def test_decoder(model_id):
    decoder = load_model(model_id).decoder
    attention = decoder.attention
    assert DECODERS[model_id] == (
        decoder.num_hidden_layers,
        decoder.hidden_size,
        attention.num_attention_heads,
        attention.num_key_value_heads,
        attention.head_dim,
        decoder.feed_forward.intermediate_size,
        decoder.vocab_size,
        decoder.tie_word_embeddings,
    )


def test_every_record_has_its_decoder():
    assert set(DECODERS) == set(RECORDS)


#: id: (contributing layers, layers, hidden size, heads, FFN, patch, class token and registers)
CLIP_SHAPE = (23, 24, 1024, 16, 4096, 14, 1)
ENCODERS = {
    "qwen-vl-7b": (48, 48, 1664, 16, 8192, 14, 0),
    "monkey": (48, 48, 1664, 16, 8192, 14, 0),
    "phi-3.5-vision": CLIP_SHAPE,
    "phi-4-multimodal": (26, 27, 1152, 16, 4304, 14, 0),
    "minicpm-v-2.6": (27, 27, 1152, 16, 4304, 14, 0),
    "molmo-7b-d": (22, 23, 1024, 16, 4096, 14, 1),
    "openvla-7b": (23, 24, 1024, 16, 4096, 14, 5),
    "kimi-vl-a3b": (27, 27, 1152, 16, 4304, 14, 0),
    "deepseek-vl2-tiny": (27, 27, 1152, 16, 4304, 14, 0),
    "mobilevlm-v2-1.7b": CLIP_SHAPE,
    "tokenpacker-7b": CLIP_SHAPE,
    "mini-gemini-7b": CLIP_SHAPE,
    "vila-1.5-3b": (26, 27, 1152, 16, 4304, 14, 0),
    "vila-1.5-40b": (44, 45, 3200, 25, 12800, 14, 1),
    "llava-uhd-13b": CLIP_SHAPE,
    "openflamingo-3b": (24, 24, 1024, 16, 4096, 14, 1),
}


@pytest.mark.parametrize("model_id", ENCODERS)
def test_encoder(model_id):
    vision = load_model(model_id).vision
    assert ENCODERS[model_id] == (
        vision.contributing_layers,
        vision.num_hidden_layers,
        vision.hidden_size,
        vision.attention.num_attention_heads,
        vision.feed_forward.intermediate_size,
        vision.patch_embedding.patch_size,
        vision.extra_tokens,
    )
