"""Language models of the transformers families' presets, as in the checkpoints' configurations.

Figures are written out here, so that no figure of a preset is compared with itself.
"""

import pytest
from vlm_tokencost.presets import load_model

# fmt: off
#: id: (layers, hidden size, heads, key/value heads, head size, FFN or one expert, vocabulary, tied)
DECODERS = {
    "llava-1.5-7b": (32, 4096, 32, 32, 128, 11008, 32064, False),
    "llava-1.5-13b": (40, 5120, 40, 40, 128, 13824, 32064, False),
    "llava-next-vicuna-7b": (32, 4096, 32, 32, 128, 11008, 32064, False),
    "llava-next-vicuna-13b": (40, 5120, 40, 40, 128, 13824, 32064, False),
    "llava-next-mistral-7b": (32, 4096, 32, 8, 128, 14336, 32064, False),
    "llava-next-34b": (60, 7168, 56, 8, 128, 20480, 64064, False),
    "llava-next-llama3-8b": (32, 4096, 32, 8, 128, 14336, 128320, False),
    "llava-next-72b": (80, 8192, 64, 64, 128, 24576, 152064, False),
    "llava-onevision-0.5b": (24, 896, 14, 2, 64, 4864, 152000, True),
    "llava-onevision-7b": (28, 3584, 28, 4, 128, 18944, 152128, False),
    "llava-onevision-72b": (80, 8192, 64, 8, 128, 29568, 152128, False),
    "llava-video-7b": (28, 3584, 28, 4, 128, 18944, 152064, False),
    "video-llava-7b": (32, 4096, 32, 32, 128, 11008, 32064, False),
    "llava-next-video-7b": (32, 4096, 32, 32, 128, 11008, 32064, False),
    "blip2-opt-2.7b": (32, 2560, 32, 32, 80, 10240, 50304, True),
    "blip2-opt-6.7b": (32, 4096, 32, 32, 128, 16384, 50304, True),
    "blip2-flan-t5-xl": (48, 2048, 32, 32, 64, 5120, 32128, True),
    "blip2-flan-t5-xxl": (48, 4096, 64, 64, 64, 10240, 32128, True),
    "instructblip-vicuna-7b": (32, 4096, 32, 32, 128, 11008, 32064, False),
    "instructblip-vicuna-13b": (40, 5120, 40, 40, 128, 13824, 32064, False),
    "instructblip-flan-t5-xl": (48, 2048, 32, 32, 64, 5120, 32128, True),
    "qwen2-vl-2b": (28, 1536, 12, 2, 128, 8960, 151936, True),
    "qwen2-vl-7b": (28, 3584, 28, 4, 128, 18944, 152064, False),
    "qwen2-vl-72b": (80, 8192, 64, 8, 128, 29568, 152064, False),
    "qwen2.5-vl-3b": (36, 2048, 16, 2, 128, 11008, 151936, True),
    "qwen2.5-vl-7b": (28, 3584, 28, 4, 128, 18944, 152064, False),
    "qwen2.5-vl-32b": (64, 5120, 40, 8, 128, 27648, 152064, False),
    "qwen2.5-vl-72b": (80, 8192, 64, 8, 128, 29568, 152064, False),
    "qwen2.5-omni-7b": (28, 3584, 28, 4, 128, 18944, 152064, False),
    "qwen3-vl-2b": (28, 2048, 16, 8, 128, 6144, 151936, True),
    "qwen3-vl-4b": (36, 2560, 32, 8, 128, 9728, 151936, True),
    "qwen3-vl-8b": (36, 4096, 32, 8, 128, 12288, 151936, False),
    "qwen3-vl-32b": (64, 5120, 64, 8, 128, 25600, 151936, False),
    "qwen3-vl-30b-a3b": (48, 2048, 32, 4, 128, 768, 151936, False),
    "qwen3-vl-235b-a22b": (94, 4096, 64, 4, 128, 1536, 151936, False),
    "internvl2-1b": (24, 896, 14, 2, 64, 4864, 151655, False),
    "internvl2-2b": (24, 2048, 16, 8, 128, 8192, 92553, False),
    "internvl2-4b": (32, 3072, 32, 32, 96, 8192, 32020, False),
    "internvl2-8b": (32, 4096, 32, 8, 128, 14336, 92553, False),
    "internvl2-26b": (48, 6144, 48, 8, 128, 16384, 92553, False),
    "internvl2-40b": (60, 7168, 56, 8, 128, 20480, 64007, False),
    "internvl2-76b": (80, 8192, 64, 8, 128, 28672, 128265, False),
    "internvl2.5-1b": (24, 896, 14, 2, 64, 4864, 151674, False),
    "internvl2.5-2b": (24, 2048, 16, 8, 128, 8192, 92553, False),
    "internvl2.5-4b": (36, 2048, 16, 2, 128, 11008, 151674, False),
    "internvl2.5-8b": (32, 4096, 32, 8, 128, 14336, 92553, False),
    "internvl2.5-26b": (48, 6144, 48, 8, 128, 16384, 92553, False),
    "internvl2.5-38b": (64, 5120, 40, 8, 128, 27648, 151674, False),
    "internvl2.5-78b": (80, 8192, 64, 8, 128, 29568, 151674, False),
    "internvl3-1b": (24, 896, 14, 2, 64, 4864, 151674, False),
    "internvl3-2b": (28, 1536, 12, 2, 128, 8960, 151674, False),
    "internvl3-8b": (28, 3584, 28, 4, 128, 18944, 151674, False),
    "internvl3-14b": (48, 5120, 40, 8, 128, 13824, 151674, False),
    "internvl3-38b": (64, 5120, 40, 8, 128, 27648, 151674, False),
    "internvl3-78b": (80, 8192, 64, 8, 128, 29568, 151674, False),
    "internvl3.5-1b": (28, 1024, 16, 8, 128, 3072, 151936, False),
    "internvl3.5-2b": (28, 2048, 16, 8, 128, 6144, 151936, False),
    "internvl3.5-4b": (36, 2560, 32, 8, 128, 9728, 151936, False),
    "internvl3.5-8b": (36, 4096, 32, 8, 128, 12288, 151936, False),
    "internvl3.5-14b": (40, 5120, 40, 8, 128, 17408, 151936, False),
    "internvl3.5-38b": (64, 5120, 64, 8, 128, 25600, 151936, False),
    "idefics2-8b": (32, 4096, 32, 8, 128, 14336, 32003, False),
    "idefics3-8b": (32, 4096, 32, 8, 128, 14336, 128259, False),
    "smolvlm-2.2b": (24, 2048, 32, 32, 64, 8192, 49155, False),
    "smolvlm-500m": (32, 960, 15, 5, 64, 2560, 49280, False),
    "smolvlm-256m": (30, 576, 9, 3, 64, 1536, 49280, False),
    "smolvlm2-2.2b": (24, 2048, 32, 32, 64, 8192, 49280, False),
    "smolvlm2-500m": (32, 960, 15, 5, 64, 2560, 49280, False),
    "smolvlm2-256m": (30, 576, 9, 3, 64, 1536, 49280, False),
    "paligemma-3b-224": (18, 2048, 8, 1, 256, 16384, 257216, True),
    "paligemma-3b-448": (18, 2048, 8, 1, 256, 16384, 257216, True),
    "paligemma-3b-896": (18, 2048, 8, 1, 256, 16384, 257216, True),
    "paligemma2-3b-224": (26, 2304, 8, 4, 256, 9216, 257216, True),
    "paligemma2-10b-224": (42, 3584, 16, 8, 256, 14336, 257216, True),
    "paligemma2-28b-224": (46, 4608, 32, 16, 128, 36864, 257216, True),
    "gemma3-4b": (34, 2560, 8, 4, 256, 10240, 262208, True),
    "gemma3-12b": (48, 3840, 16, 8, 256, 15360, 262208, True),
    "gemma3-27b": (62, 5376, 32, 16, 128, 21504, 262208, True),
    "llama3.2-vision-11b": (40, 4096, 32, 8, 128, 14336, 128256, False),
    "llama3.2-vision-90b": (100, 8192, 64, 8, 128, 28672, 128256, False),
    "pixtral-12b": (40, 5120, 32, 8, 128, 14336, 131072, False),
    "mistral-small-3.1-24b": (40, 5120, 32, 8, 128, 32768, 131072, False),
    "glm-4.1v-9b": (40, 4096, 32, 2, 128, 13696, 151552, False),
    "ovis2-1b": (24, 896, 14, 2, 64, 4864, 151936, True),
    "ovis2-2b": (28, 1536, 12, 2, 128, 8960, 151936, True),
    "ovis2-4b": (36, 2048, 16, 2, 128, 11008, 151936, True),
    "ovis2-8b": (28, 3584, 28, 4, 128, 18944, 152064, False),
    "ovis2-16b": (48, 5120, 40, 8, 128, 13824, 152064, False),
    "ovis2-34b": (64, 5120, 40, 8, 128, 27648, 152064, False),
    "aya-vision-8b": (32, 4096, 32, 8, 128, 14336, 256000, True),
}
# fmt: on


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
    opt = decoder.model_type == "opt"
    assert decoder.feed_forward.gated != opt
    assert decoder.norm == (
        "layer" if opt else "layer without bias" if decoder.model_type == "cohere2" else "rms"
    )
    assert attention.qkv_bias == (
        opt or decoder.model_type.startswith(("qwen2", "glm4v"))  # the Qwen2 families
    )
    assert attention.output_bias == opt
    assert attention.qk_norm == decoder.model_type.startswith(("qwen3", "gemma3"))


@pytest.mark.parametrize(
    ("model_id", "width"), [("qwen3-vl-30b-a3b", 768), ("qwen3-vl-235b-a22b", 1536)]
)
def test_experts(model_id, width):
    experts = load_model(model_id).decoder.feed_forward
    assert (experts.num_experts, experts.num_experts_per_tok) == (128, 8)
    assert experts.active_intermediate_size == 8 * width
    assert experts.shared_intermediate_size == 0


@pytest.mark.parametrize(
    ("model_id", "size", "full"),
    [
        ("gemma3-4b", 1024, [5, 11, 17, 23, 29]),
        ("gemma3-12b", 1024, [5, 11, 17, 23, 29, 35, 41, 47]),
        ("gemma3-27b", 1024, [5, 11, 17, 23, 29, 35, 41, 47, 53, 59]),
        ("paligemma2-3b-224", 4096, [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25]),
        ("aya-vision-8b", 4096, [3, 7, 11, 15, 19, 23, 27, 31]),
        ("idefics2-8b", 4096, []),
    ],
)
def test_sliding_windows(model_id, size, full):
    decoder = load_model(model_id).decoder
    layers = range(decoder.num_hidden_layers)
    assert [layer for layer in layers if decoder.window(layer) is None] == full
    assert {decoder.window(layer) for layer in layers} - {None} == {size}


def test_who_attends_to_later_tokens():
    later = {model_id: load_model(model_id).decoder.bidirectional for model_id in DECODERS}
    assert {model_id for model_id in later if later[model_id]} == {
        model_id for model_id in DECODERS if "gemma" in model_id
    }
    assert later["gemma3-4b"] == "images"
    assert later["paligemma-3b-224"] == later["paligemma2-3b-224"] == "prefix"


@pytest.mark.parametrize(
    ("model_id", "crossing"),
    [
        ("llama3.2-vision-11b", [3, 8, 13, 18, 23, 28, 33, 38]),
        (
            "llama3.2-vision-90b",
            [3, 8, 13, 18, 23, 28, 33, 38, 43, 48, 53, 58, 63, 68, 73, 78, 83, 88, 93, 98],
        ),
    ],
)
def test_cross_attention_layers(model_id, crossing):
    model = load_model(model_id)
    blocks = model.decoder.blocks
    assert [layer for layer, block in enumerate(blocks) if block.cross_attention] == crossing
    assert [layer for layer, block in enumerate(blocks) if block.attention is None] == crossing
    assert model.decoder.embedding_rows == 128_256 + 8
    assert model.vision.joint.padded(1601) == 1608
    assert model.vision.features == 6 * 1280


def test_t5_encodes_and_generates():
    for model_id in ("blip2-flan-t5-xl", "blip2-flan-t5-xxl", "instructblip-flan-t5-xl"):
        decoder = load_model(model_id).decoder
        crossing = [block.cross_attention is not None for block in decoder.blocks]
        assert crossing == [False] * 24 + [True] * 24
        assert decoder.encoder_layers == 24
        assert not decoder.crosses
