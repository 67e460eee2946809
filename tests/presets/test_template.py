"""Published settings as data: expressions, ratios of expressions, and places by the connector."""

from __future__ import annotations

from fractions import Fraction

import pytest
from refusals import refusal
from vlm_tokencost.costmodel import Workload, plan
from vlm_tokencost.presets import load_model
from vlm_tokencost.presets.case import Case
from vlm_tokencost.presets.template import Template


def filled(schedule, model="llava-1.5-7b", budget=None, **work):
    loaded = load_model(model)
    case = Case.of(loaded, plan(loaded, Workload(**work)))
    return Template(strategy="schedule", schedule=schedule).primitives(case, budget)


@pytest.mark.parametrize(
    ("written", "tokens"),
    [
        ("B", 100),
        ("(T * B - 2 * V) // (T - 2)", (32 * 100 - 2 * 576) // 30),
        ("crops * P // 4", 144),
        ("H + W", 672),
        ("m_e // d_e", 4),
        ("L", 23),
    ],
)
def test_counts_are_expressions(written, tokens):
    assert filled({"compress": {"tokens": written}}, budget=100)["compress"].tokens == tokens


def test_the_largest_image_gives_the_pixels():
    found = filled({"input": {"crops": "ceil(H, 448) + W"}}, images=["900x100", "300x448"])
    assert found["input"].crops == 3 + 448


@pytest.mark.parametrize(
    ("written", "share"),
    [
        ("1/4", Fraction(1, 4)),
        ("B / V", Fraction(100, 576)),
        ("min(d_e, m_e) / m_e", Fraction(1, 4)),
        ("T // 3 / (T + 1)", Fraction(10, 33)),
        (0.5, Fraction(1, 2)),
    ],
)
def test_ratios_of_expressions(written, share):
    assert filled({"compress": {"ratio": written}}, budget=100)["compress"].ratio == share


def test_a_convolutional_encoder_has_no_width():
    error = refusal(filled, {"channels": {"encoder_ffn": "d_e / m_e"}}, "fastvlm-7b")
    assert "encoder consists of transformer layers" in error.way_out


@pytest.mark.parametrize(
    ("model", "place"),
    [("llava-1.5-7b", "before-connector"), ("qwen2.5-vl-7b", "after-connector")],
)
def test_before_a_connector_that_takes_tokens_one_by_one(model, place):
    ways = [
        {"probability": "1/2", "schedule": {"compress": {"tokens": 9, "at": "one-by-one"}}},
        {"probability": "1/2", "skipped": True},
    ]
    found = filled({"mixture": ways}, model)
    assert found["mixture"][0].schedule.compress.at == place
