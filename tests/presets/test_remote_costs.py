"""What presets of models with code of their own cost: arithmetic from the original shapes."""

from itertools import pairwise

import pytest
from vlm_tokencost.costmodel import (
    Counting,
    Linear,
    Workload,
    evaluate,
    lower,
    lower_decode,
    plan,
)
from vlm_tokencost.costmodel.parameters import layer_parameters
from vlm_tokencost.costmodel.tokens.base import Processor, visual_input
from vlm_tokencost.presets import load_model


def test_second_encoders():
    siglip = load_model("openvla-7b").second_vision
    assert (siglip.contributing_layers, siglip.num_hidden_layers, siglip.features) == (26, 27, 1152)
    for model_id, side in (("mini-gemini-7b", 768), ("mini-gemini-7b-hd", 1_536)):
        model = load_model(model_id)
        seen = visual_input(model.token_rule, [model.token_rule.default_image], model.geometry)
        (crop,) = seen.second_crops
        positions, _ = model.second_vision.output_grid(crop)
        assert positions == side // 4  # the maps have the stem's stride
        # each of the 24 tokens along a side of the whole (of one of 2×2 crops) has 8 positions
        assert positions == 24 * 8 * (1 if model_id == "mini-gemini-7b" else 2)


def test_phi_3_5_has_one_tile_under_the_class_s_limits():
    model = load_model("phi-3.5-vision")
    rule = model.token_rule.configured(Processor(limits="class"))
    seen = visual_input(rule, [(336, 336)], model.geometry)
    assert seen.visual_tokens == 313  # (1 + 1)·144 + 1 + (1 + 1)·12


@pytest.mark.parametrize(("model_id", "every"), [("openflamingo-3b", 1), ("openflamingo-9b", 4)])
def test_visual_tokens_are_keys_of_every_nth_layer(model_id, every):
    decoder = load_model(model_id).decoder
    assert decoder.crosses
    crossing = [layer for layer, block in enumerate(decoder.blocks) if block.cross_attention]
    assert crossing == list(range(every - 1, decoder.num_hidden_layers, every))


#: Weights that one generated token passes: the LLM's matrices, of experts those it is routed to.
ACTIVE = {
    # 27·(2048·16·192 + 2048·576 + 512·16·256 + 2048²) of attention, one dense layer, 26 with a
    # router, 6 routed and 2 shared experts; the head
    "kimi-vl-a3b": 27 * (2048 * 3072 + 2048 * 576 + 512 * 4096 + 2048**2)
    + 3 * 2048 * 11264
    + 26 * (64 * 2048 + 8 * 3 * 2048 * 1408)
    + 163840 * 2048,
    "deepseek-vl2-tiny": 12 * 4 * 1280**2
    + 3 * 1280 * 6848
    + 11 * (64 * 1280 + 8 * 3 * 1280 * 896)
    + 129280 * 1280,
    "deepseek-vl2-small": 27 * (2048 * 3072 + 2048 * 576 + 512 * 4096 + 2048**2)
    + 3 * 2048 * 10944
    + 26 * (64 * 2048 + 8 * 3 * 2048 * 1408)
    + 102400 * 2048,
    "deepseek-vl2": 30 * (2560 * 6144 + 2560 * 576 + 512 * 8192 + 4096 * 2560)
    + 3 * 2560 * 12288
    + 29 * (72 * 2560 + 8 * 3 * 2560 * 1536)
    + 129280 * 2560,
    # with rank 256 beside query-key-value, output, gate-up and down: 8192 + 6144 + 19456 + 11264
    "phi-4-multimodal": 32 * (3072 * 5120 + 3072**2 + 3 * 3072 * 8192 + 256 * 45_056)
    + 200064 * 3072,
    # 24·(12·2048²), a gated block each: query, output, FFN; keys and values of 64 latents anew
    "openflamingo-3b": 24 * (12 * 2048**2 + 2 * 2048 * 512 + 8 * 2048**2 + 64 * 2 * 1024 * 512)
    + 50280 * 2048,
}


@pytest.mark.parametrize("model_id", ACTIVE)
def test_a_generated_token_passes_the_active_weights(model_id):
    model = load_model(model_id)
    forward = lower_decode(model, plan(model, Workload()))
    macs = sum(op.macs * max(1, len(op.layers)) for op in forward if isinstance(op, Linear))
    assert macs == ACTIVE[model_id]


def test_minicpm_computes_the_padding_of_slices():
    # an overview of 18×58 = 1,044 patches and three slices of 30×34 = 1,020, padded to 1,044
    report = evaluate(load_model("minicpm-v-2.6"), Workload(images=[(300, 1000)]))
    n, crops = 1_044, 4
    layer = n * (4 * 1152**2 + 2 * 1152 * 4304) + 2 * n**2 * 1152
    # 27·(15,895,216,128 + 2,511,212,544) + 1,044·588·1,152, 4 crops
    encoder = crops * (n * 3 * 14**2 * 1152 + 27 * layer)
    # kv_proj, key and value of each patch; query, output and proj of 64 queries; 64·n pairs
    resampler = n * (1152 * 3584 + 2 * 3584**2) + 3 * 64 * 3584**2 + 2 * 64 * n * 3584
    components = report.bill().by_component()
    assert components["vision"] == 2 * encoder == 3_981_339_869_184
    assert components["connector"] == 2 * crops * resampler == 272_608_788_480


def test_monkey_s_windows_have_adapters_the_whole_image_none():
    monkey, qwen = load_model("monkey"), load_model("qwen-vl-7b")
    report = evaluate(monkey, Workload(batch=2))
    adapters = {entry.name: entry for entry in report.bill().entries if "adapter" in entry.name}
    # 4 windows of 32×32 patches in 48 layers; rank 16 beside 1664 → 4992 and 1664 → 1664, rank 32
    # beside 1664 → 1664: 16·4·1664 + 16·2·1664 + 32·2·1664 = 266,240 MACs a token
    assert sum(entry.amount for entry in adapters.values()) == 2 * 104_689_827_840
    assert 104_689_827_840 == 2 * 48 * 4_096 * 266_240
    assert {entry.component for entry in adapters.values()} == {"vision"}
    block = 4 * 1664**2 + 2 * 1664 * 8192
    encoder = 5 * (1024 * 3 * 14**2 * 1664 + 48 * (1024 * block + 2 * 1024**2 * 1664))
    vision = report.bill().by_component()["vision"]
    assert vision == 2 * (2 * encoder + 104_689_827_840)
    # in each layer the weights of each window and three scales
    stored = [layer_parameters(model)["vision", 0] for model in (monkey, qwen)]
    assert stored[0] - stored[1] == 4 * (266_240 + 3)


def convnext_macs(side: int) -> int:
    """ConvNeXt-L: a 4×4 stem, 2×2 steps, blocks of a depthwise 7×7 convolution and FFN ×4."""
    positions = [(side // 4 // 2**stage) ** 2 for stage in range(4)]
    widths, depths = [192, 384, 768, 1536], [3, 3, 27, 3]
    steps = [48 * 192, *(4 * before * after for before, after in pairwise(widths))]
    return sum(
        count * (step + depth * (49 * width + 8 * width**2))
        for count, step, depth, width in zip(positions, steps, depths, widths, strict=True)
    )


@pytest.mark.parametrize(
    ("model_id", "crops", "side"), [("mini-gemini-7b", 1, 768), ("mini-gemini-7b-hd", 5, 1_536)]
)
def test_the_second_encoder_sees_one_large_image(model_id, crops, side):
    model = load_model(model_id)
    operators = lower(model, plan(model, Workload()), Counting())
    macs = sum(op.macs * max(1, len(op.layers)) for op in operators if op.component == "vision")
    # CLIP at 336 px, all 24 layers of 577 tokens: 381,918,216,192 FLOP a crop
    assert macs == crops * 190_959_108_096 + convnext_macs(side)


@pytest.mark.parametrize(
    ("model_id", "size", "tokens"),
    [
        ("vila-1.5-8b", (480, 640), 196),  # 27×27 patches padded to 28×28, 2×2 joined
        ("vila-1.5-40b", (480, 640), 256),
        ("minicpm-v-2.6", (480, 640), 64),
    ],
)
def test_frames_are_images(model_id, size, tokens):
    model = load_model(model_id)
    seen = visual_input(model.token_rule, [size], model.geometry, frames=8)
    assert (len(seen.crops), seen.visual_tokens) == (8, 8 * tokens)
