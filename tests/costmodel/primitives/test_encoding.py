"""Fewer tokens before and in the encoder, by hand: CLIP ViT-L has 24 layers and 577 tokens."""

import pytest
from refusals import refusal
from vlm_tokencost.costmodel import Schedule, Workload, plan
from vlm_tokencost.presets import load_model

LLAVA = load_model("llava-1.5-7b")


def test_stages_of_the_encoder():
    # from layer 6 on ⌊0.25 · 576⌋ = 144 patches and the class token
    encoder = {"stages": [{"first_layer": 6, "ratio": 0.25}]}
    seen = plan(LLAVA, Workload(), Schedule(encoder=encoder))
    assert seen.encoder_tokens == (577,) * 6 + (145,) * 18
    assert seen.encoder_pairs == (577**2,) * 6 + (145**2,) * 18
    assert seen.entering_visual_tokens == seen.connector_tokens == 144


def test_squares_of_patches_leave_a_grid():
    # InternVL3: 32×32 patches of a tile become 16×16 in layer 3, and 2×2 of those one token
    model = load_model("internvl3-8b")
    encoder = {"stages": [{"first_layer": 3, "ratio": 0.25}], "op": "unshuffle"}
    workload = Workload(images=((448, 448),))
    dense, seen = (plan(model, workload, one) for one in (None, Schedule(encoder=encoder)))
    assert dense.encoder_tokens[0] == 1025
    assert seen.encoder_tokens[2:4] == (1025, 257)
    assert (dense.entering_visual_tokens, seen.entering_visual_tokens) == (256, 64)


def test_patches_before_the_encoder():
    # Qwen2.5-VL: whole squares of 2×2: ⌊0.3 · patches/4⌋ of them
    model = load_model("qwen2.5-vl-7b")
    dense, seen = (plan(model, Workload(), one) for one in (None, Schedule(input={"patches": 0.3})))
    squares = dense.encoder_positions // 4
    assert seen.encoder_positions == 4 * (3 * squares // 10)
    assert seen.entering_visual_tokens == 3 * dense.dense_visual_tokens // 10


def test_frames_before_the_encoder():
    # half of 8 frames: half of everything that the encoder and the LLM see of them
    model, workload = load_model("video-llava-7b"), Workload(frames=8)
    dense, seen = (plan(model, workload, one) for one in (None, Schedule(input={"frames": 0.5})))
    assert seen.frames == 4
    assert [2 * tokens for tokens in seen.encoder_tokens] == list(dense.encoder_tokens)
    assert 2 * seen.entering_visual_tokens == dense.dense_visual_tokens
    images = Workload(images=((336, 336),) * 4)
    assert plan(LLAVA, images, Schedule(input={"frames": 0.5})).entering_visual_tokens == 2 * 576


@pytest.mark.parametrize(
    ("model", "schedule", "field", "words"),
    [
        ("llava-1.5-7b", {"input": {"frames": 0.5}}, "input.frames", "needs several frames"),
        ("llava-1.5-7b", {"input": {"patches": 0.001}}, "input.patches", "leaves no patch"),
        ("minicpm-v-2.6", {"input": {"patches": 0.5}}, "input.patches", "takes whole crops"),
        ("llava-next-video-7b", {"input": {"patches": 0.5}}, "input.patches", "other tokens"),
        (
            "llava-1.5-7b",
            {"encoder": {"stages": [{"first_layer": 24, "ratio": 0.5}]}},
            "encoder.stages.0.first_layer",
            "which has 24",
        ),
        (
            "llava-1.5-7b",
            {"encoder": {"stages": [{"first_layer": 2, "tokens": 577}]}},
            "encoder.stages.0.ratio",
            "leaves 577 patches of the 576",
        ),
        (
            "llava-1.5-7b",
            {"encoder": {"stages": [{"first_layer": 2, "ratio": 0.5}], "op": "pool"}},
            "encoder.op",
            "which no squares make",
        ),
        (
            "qwen2.5-vl-7b",
            {"encoder": {"stages": [{"first_layer": 2, "ratio": 0.25}]}},
            "encoder.stages",
            "no plain sequence over one crop",
        ),
        (
            "internvl3-8b",
            {"encoder": {"stages": [{"first_layer": 2, "ratio": 0.25}]}},
            "encoder.op",
            "leaves no grid",
        ),
    ],
)
def test_what_does_not_fit(model, schedule, field, words):
    error = refusal(plan, load_model(model), Workload(), Schedule(**schedule))
    assert error.field == field
    assert words in str(error)


def test_patches_do_not_go_with_an_encoder_that_reduces():
    schedule = Schedule(input={"patches": 0.5}, encoder={"merged_per_layer": 4})
    assert "does not go with `encoder`" in str(refusal(plan, LLAVA, Workload(), schedule))


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ({"input": {}}, "gives no amount"),
        ({"encoder": {"stages": []}}, "is not a list of stages in order"),
        ({"encoder": {"stages": [{"first_layer": 3}]}}, "gives no single amount"),
        (
            {"encoder": {"stages": [{"first_layer": 3, "ratio": 0.5}] * 2}},
            "is not a list of stages in order",
        ),
    ],
)
def test_tables_that_are_wrong(schedule, words):
    assert words in str(refusal(Schedule, **schedule))


def test_stages_in_layers_that_are_not_read_change_nothing_behind_the_encoder():
    # LLaVA-1.5 reads the output of layer 22: a stage at 23, the last, leaves all 576
    schedule = Schedule(encoder={"stages": [{"first_layer": 23, "ratio": 0.25}]})
    seen = plan(LLAVA, Workload(), schedule)
    assert seen.encoder_tokens == (577,) * 23 + (145,)
    assert seen.connector_tokens == seen.entering_visual_tokens == 576


def test_windows_score_the_square_of_what_is_kept():
    model = load_model("qwen2.5-vl-7b")
    dense, seen = (plan(model, Workload(), one) for one in (None, Schedule(input={"patches": 0.5})))
    assert seen.encoder_pairs == tuple(pairs // 4 for pairs in dense.encoder_pairs)


@pytest.mark.parametrize("op", ["pool", "unshuffle"])
def test_patches_that_a_rule_pools_leave_no_coarser_grid(op):
    schedule = Schedule(encoder={"op": op, "stages": [{"first_layer": 4, "ratio": 0.25}]})
    error = refusal(plan, load_model("llava-next-video-7b"), Workload(frames=8), schedule)
    assert error.field == "encoder.op"
    assert "pooled before the connector" in str(error)


def test_a_pooled_video_names_the_stages():
    schedule = Schedule(encoder={"stages": [{"first_layer": 4, "ratio": 0.5}]})
    error = refusal(plan, load_model("llava-next-video-7b"), Workload(frames=8), schedule)
    assert error.field == "encoder.stages"


def test_tapped_layers_have_what_leaves_the_encoder():
    # Qwen3-VL-8B taps layers 8, 16 and 24 of its encoder
    model = load_model("qwen3-vl-8b")
    assert min(model.connector.deepstack.encoder_layers) == 8

    def staged(layer):
        stages = [{"first_layer": layer, "ratio": 0.25}]
        return plan(model, Workload(), Schedule(encoder={"op": "pool", "stages": stages}))

    assert 4 * staged(8).connector_tokens == plan(model, Workload()).connector_tokens
    assert refusal(staged, 9).field == "encoder.stages.0.first_layer"


def test_crops_that_are_joined_are_not_reduced_in_the_encoder():
    encoder = {"op": "pool", "stages": [{"first_layer": 4, "ratio": 0.25}]}
    for model in ("phi-4-multimodal", "phi-3.5-vision"):
        error = refusal(plan, load_model(model), Workload(), Schedule(encoder=encoder))
        assert error.field == "encoder.stages"
