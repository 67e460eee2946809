"""Encoders that are no plain stack over single crops: joint attention, two towers, tokens kept."""

import pytest
from vlm_tokencost.costmodel import (
    Counting,
    EncoderMerge,
    Schedule,
    Workload,
    evaluate,
    model_parameters,
    plan,
)
from vlm_tokencost.costmodel.architecture.adapters import CropAdapters
from vlm_tokencost.costmodel.parameters import layer_parameters
from vlm_tokencost.presets import load_model


def test_tiles_of_an_image_attend_to_each_other():
    model = load_model("llama3.2-vision-11b")
    one, two = (plan(model, Workload(images=[(560, 560)] * images)) for images in (1, 2))
    # 1600 patches and a class token, padded to 1608, in each of four tiles
    assert set(one.encoder_tokens) == {4 * 1608}
    assert set(one.encoder_pairs) == {(4 * 1608) ** 2}
    assert set(two.encoder_pairs) == {2 * (4 * 1608) ** 2}
    assert two.dense_visual_tokens == 2 * 4 * 1601


def test_images_of_a_prompt_attend_to_each_other():
    model = load_model("pixtral-12b")
    images = [(512, 512), (256, 512)]
    planned = plan(model, Workload(images=images))
    # 32 · 32 and 16 · 32 patches are one sequence, which a mask parts
    assert set(planned.encoder_tokens) == {1024 + 512}
    assert set(planned.encoder_pairs) == {(1024 + 512) ** 2}
    alone = plan(model, Workload(images=images[:1]))
    assert set(alone.encoder_pairs) == {1024**2}


def test_two_towers_see_the_same_crops():
    model = load_model("openvla-7b")
    report = evaluate(model)
    # DINOv2 with a class token and four registers over 16 · 16 patches, then SigLIP
    assert report.dense.encoder_tokens == (261,) * 24 + (256,) * 27
    assert report.dense.tower_positions == (256, 256)
    layers = report.bill().by_layer()
    dino = 2 * (261 * (4 * 1024**2 + 2 * 1024 * 4096) + 2 * 261**2 * 1024)
    siglip = 2 * (256 * (4 * 1152**2 + 2 * 1152 * 4304) + 2 * 256**2 * 1152)
    assert layers["vision", 23] == dino
    assert layers["vision", 24] == layers["vision", 50] == siglip
    assert layers["vision", None] == 2 * 256 * 3 * 14**2 * (1024 + 1152)


def test_the_class_token_passes_the_q_former():
    planned = plan(load_model("blip2-opt-2.7b"), Workload())
    assert planned.connector_grids == (((1, 257), 1),)
    assert planned.connector_tokens == planned.dense_visual_tokens == 32


def test_deepstack_mergers_run_on_all_tokens():
    report = evaluate(load_model("qwen3-vl-2b"), Workload(images=[(512, 512)]))
    # 32 · 32 patches become 256 tokens, each in one merger and three more: 4096 → 4096 → 2048
    merger = 2 * 256 * (4096**2 + 4096 * 2048)
    assert report.bill().by_component()["connector"] == 4 * merger


# --- low-rank adapters of single crops -----------------------------------------------------------

NEXT = load_model("llava-next-vicuna-7b")
#: Beside query-key-value (1024 → 3072), output (1024 → 1024) and the FFN (1024 → 1024).
ATTENTION, NETWORK = 2 * ((1024 + 3072) + (1024 + 1024)), 3 * (1024 + 1024)


def with_crop_adapters(crops: int, **changes):
    """Return LLaVA-NeXT, 577 tokens in each crop of a 24-layer encoder, with adapters."""
    adapters = {"crops": crops, "attention_rank": 2, "feed_forward_rank": 3, **changes}
    vision = type(NEXT.vision)(**{**dict(NEXT.vision), "crop_adapters": adapters})
    return type(NEXT)(**{**dict(NEXT), "vision": vision})


@pytest.mark.parametrize(
    ("crops", "images", "adapted"),
    [
        # 672×672 has 2×2 crops and the base; 300×672 has 1×2 and the base
        (1, [(672, 672)], 1),
        (4, [(672, 672)], 4),
        (5, [(672, 672)], 5),
        (4, [(672, 672), (300, 672)], 4 + 3),
        (1, [(300, 672), (672, 672), (300, 672)], 3),
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_first_crops_of_each_image_have_adapters(crops, images, adapted, batch):
    asked = Workload(images=images, batch=batch)
    model = with_crop_adapters(crops)
    with_them, without = (evaluate(one, asked).bill().by_layer() for one in (model, NEXT))
    added = {place: flops - without[place] for place, flops in with_them.items()}
    each = 2 * batch * adapted * 577 * (ATTENTION + NETWORK)
    assert added == {
        place: each if place[0] == "vision" and place[1] is not None else 0 for place in without
    }


def test_crop_adapters_see_what_merging_leaves():
    # 16 tokens of each crop, between attention and FFN of each block; 2 of 5 crops have adapters
    schedule = Schedule(encoder=EncoderMerge(merged_per_layer=16))
    bills = [evaluate(one, None, schedule).bill() for one in (with_crop_adapters(2), NEXT)]
    with_them, without = (bill.by_layer() for bill in bills)
    for layer in range(24):
        n = 577 - 16 * layer
        added = with_them["vision", layer] - without["vision", layer]
        assert added == 2 * 2 * (n * ATTENTION + (n - 16) * NETWORK)


def test_crop_adapters_of_layers_in_vain_are_computed_in_vain():
    model, counting = with_crop_adapters(5), Counting(encoder_layers="contributing")
    names = [entry.name for entry in evaluate(model, counting=counting).bill().entries]
    assert [name for name in names if "adapter" in name] == [
        f"{beside} adapter {factor}"
        for beside in ("query-key-value", "output", "feed-forward")
        for factor in ("in", "out")
    ]
    layers = evaluate(model, counting=counting).bill().by_layer()
    assert ("vision", 22) in layers
    assert ("vision", 23) not in layers


def test_crop_adapters_cannot_be_merged():
    model = with_crop_adapters(4)
    assert evaluate(model, counting=Counting(adapters="merged")).bill() == evaluate(model).bill()


@pytest.mark.parametrize(("scaled", "scales"), [(False, 0), (True, 3)])
def test_every_crop_stores_adapters_of_its_own(scaled, scales):
    model = with_crop_adapters(4, scaled=scaled)
    more = model_parameters(model)["vision"] - model_parameters(NEXT)["vision"]
    assert more == 24 * 4 * (ATTENTION + NETWORK + scales)
    layers = [layer_parameters(one)["vision", 7] for one in (model, NEXT)]
    assert layers[0] - layers[1] == more // 24


def test_the_first_encoder_s_adapters_do_not_reach_the_second():
    openvla = load_model("openvla-7b")
    adapters = CropAdapters(crops=1, attention_rank=2, feed_forward_rank=3)
    second = type(openvla.second_vision)(
        **{**dict(openvla.second_vision), "crop_adapters": adapters}
    )
    model = type(openvla)(**{**dict(openvla), "second_vision": second})
    with_them, without = (evaluate(one).bill().by_layer() for one in (model, openvla))
    changed = [place for place, flops in with_them.items() if flops != without[place]]
    assert changed == [("vision", layer) for layer in range(24, 24 + 27)]
    # 256 tokens of 1152 features: 1152 → 3·1152 and → 1152 of rank 2, → 1152 of rank 3
    macs = 256 * 1152 * (2 * (1 + 3) + 2 * (1 + 1) + 3 * 2)
    assert with_them["vision", 30] - without["vision", 30] == 2 * macs
