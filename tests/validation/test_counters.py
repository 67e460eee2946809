"""What the counters see, whom they charge, and what they refuse or name instead of counting."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest
from vlm_tokencost.costmodel import InvalidInput, MissingExtra
from vlm_tokencost.validation.counters import (
    COUNTERS,
    CounterName,
    UncountedOperator,
    count,
    count_by_module,
    count_flops,
)

each_counter = pytest.mark.parametrize("counter", COUNTERS)


def test_count_by_operator() -> None:
    import torch

    linear = torch.nn.Linear(5, 7)
    convolution = torch.nn.Conv2d(3, 8, kernel_size=2, stride=2)

    def run() -> None:
        linear(torch.zeros(2, 5))
        convolution(torch.zeros(1, 3, 4, 6))

    # 2·2·5·7 = 140 without the biases; 2·(2·3 positions)·3·8·(2·2) = 1,152
    assert count_flops(run) == {"aten.addmm": 140, "aten.convolution": 1_152}


def test_the_innermost_owner_pays_by_operator() -> None:
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


@each_counter
def test_kinds_of_products(counter: CounterName) -> None:
    import torch

    linear = torch.nn.Linear(4, 6)
    patches = torch.nn.Conv2d(4, 8, kernel_size=2, stride=2, groups=2)

    def run() -> Any:
        return (
            linear(torch.zeros(2, 3, 4)),
            linear(torch.zeros(3, 4)),
            torch.zeros(3, 4) @ torch.zeros(4, 5),
            torch.zeros(2, 3, 4) @ torch.zeros(4, 5),
            torch.zeros(2, 2, 3, 4) @ torch.zeros(2, 2, 4, 5),
            torch.bmm(torch.zeros(2, 3, 4), torch.zeros(2, 4, 5)),
            patches(torch.zeros(2, 4, 4, 6)),
        )

    # 2·6·4·6 = 288, 2·3·4·6 = 144, 2·3·4·5 = 120, 2·6·4·5 = 240: 792 together
    # 4·(2·3·4·5) = 480 and 2·(2·3·4·5) = 240: 720 together
    # 2 images · 2·3 positions · 8 channels · 4/2 inputs · 2·2 · 2 = 1,536
    counted = count(run, {}, counter)
    assert counted.flops == {None: {"linear": 792, "attention": 720, "convolution": 1_536}}
    assert counted.unseen_products == {}


@each_counter
def test_the_innermost_owner_pays(counter: CounterName) -> None:
    import torch

    inner, free = torch.nn.Linear(4, 4), torch.nn.Linear(4, 5)
    shared = torch.nn.Linear(4, 4)

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.shared = inner, shared

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            states = self.inner(self.shared(states))
            return states + torch.nn.functional.linear(states, torch.ones(4, 4))

    block, other = Block(), torch.nn.Sequential(shared, shared)

    def run() -> Any:
        states = block(block(torch.zeros(3, 4)))
        states = inner(other(states))
        return {"logits": [free(states), block.shared(states)], "cache": None}

    # A product of 3 rows and a 4×4 matrix is 2·3·4·4 = 96 FLOP. The block is called twice, with one
    # product in inner, one in shared and one of its own; inner once more outside of it; other
    # calls shared twice; outside of all are free, 2·3·4·5 = 120, and shared, 96.
    owners = {block: ("decoder", 0), inner: ("decoder", 1), other: ("head", None)}
    assert count(run, owners, counter).flops == {
        ("decoder", 0): {"linear": 4 * 96},
        ("decoder", 1): {"linear": 3 * 96},
        ("head", None): {"linear": 2 * 96},
        None: {"linear": 120 + 96},
    }
    assert all(weight.requires_grad for weight in (*free.parameters(), *block.parameters()))


@each_counter
def test_two_modules_of_one_owner(counter: CounterName) -> None:
    import torch

    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    run: Callable[[], object] = lambda: second(first(torch.zeros(1, 2)))  # noqa: E731
    # 2 · (2·2·2) = 16
    assert count(run, {first: "mlp", second: "mlp"}, counter).flops == {"mlp": {"linear": 16}}


#: Products that one counter or another has no formula for, and their FLOPs.
HARD: dict[str, tuple[Callable[[Any], Any], dict[str, int], dict[str, str]]] = {
    "conv3d": (  # 2·(1·2·2 positions)·8·3·(2·2·2) = 1,536
        lambda torch: torch.nn.Conv3d(3, 8, 2, stride=2)(torch.zeros(1, 3, 2, 4, 4)),
        {"convolution": 1_536},
        {"profiler": "aten.conv3d"},
    ),
    "fused attention": (  # 2 · 2·8 heads · 10·12 pairs · (64 + 64) = 491,520
        lambda torch: torch.nn.functional.scaled_dot_product_attention(
            torch.zeros(2, 8, 10, 64), *[torch.zeros(2, 8, 12, 64)] * 2
        ),
        {"attention": 491_520},
        {
            "fvcore": "aten.scaled_dot_product_attention",
            "profiler": "aten.scaled_dot_product_attention",
        },
    ),
    "baddbmm": (  # 2·2·3·4·5 = 240
        lambda torch: torch.baddbmm(
            torch.zeros(2, 3, 5), torch.zeros(2, 3, 4), torch.zeros(2, 4, 5)
        ),
        {"attention": 240},
        {"fvcore": "aten.baddbmm"},
    ),
    "broadcast product": (  # 2·(2·2 · 3·4·5) = 480; fvcore's formula takes the first shape, 120
        lambda torch: torch.zeros(2, 1, 3, 4) @ torch.zeros(1, 2, 4, 5),
        {"attention": 480},
        {"fvcore": "aten.matmul"},
    ),
    "exact einsum": (  # 2·2·3·4·5 = 240
        lambda torch: torch.einsum(
            "b n d, b m d -> b m n", torch.zeros(2, 3, 4), torch.zeros(2, 5, 4)
        ),
        {"attention": 240},
        {},
    ),
    "einsum": (  # 2·(2·2 · 3·4·5) = 480
        lambda torch: torch.einsum(
            "bhnd,bhmd->bhnm", torch.zeros(2, 2, 3, 4), torch.zeros(2, 2, 5, 4)
        ),
        {"attention": 480},
        {"fvcore": "aten.einsum"},
    ),
}


@each_counter
@pytest.mark.parametrize("product", HARD)
def test_a_product_is_counted_or_named(product: str, counter: CounterName) -> None:
    import torch

    make, flops, unseen = HARD[product]
    counted = count(lambda: make(torch), {}, counter)
    missed = unseen.get(counter)
    assert counted.flops == ({} if missed else {None: flops})
    assert counted.unseen_products == ({missed: 1} if missed else {})


def test_a_product_without_formula_in_torch_raises() -> None:
    import torch

    with pytest.raises(UncountedOperator, match=r"no FLOP formula for aten\.mv;"):
        count(lambda: torch.zeros(3, 4) @ torch.zeros(4), {}, "torch")


@pytest.mark.parametrize("counter", ["fvcore", "profiler"])
def test_a_product_without_formula_elsewhere_is_named(counter: CounterName) -> None:
    import torch

    counted = count(lambda: torch.zeros(3, 4) @ torch.zeros(4), {}, counter)
    assert (counted.flops, counted.unseen) == ({}, {"aten.matmul": 1})


@pytest.mark.parametrize(
    ("counter", "unseen"),
    [
        (
            "torch",
            {
                "aten._softmax": 2,
                "aten.silu": 2,
                "aten.add": 1,
                "aten.mul": 1,
                "aten.native_layer_norm": 1,
                "aten.topk": 1,
            },
        ),
        # fvcore and the profiler have formulas for norms or sums, which are no products.
        (
            "fvcore",
            {"aten.silu": 2, "aten.softmax": 2, "aten.add": 1, "aten.mul": 1, "aten.topk": 1},
        ),
        ("profiler", {"aten.silu": 2, "aten.softmax": 2, "aten.layer_norm": 1, "aten.topk": 1}),
    ],
)
def test_unseen_is_arithmetic_by_name(counter: CounterName, unseen: dict[str, int]) -> None:
    import torch

    states = torch.randn(3, 4)
    norm = torch.nn.LayerNorm(4)

    def run() -> torch.Tensor:
        gated = torch.nn.functional.silu(norm(states)) * torch.nn.functional.silu(states)
        weights = (gated + 1).softmax(-1).softmax(0)
        chosen = torch.nn.functional.dropout(weights, 0.5, training=False).topk(2).indices
        kept = torch.cat([states, states.clone()], -1).gather(-1, chosen)
        padded = torch.zeros_like(kept).masked_fill(kept > 0, 1.0).to(torch.bfloat16)
        return torch.stack([padded, padded]).transpose(0, 1).contiguous().reshape(-1)[::2]

    counted = count(run, {}, counter)
    assert (counted.flops, counted.unseen) == ({}, unseen)
    assert list(counted.unseen) == list(unseen)


@each_counter
def test_tracing_drops_what_no_result_depends_on(counter: CounterName) -> None:
    import torch

    layers = [torch.nn.Linear(4, 4) for _ in range(3)]

    def run() -> torch.Tensor:
        states = layers[0](torch.zeros(4, 4))
        layers[1](states)
        indices = layers[2](states).argmax(-1).tolist()
        return states[indices]

    owners = {layer: place for place, layer in enumerate(layers)}
    alive = [0] if counter == "fvcore" else [0, 1, 2]
    # 2·4·4·4 = 128 each
    assert count(run, owners, counter).flops == {place: {"linear": 128} for place in alive}


def test_a_traced_run_is_plain_python() -> None:
    import torch

    weight, sizes = torch.nn.Parameter(torch.zeros(5, 4)), []

    def run() -> torch.Tensor:
        states = torch.zeros(2, 6, 4)
        rows = round(states.shape[1] * 0.5, 7)
        sizes.extend([rows, *states.size(), states.size(-1), states.numel(), torch.numel(states)])
        return torch.nn.functional.linear(states[:, : int(rows)], weight)

    # 2·(2·3)·4·5 = 240
    assert count(run, {}, "fvcore").flops == {None: {"linear": 240}}
    assert sizes == [3.0, 2, 6, 4, 4, 48, 48]
    assert {type(size) for size in sizes} == {int, float}
    assert weight.requires_grad


@each_counter
def test_equal_calls_are_counted_each(counter: CounterName) -> None:
    import torch

    linear, states = torch.nn.Linear(4, 6), torch.zeros(3, 4)
    # 2 · (2·3·4·6) = 288, and 144 more for a second run
    run: Callable[[], object] = lambda: (linear(states), linear(states))  # noqa: E731
    assert count(run, {}, counter).flops == {None: {"linear": 288}}
    assert count(lambda: linear(states), {}, counter).flops == {None: {"linear": 144}}


@each_counter
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_large_shapes_on_meta(counter: CounterName, dtype: str) -> None:
    import torch

    with torch.device("meta"):
        linear = torch.nn.Linear(8_193, 8_191, dtype=getattr(torch, dtype))
        states = torch.zeros(3, 8_191, 8_193, dtype=linear.weight.dtype)
    # 2·3·8,191·8,193·8,191, beyond the integers of a float32
    assert count(lambda: linear(states), {linear: "mlp"}, counter).flops == {
        "mlp": {"linear": 3_298_132_180_998}
    }


def test_convolution_on_meta() -> None:
    import torch

    with torch.device("meta"):
        patches, pixels = torch.nn.Conv2d(3, 8, 2, stride=2), torch.zeros(1, 3, 4, 6)
    # 2·(2·3 positions)·3·8·(2·2) = 1,152
    for counter in ("torch", "profiler"):
        counted = count(lambda: patches(pixels), {patches: "vision"}, counter)
        assert counted.flops == {"vision": {"convolution": 1_152}}
    with pytest.raises(InvalidInput, match="--counter fvcore cannot trace a convolution on meta;"):
        count(lambda: patches(pixels), {patches: "vision"}, "fvcore")
    assert not patches._forward_hooks and not patches._forward_pre_hooks
    assert patches.weight.requires_grad


@each_counter
def test_a_failing_run_leaves_no_trace(counter: CounterName) -> None:
    import torch

    linear = torch.nn.Linear(4, 4)
    block = torch.nn.Sequential(linear)
    own = linear.register_forward_hook(lambda *_: None)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        count(lambda: block(torch.zeros(1, 3)), {block: "block"}, counter)
    assert list(linear._forward_hooks) == [own.id]
    assert not (linear._forward_pre_hooks or block._forward_hooks or block._forward_pre_hooks)
    assert linear.weight.requires_grad
    assert count(lambda: block(torch.zeros(1, 4)), {block: "block"}, counter).flops == {
        "block": {"linear": 32}
    }


@pytest.mark.parametrize("counter", ["torch", "profiler"])
def test_an_error_caught_within_a_run_ends_its_modules(counter: CounterName) -> None:
    import torch

    class Refusing(torch.nn.Module):
        def forward(self) -> None:
            raise ValueError

    refusing, linear = Refusing(), torch.nn.Linear(4, 4)

    def run() -> torch.Tensor:
        with contextlib.suppress(ValueError):
            refusing()
        states: torch.Tensor = linear(torch.zeros(1, 4))
        return states

    assert count(run, {refusing: "refusing"}, counter).flops == {None: {"linear": 32}}
    with pytest.raises(InvalidInput, match="fvcore cannot trace a run that goes on after an"):
        count(run, {refusing: "refusing"}, "fvcore")


@each_counter
def test_runs_take_no_gradients_and_say_nothing(
    counter: CounterName, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    linear, results = torch.nn.Linear(4, 4), []

    def run() -> torch.Tensor:
        results.append(torch.nn.functional.silu(linear(torch.ones(1, 4))))
        return results[-1]

    with caplog.at_level(logging.WARNING):
        count(run, {linear: 0, torch.nn.Linear(2, 2): 1}, counter)
    assert [result.requires_grad for result in results] == [False]
    assert not caplog.records


@each_counter
def test_counting_without_torch(monkeypatch: pytest.MonkeyPatch, counter: CounterName) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"torch is not installed; .*\[validation\]"):
        count(lambda: None, {}, counter)


def test_counting_without_fvcore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fvcore", None)
    monkeypatch.setitem(sys.modules, "fvcore.nn", None)
    with pytest.raises(MissingExtra, match=r"fvcore is not installed; .*\[validation\]"):
        count(lambda: None, {}, "fvcore")
