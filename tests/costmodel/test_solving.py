"""The search for the largest number within a target, and the shortest keep ratios."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlm_tokencost.costmodel import Schedule, evaluate
from vlm_tokencost.costmodel.schedule import kept_tokens
from vlm_tokencost.costmodel.solving import Target, shortest_ratio, solve
from vlm_tokencost.presets import load_model

#: Prices of 0, 1, 2, …: None cannot be had.
PRICES = st.lists(st.none() | st.integers(0, 60), min_size=1, max_size=150)
LIMITS = pytest.mark.parametrize("exhaustive", [0, 4096], ids=["bisection", "exhaustive"])


def by_hand(prices, target):
    """Return the last number within the target, and the next that there is."""
    had = [(number, cost) for number, cost in enumerate(prices) if cost is not None]
    within = [number for number, cost in had if cost <= target]
    last = within[-1] if within else None
    above = [number for number, _ in had if last is None or number > last]
    return last, (above[0] if above else None)


def search(prices, target, exhaustive):
    def price(number):
        cost = prices[number]
        return None if cost is None else Fraction(cost)

    return solve(price, 0, len(prices) - 1, Fraction(target), exhaustive)


@LIMITS
@given(PRICES, st.integers(0, 60))
def test_growing_prices(exhaustive, prices, target):
    growing = iter(sorted(cost for cost in prices if cost is not None))
    prices = [None if cost is None else next(growing) for cost in prices]
    found = search(prices, target, exhaustive)
    had = [(number, cost) for number, cost in enumerate(prices) if cost is not None]
    if not had:
        assert found is None
        return
    assert (found.within, found.above) == by_hand(prices, target)
    assert (found.first, found.last) == (had[0][0], had[-1][0])
    assert (found.least, found.most) == (had[0][1], had[-1][1])
    assert found.monotone


@given(PRICES, st.integers(0, 60))
def test_any_prices_one_by_one(prices, target):
    found = search(prices, target, 4096)
    if all(cost is None for cost in prices):
        assert found is None
    else:
        assert (found.within, found.above) == by_hand(prices, target)
        assert found.exhaustive
        assert found.tried == len(prices)


def test_a_bisection_prices_few():
    found = search(list(range(10_000)), 1234, 4096)
    assert (found.within, found.above) == (1234, 1235)
    assert not found.exhaustive
    assert found.tried < 100


@pytest.mark.parametrize(
    "prices",
    [
        # Every eighth number is cheaper by 30 than its neighbours.
        [number - 30 * (number % 8 == 0) for number in range(5000)],
        # The upper half costs what the lower half does.
        [number % 2500 for number in range(5000)],
        list(range(5000, 0, -1)),
    ],
    ids=["saw", "twice", "falling"],
)
def test_a_bisection_that_sees_a_fall_prices_everything(prices):
    found = search(prices, 1000, 4096)
    assert (found.within, found.above) == by_hand(prices, 1000)
    assert found.exhaustive
    assert not found.monotone


@pytest.mark.parametrize("rounding", ["floor", "round", "ceil", "float-floor"])
@pytest.mark.parametrize("tokens", [1, 7, 64, 576])
def test_shortest_ratios(rounding, tokens):
    #: The first decimal of each length, tried in order, that leaves so many.
    shortest = {}
    for digits in range(4):
        for step in range(1, 10**digits + 1):
            kept = kept_tokens(Fraction(step, 10**digits), tokens, rounding)
            shortest.setdefault(kept, Fraction(step, 10**digits))
    for kept in range(1, tokens + 1):
        ratio = shortest_ratio(kept, tokens, rounding)
        assert ratio == shortest[kept]
        assert kept_tokens(ratio, tokens, rounding) == kept


def test_a_share_that_binary_products_miss():
    # 0.7 · 2880 is 2016, in binary 2015.9999…: three more decimals are needed
    assert shortest_ratio(2016, 2880) == Fraction("0.7")
    assert shortest_ratio(2016, 2880, "float-floor") == Fraction("0.7001")


def test_what_targets_measure():
    report = evaluate(load_model("llava-1.5-7b"), schedule=Schedule.keep("0.5", layer=2))
    # f(n) = 4nd² + 2n²d + 2ndm; two layers of 640 tokens, thirty of 288 + 64 = 352
    d, m = 4096, 11008
    full, kept = (4 * n * d * d + 2 * n * n * d + 2 * n * d * m for n in (640, 352))
    cost = 2 * full + 30 * kept
    assert Target("flops", Fraction(1), "survey").measured(report) == cost
    assert Target("ratio", Fraction(1), "survey").measured(report) == Fraction(cost, 32 * full)
    # (2 · 576 + 30 · 288) / 32
    assert Target("average-tokens", Fraction(1)).measured(report) == 306
    # 2 · 32 · 128 values of 2 bytes for each token and layer
    assert Target("kv-bytes", Fraction(1)).measured(report) == 16384 * (2 * 640 + 30 * 352)


@pytest.mark.parametrize(("most", "exhaustive"), [(4096, True), (4097, False)])
def test_how_many_numbers_are_all_priced(most, exhaustive):
    # 1 to 4096 are 4096 numbers, all priced; one more is found by bisection
    found = solve(lambda number: Fraction(number), 1, most, Fraction(100))
    assert found.exhaustive is exhaustive
    assert found.within == 100
