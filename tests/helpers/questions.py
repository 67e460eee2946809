"""Models and schedules that relations are checked on."""

import pytest
from vlm_tokencost.costmodel import (
    CONVENTIONS,
    Compress,
    Schedule,
    Stage,
)
from vlm_tokencost.presets import list_models, load_model

LLAVA = "llava-1.5-7b"

every_model = pytest.mark.parametrize("model_id", list_models())
every_family = pytest.mark.parametrize(  # the first model of each
    "model_id",
    {load_model(model_id).family: model_id for model_id in reversed(list_models())}.values(),
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
