"""Templates with schedules that sources list for one depth, token count or budget."""

import pytest
from refusals import refusal
from vlm_tokencost.costmodel import Workload, plan
from vlm_tokencost.presets import load_model
from vlm_tokencost.presets.case import Case
from vlm_tokencost.presets.template import Template


def case(model, **request):
    loaded = load_model(model)
    return Case.of(loaded, plan(loaded, Workload(**request)))


def keeping(tokens):
    return {"compress": {"tokens": tokens}}


TEMPLATE = Template(
    strategy="schedule",
    schedule=keeping("V // 2"),
    published=[
        {"layers": 32, "visual_tokens": 576, "schedule": keeping(100)},
        {"layers": 32, "budget": 50, "schedule": keeping("B + 1")},
        {"layers": 40, "schedule": keeping("V // 3")},
    ],
)


@pytest.mark.parametrize(
    ("model", "budget", "request_", "tokens"),
    [
        ("llava-1.5-7b", None, {}, 100),
        ("llava-1.5-7b", 50, {}, 100),  # the first that fits
        ("llava-1.5-7b", 50, {"visual_tokens": 500}, 51),
        ("llava-1.5-7b", 60, {"visual_tokens": 500}, 250),
        ("llava-1.5-13b", None, {}, 192),
        ("qwen2.5-vl-7b", None, {}, 760),
    ],
)
def test_the_first_that_fits_is_used(model, budget, request_, tokens):
    made = TEMPLATE.primitives(case(model, **request_), budget)
    assert made["compress"].tokens == tokens


@pytest.mark.parametrize(
    "published",
    [
        {"layers": 32},
        [{"layers": 32}],
        [{"schedule": keeping(1)}],
        [{"layers": 32, "depth": 32, "schedule": keeping(1)}],
        [{"layers": 32, "schedule": {"squash": 1}}],
        ["keep 1"],
    ],
)
def test_what_is_no_published_schedule(published):
    error = refusal(Template, strategy="schedule", schedule=keeping(1), published=published)
    assert error.field.startswith("published")
