"""Schedules that do not fit a model, and withdrawal."""

import pytest
from refusals import named, refusal
from vlm_tokencost.costmodel import (
    Compress,
    Model,
    Schedule,
    Stage,
    Workload,
    evaluate,
    plan,
)
from vlm_tokencost.presets import load_model

LLAVA = load_model("llava-1.5-7b")


# --- images of which nothing is left --------------------------------------------------------------


def test_an_image_that_becomes_no_visual_token():
    # 13 pixels hold no patch of 14; 14 pixels hold one
    def model(pixels):
        return LLAVA.model_copy(
            update={"token_rule": LLAVA.token_rule.model_copy(update={"image_size": pixels})}
        )

    assert plan(model(14), Workload()).dense_visual_tokens == 1
    error = refusal(evaluate, model(13), Workload(images=((40, 30), (40, 30), (7, 9))))
    assert (error.field, error.value) == ("image_size", "40x30, 7x9")
    assert "no visual token of llava-1.5-7b" in error.problem


def test_frames_of_which_pooling_leaves_nothing():
    video = load_model("video-llava-7b")
    tables = {**dict(video.token_rule.video), "pool": 99, "remainder": "cut", "class_token": False}
    rule = video.token_rule
    pooled = rule.model_copy(update={"video": type(rule.video)(**tables)})
    model = video.model_copy(update={"token_rule": pooled})
    error = refusal(plan, model, Workload(frames=3, images=((224, 224),)))
    assert error.field == "image_size"
    assert "in 3 frames of a video" in error.problem


# --- schedules that do not fit a model ------------------------------------------------------------


def misfit(schedule: Schedule, workload: Workload | None = None, model: Model = LLAVA):
    error = refusal(plan, model, workload or Workload(), schedule)
    assert str(refusal(evaluate, model, workload, schedule)) == str(error)
    return error


def stages(*steps) -> Schedule:
    """Return stages from (first_layer, tokens) or (first_layer, "ratio") pairs."""
    return Schedule(
        stages=tuple(
            Stage(first_layer=layer, **{"ratio" if isinstance(amount, str) else "tokens": amount})
            for layer, amount in steps
        )
    )


@pytest.mark.parametrize("layer", [32, 33, 10**6])
def test_layer_beyond_the_last(layer):
    error = misfit(stages((layer, "0.5")))
    assert (error.field, error.value) == ("stages.0.first_layer", layer)
    assert "32" in error.problem
    assert error.way_out == "give 0 to 31"


def test_the_last_layer_can_be_reduced():
    assert plan(LLAVA, Workload(), stages((31, "0.5"))).visual == (576,) * 31 + (288,)


def test_layer_bound_is_the_model_s():
    vicuna_13b = load_model("llava-1.5-13b")
    assert plan(vicuna_13b, Workload(), stages((39, "0.5"))).visual[-1] == 288
    assert misfit(stages((40, "0.5")), model=vicuna_13b).way_out == "give 0 to 39"


@pytest.mark.parametrize("later", [5, 3, 0])
def test_stages_out_of_order_or_twice(later):
    error = misfit(stages((5, 100), (later, 50)))
    assert (error.field, error.value) == ("stages.1.first_layer", later)
    assert error.problem == "does not come after the stage at layer 5"
    assert "order" in error.way_out


@pytest.mark.parametrize(
    ("schedule", "field", "value", "left", "before"),
    [
        (stages((5, 60), (7, 61)), "stages.1.tokens", "61", "61", "60"),
        (stages((5, "0.25"), (7, "0.5")), "stages.1.ratio", "0.5", "288", "144"),
        (stages((1, 300), (2, 200), (3, "0.5")), "stages.2.ratio", "0.5", "288", "200"),
    ],
    ids=named,
)
def test_growing_stages(schedule, field, value, left, before):
    error = misfit(schedule)
    assert (error.field, error.value) == (field, value)
    assert left in error.problem
    assert before in error.problem


def test_nothing_comes_back_after_withdrawal():
    schedule = Schedule(
        stages=(Stage(first_layer=5, withdraw=True), Stage(first_layer=7, tokens=1))
    )
    assert misfit(schedule).field == "stages.1.tokens"


def test_equal_stages_are_allowed():
    assert plan(LLAVA, Workload(), stages((5, 60), (7, 60))).visual == (576,) * 5 + (60,) * 27


@pytest.mark.parametrize(
    ("schedule", "field", "value", "most"),
    [
        (stages((2, 577)), "stages.0.tokens", "577", "576"),
        (Schedule(compress=Compress(tokens=577)), "compress.tokens", "577", "576"),
        (
            Schedule(compress=Compress(tokens=100), stages=(Stage(first_layer=2, tokens=101),)),
            "stages.0.tokens",
            "101",
            "100",
        ),
    ],
    ids=named,
)
def test_more_tokens_than_there_are(schedule, field, value, most):
    error = misfit(schedule)
    assert (error.field, error.value, error.way_out) == (field, value, f"give 1 to {most}")
    assert "more than" in error.problem
    assert most in error.problem


def test_given_visual_tokens_are_what_the_model_has():
    workload = Workload(visual_tokens=100)
    assert plan(LLAVA, workload, Schedule(compress=Compress(tokens=100))).visual == (100,) * 32
    error = misfit(Schedule(compress=Compress(tokens=101)), workload)
    assert (error.field, error.value) == ("compress.tokens", "101")


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        (stages((2, "0.001")), "stages.0.ratio"),  # ⌊0.576⌋
        (stages((2, "0.5"), (4, "0.0017")), "stages.1.ratio"),  # ⌊0.9792⌋
        (Schedule(compress=Compress(ratio="0.001")), "compress.ratio"),
    ],
    ids=named,
)
def test_no_token_left(schedule, field):
    error = misfit(schedule)
    assert error.field == field
    assert error.problem == "leaves none of the 576 visual tokens"
    assert "withdraw" in error.way_out


def test_rounding_up_may_leave_one():
    up = stages((2, "0.001")).model_copy(update={"rounding": "ceil"})
    assert plan(LLAVA, Workload(), up).visual[2:] == (1,) * 30


def test_before_connector_takes_at_most_the_connector_tokens():
    # LLaVA-NeXT, 672×672: 2,880 pass the connector, 48 newlines join behind it.
    model = load_model("llava-next-vicuna-7b")

    def reduced(tokens, at):
        return Schedule(compress=Compress(tokens=tokens, at=at))

    assert plan(model, Workload(), reduced(2928, "after-connector")).visual[0] == 2928
    assert plan(model, Workload(), reduced(2880, "before-connector")).connector_tokens == 2880
    error = misfit(reduced(2881, "before-connector"), model=model)
    assert (error.field, error.value) == ("compress.tokens", "2881")
    assert "2,880" in error.problem
    assert "after the connector" in error.way_out
    half = Schedule(compress=Compress(ratio="0.999", at="before-connector"))
    assert misfit(half, model=model).field == "compress.ratio"  # ⌊0.999 · 2928⌋ = 2925


# --- withdrawal ---------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [0, 16, 31])
def test_withdraw_leaves_text_alone(layer):
    schedule = Schedule(stages=(Stage(first_layer=layer, withdraw=True),))
    seen = plan(LLAVA, Workload(), schedule)
    assert seen.visual == (576,) * layer + (0,) * (32 - layer)
    assert seen.query == (640,) * layer + (64,) * (32 - layer)


def test_withdraw_keeps_structural_tokens():
    # Qwen's <|vision_start|> and <|vision_end|> are vocabulary tokens.
    schedule = Schedule(stages=(Stage(first_layer=4, withdraw=True),))
    seen = plan(load_model("qwen2.5-vl-7b"), Workload(text_tokens=10), schedule)
    assert seen.query == (1521 + 2 + 10,) * 4 + (2 + 10,) * 24


def test_withdrawal_without_text_is_priced():
    # Withdrawing at layer 16 of 32 halves a count of visual tokens alone, as VTW's tables do.
    schedule = Schedule(stages=(Stage(first_layer=16, withdraw=True),))
    report = evaluate(LLAVA, Workload(text_tokens=0), schedule)
    assert report.ratio("survey") == report.ratio("gated") == 0.5
    # No position is left for the head.
    components = report.bill("exact").by_component()
    assert components["head"] == 0
    assert (
        components["decoder"] * 2 == report.bill("exact", scheduled=False).by_component()["decoder"]
    )
