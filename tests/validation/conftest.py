"""Models on the meta device, from the configs that the tests write out."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal

import pytest
from published_configs import CONFIGS
from vlm_tokencost.validation.build import build_from_config, make_experts_countable
from vlm_tokencost.validation.forward import Driver

pytest.register_assert_rewrite("counted_runs")
from counted_runs import Run, counter_of  # noqa: E402


@pytest.fixture(scope="session")
def driver_of() -> Callable[..., Driver]:
    """Return the driver of a model by id, built once."""
    from transformers import AutoConfig

    @cache
    def build(model_id: str, attention: Literal["eager", "sdpa"] = "eager") -> Driver:
        figures = CONFIGS[model_id]
        rest = {key: value for key, value in figures.items() if key != "model_type"}
        config = AutoConfig.for_model(figures["model_type"], **rest)
        model = build_from_config(config, attention=attention)
        make_experts_countable(model, tokens=0)
        return Driver(model)

    return build


@pytest.fixture(scope="session")
def run_of(driver_of: Callable[..., Driver]) -> Callable[..., Run]:
    """Return what runs and counts a case on the meta device, the same run only once."""
    return counter_of(driver_of)
