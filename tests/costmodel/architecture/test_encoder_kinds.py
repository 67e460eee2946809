"""Encoders that are no plain stack over single crops: joint attention, two towers, tokens kept."""

from vlm_tokencost.costmodel import Workload, evaluate, plan
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
