"""Models and schedules that relations are checked on."""

import pytest
from vlm_tokencost.costmodel import (
    CONVENTIONS,
    Compress,
    Schedule,
    Stage,
    Workload,
    evaluate,
    plan,
)
from vlm_tokencost.presets import list_models, load_model
from vlm_tokencost.presets.loader import index_entries

LLAVA = "llava-1.5-7b"

#: The first model of each family, in order.
FAMILIES = dict.fromkeys(
    {entry.family: entry.id for entry in reversed(index_entries())}[entry.family]
    for entry in index_entries()
)


def is_roomy(model_id: str) -> bool:
    """Tell whether every schedule below fits: layers, tokens, a connector that takes any tokens."""
    model = load_model(model_id)
    roomy = model.decoder.num_hidden_layers > 21 and model.connector.per_token
    return roomy and plan(model, Workload()).dense_visual_tokens >= 100


def is_plain(model_id: str) -> bool:
    """Tell whether tower and decoder are stacks of equal blocks of the usual kind."""
    model = load_model(model_id)
    decoder = model.decoder
    return not (
        model.second_vision
        or model.vision.kind != "transformer"
        or decoder.variants
        or decoder.encoder_layers
        or decoder.sliding_window
        or decoder.bidirectional
        or decoder.adapter
        or decoder.attention.kind != "heads"
        or decoder.feed_forward.kind != "dense"
    )


def priced(model_id: str) -> list[str]:
    """Return the conventions that have a figure for the model."""
    report = evaluate(load_model(model_id))
    return [name for name in CONVENTIONS if report.obstacle(name) is None]


every_model = pytest.mark.parametrize("model_id", list_models())
every_family = pytest.mark.parametrize("model_id", list(FAMILIES))
every_roomy_family = pytest.mark.parametrize("model_id", list(filter(is_roomy, FAMILIES)))
every_plain_family = pytest.mark.parametrize(
    "model_id", [model_id for model_id in FAMILIES if is_roomy(model_id) and is_plain(model_id)]
)
#: Every family under every convention that has a figure for it.
every_priced_family = pytest.mark.parametrize(
    ("model_id", "convention"),
    [(model_id, convention) for model_id in FAMILIES for convention in priced(model_id)],
)
every_convention = pytest.mark.parametrize("convention", CONVENTIONS)

#: One of each kind of schedule; the layers exist in every preset.
SCHEDULES = {
    "dense": None,
    "keep": Schedule.keep("0.5", layer=2),
    "pyramid": Schedule(
        stages=tuple(
            Stage(first_layer=layer, ratio=ratio)
            for layer, ratio in ((7, "0.5"), (14, "0.25"), (21, "0.125"))
        )
    ),
    "withdraw": Schedule(stages=(Stage(first_layer=16, withdraw=True),)),
    "compress": Schedule(compress=Compress(ratio="0.25")),
    "compress-before": Schedule(compress=Compress(ratio="0.25", at="before-connector")),
    "compress-and-keep": Schedule(
        compress=Compress(tokens=100), stages=(Stage(first_layer=3, ratio="0.3"),)
    ),
}
every_schedule = pytest.mark.parametrize(
    "schedule", [pytest.param(schedule, id=name) for name, schedule in SCHEDULES.items()]
)
