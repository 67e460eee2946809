"""What the counter sees, whom it charges, and what it refuses to count as 0."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from vlm_tokencost.costmodel import MissingExtra
from vlm_tokencost.validation.counters import UncountedOperator, count_by_module, count_flops
from vlm_tokencost.validation.forward import Driver, build_on_meta


def test_count_by_operator() -> None:
    import torch

    linear = torch.nn.Linear(5, 7)
    convolution = torch.nn.Conv2d(3, 8, kernel_size=2, stride=2)

    def run() -> None:
        linear(torch.zeros(2, 5))
        convolution(torch.zeros(1, 3, 4, 6))

    # 2·2·5·7 = 140 without the biases; 2·(2·3 positions)·3·8·(2·2) = 1,152
    assert count_flops(run) == {"aten.addmm": 140, "aten.convolution": 1_152}


def test_fused_attention_on_the_cpu_is_counted() -> None:
    import torch

    query, key = torch.zeros(2, 8, 10, 64), torch.zeros(2, 8, 12, 64)
    attend = torch.nn.functional.scaled_dot_product_attention
    counts = count_flops(lambda: attend(query, key, key))
    assert list(counts) == ["aten._scaled_dot_product_flash_attention_for_cpu"]
    assert sum(counts.values()) == 491_520  # 2 · batch 2 · 8 heads · 10·12 pairs · (64 + 64)


def test_a_product_without_formula_raises() -> None:
    import torch

    with pytest.raises(UncountedOperator, match=r"no FLOP formula for aten\.mv;"):
        count_flops(lambda: torch.zeros(3, 4) @ torch.zeros(4))


def test_the_innermost_owner_pays() -> None:
    import torch

    inner, outer = torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 8, bias=False)
    block = torch.nn.Sequential(outer, torch.nn.Linear(8, 4, bias=False), inner)

    def run() -> None:
        block(torch.zeros(1, 4))
        torch.zeros(1, 2) @ torch.zeros(2, 3)

    # block: 2·4·8 + 2·8·4 = 128, without inner: 2·4·4 = 32; outside: 2·2·3 = 12
    assert count_by_module(run, {block: "block", inner: "inner"}) == {
        "block": {"aten.mm": 128},
        "inner": {"aten.mm": 32},
        None: {"aten.mm": 12},
    }
    assert not inner._forward_hooks and not block._forward_pre_hooks


def test_hooks_go_when_a_run_fails() -> None:
    import torch

    linear = torch.nn.Linear(4, 4)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        count_by_module(lambda: linear(torch.zeros(1, 3)), {linear: "linear"})
    assert not linear._forward_hooks and not linear._forward_pre_hooks


def test_rotary_tables_are_left_out(driver_of: Any) -> None:
    import torch

    class RotaryByProduct(torch.nn.Module):  # as transformers 5.17 makes them
        def forward(self, positions: torch.Tensor) -> torch.Tensor:
            return positions[:, None] @ torch.zeros(1, 64)

    driver = Driver(build_on_meta(driver_of("llava-1.5-7b").model.config))
    language_model: Any = driver.model.base_model.get_submodule("language_model")
    language_model.rotary_emb = RotaryByProduct()

    def run() -> None:
        language_model.rotary_emb(torch.zeros(640))

    assert count_flops(run) == {"aten.mm": 81_920}  # 2 · 640 · 1 · 64
    assert driver.count(run) == {}


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_missing_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    config: Any = None
    with pytest.raises(MissingExtra, match=rf"{package} is not installed; .*\[validation\]"):
        build_on_meta(config)


def test_counting_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"torch is not installed; .*\[validation\]"):
        count_flops(lambda: None)
