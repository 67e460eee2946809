"""What every decoder layer costs as a function of its visual tokens, read off the scalar path.

No formula is written twice: the operators of uniform plans of 1, 2 and 3 visual tokens are priced
as ever, second differences give the coefficients, and further plans check them.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal, NamedTuple

from .. import formulas
from ..architecture.model import Model
from ..errors import InvalidInput, TokencostError
from ..flops import CONVENTIONS, Bill, exact_bill, published_bill, published_obstacle
from ..lower import lower, lower_decode
from ..memory import stored_bytes_per_layer
from ..schedule import Schedule
from ..tokenplan import TokenPlan
from ..workload import Counting

Output = Literal["survey", "gated", "exact", "kv_cache_bytes", "visual_tokens"]
OUTPUTS: tuple[Output, ...] = (*CONVENTIONS, "kv_cache_bytes", "visual_tokens")
#: Primitives that give layers other tokens than stages do, or another cost.
_OTHERS = ("stages", "layers", "cache", "stream", "channels", "mixture", "selection")


class Window(NamedTuple):
    """What a sliding window that binds does to a layer.

    Attributes:
        visual: Visual tokens, possibly below 0, from which on the cache no longer grows.
        size: Tokens that attention reaches back.
        others: Tokens of the layer that are not visual.
        forwards: Decode forwards.
        flops_per_key: Exact FLOPs of each key that a decode forward reads.
    """

    visual: int
    size: int
    others: int
    forwards: int
    flops_per_key: int

    def decode_keys(self, visual: Any) -> Any:
        """Return the keys that all decode forwards read, of one count of tokens or an array."""
        if isinstance(visual, int):
            kept = min(visual + self.others, self.size - 1)
            growing = min(max(self.size - kept, 0), self.forwards)
        else:
            import numpy as np

            kept = np.minimum(visual + self.others, self.size - 1)
            growing = np.clip(self.size - kept, 0, self.forwards)
        return formulas.window_decode_pairs(
            kept, 1, growing, growing, self.forwards - growing, self.size
        )


class Terms(NamedTuple):
    """One figure of one layer: constant + linear · v + square · v² for v visual tokens."""

    constant: Fraction
    linear: Fraction
    square: Fraction

    def at(self, visual: int) -> Fraction:
        """Return the figure at a number of visual tokens."""
        return self.constant + self.linear * visual + self.square * visual * visual


class Layer(NamedTuple):
    """All figures of one layer.

    Attributes:
        terms: By output; those of bytes hold for min(v, window.visual) tokens.
        window: Of a layer whose window binds; its decode forwards come on top of `terms`.
    """

    terms: dict[Output, Terms]
    window: Window | None


class Prices(NamedTuple):
    """A model's figures.

    Attributes:
        layers: Of every decoder layer; the last one's hold the head, whose positions it leaves.
        rest: What no stage changes: encoder and connector.
    """

    layers: tuple[Layer, ...]
    rest: dict[Output, int]


def obstacle(
    model: Model, plan: TokenPlan, counting: Counting, schedule: Schedule | None
) -> InvalidInput | None:
    """Return why stages cannot be priced as arrays on top of a schedule; None where they can."""
    others = [name for name in _OTHERS if schedule is not None and getattr(schedule, name)]
    way_out = "price its schedules one by one"
    if others:
        return InvalidInput(others[0], None, "is not priced over arrays of stages", way_out)
    if counting.causal and model.decoder.bidirectional == "images":
        problem = f"is not priced over arrays of stages for {model.id}, whose images attend inside"
        return InvalidInput("causal", None, problem, way_out)
    prompt = plan.text_tokens + plan.structural_tokens
    if counting.causal and any(
        layout.window is not None and plan.entering_visual_tokens + prompt > layout.window
        for layout in plan.layout
    ):
        problem = f"is not priced over arrays of stages where {model.id}'s windows bind"
        return InvalidInput("causal", None, problem, way_out)
    return None


def layer_prices(model: Model, plan: TokenPlan, counting: Counting, forwards: int) -> Prices:
    """Return the figures of every layer for a request without stages, and `forwards` of decode.

    Raises:
        TokencostError: A figure that is no polynomial of the second degree; a mistake of ours.
    """
    most = plan.entering_visual_tokens
    windows = [_window(plan, layer, most, forwards) for layer in range(len(plan.layout))]
    free = tuple(
        layout if window is None else layout._replace(window=None)
        for layout, window in zip(plan.layout, windows, strict=True)
    )
    unbound = plan._replace(layout=free)
    samples = [
        _sample(model, unbound.with_visual((visual,) * len(free)), counting, forwards)
        for visual in (1, 2, 3)
    ]
    layers, rest = [], samples[0].rest
    for layer, window in enumerate(windows):
        terms = {}
        for output in samples[0].layers:
            terms[output] = _fitted([sample.layers[output][layer] for sample in samples])
        if window is not None and forwards:
            # Without the window every visual token is one more key in each forward.
            decoded = _fitted([sample.decode[layer] for sample in samples])
            rate = decoded.linear / forwards
            assert rate.denominator == 1 and not decoded.square
            window = window._replace(flops_per_key=int(rate))
            read = formulas.decode_pairs(1 + window.others, 1, forwards, forwards)
            own = samples[0].decode[layer] - window.flops_per_key * read
            prefill = [s.layers["exact"][layer] - s.decode[layer] for s in samples]
            fitted = _fitted(prefill)
            terms["exact"] = fitted._replace(constant=fitted.constant + own)
        if window is not None and window.visual <= 0:  # the other tokens fill the window alone
            full = terms["kv_cache_bytes"].at(window.visual)
            terms["kv_cache_bytes"] = Terms(full, Fraction(0), Fraction(0))
        layers.append(Layer(terms, window))
    prices = Prices(tuple(layers), rest)
    for visual in sorted({5, max(most // 2, 1), most}):
        _check(prices, model, plan, counting, forwards, visual)
    return prices


def price_of(layer: Layer, output: Output, visual: int) -> Fraction:
    """Return one figure of a layer at a number of visual tokens."""
    window, terms = layer.window, layer.terms[output]
    if window is None or output not in ("exact", "kv_cache_bytes"):
        return terms.at(visual)
    if output == "kv_cache_bytes":
        return terms.at(min(visual, window.visual))
    keys = window.decode_keys(visual) if window.forwards else 0
    return terms.at(visual) + window.flops_per_key * keys


class _Sample(NamedTuple):
    layers: dict[Output, list[int]]
    decode: list[int]
    rest: dict[Output, int]


def _sample(model: Model, plan: TokenPlan, counting: Counting, forwards: int) -> _Sample:
    """Return every layer's figures under one plan, as the scalar path prices it."""
    count = len(plan.layout)
    exact = exact_bill(lower(model, plan, counting))
    found: dict[Output, list[int]] = {}
    rest: dict[Output, int] = dict.fromkeys(OUTPUTS, 0)
    if published_obstacle(model) is None:
        found["survey"] = _by_layer(published_bill("survey", model, plan), count)
        found["gated"] = _by_layer(published_bill("gated", model, plan), count)
    found["exact"] = _by_layer(exact, count)
    rest["exact"] = exact.total - sum(found["exact"])
    decode = [0] * count
    if forwards:
        bill = exact_bill(lower_decode(model, plan, 1, forwards, counting))
        decode = _by_layer(bill, count)
        assert sum(decode) == bill.total
        found["exact"] = [a + b for a, b in zip(found["exact"], decode, strict=True)]
    stored = stored_bytes_per_layer(model, plan, None, counting.execution)
    found["kv_cache_bytes"] = [_whole(amount) for amount in stored]
    found["visual_tokens"] = [
        visual * (layout.in_sequence or layout.crosses)
        for visual, layout in zip(plan.visual, plan.layout, strict=True)
    ]
    return _Sample(found, decode, rest)


def _by_layer(bill: Bill, count: int) -> list[int]:
    """Return the decoder's amounts by layer, the head's with the last one."""
    amounts = [0] * count
    for (component, layer), amount in bill.by_layer().items():
        if component == "head":
            amounts[-1] += amount
        elif component == "decoder":
            assert layer is not None, "what the decoder does is done in layers"
            amounts[layer] += amount
    return amounts


def _fitted(values: Sequence[int]) -> Terms:
    """Return the polynomial through the values at 1, 2 and 3 tokens."""
    one, two, three = values
    square = Fraction(three - 2 * two + one, 2)
    linear = two - one - 3 * square
    return Terms(one - linear - square, linear, square)


def _window(plan: TokenPlan, layer: int, most: int, forwards: int) -> Window | None:
    """Return a layer's window if some number of visual tokens fills it."""
    layout = plan.layout[layer]
    others = plan.text_tokens + plan.structural_tokens
    if layout.window is None or not layout.in_sequence:
        return None
    if most + others + forwards < layout.window:
        return None
    return Window(layout.window - 1 - others, layout.window, others, forwards, 0)


def _check(
    prices: Prices, model: Model, plan: TokenPlan, counting: Counting, forwards: int, visual: int
) -> None:
    real = _sample(model, plan.with_visual((visual,) * len(plan.layout)), counting, forwards)
    for output, amounts in real.layers.items():
        for layer, amount in enumerate(amounts):
            if price_of(prices.layers[layer], output, visual) != amount:
                raise TokencostError(
                    f"{output} of layer {layer} of {model.id} is no polynomial of its visual "
                    f"tokens, as {visual} show"
                )


def _whole(amount: Fraction) -> int:
    assert amount.denominator == 1, "bytes of one plan are whole"
    return int(amount)
