"""The largest whole number whose cost does not exceed a target, and its neighbour above."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Literal, NamedTuple

from .flops import UNITS, Convention
from .memory import kv_cache_bytes
from .report import Report
from .schedule import Rounding, kept_tokens

#: What a schedule is to meet.
Quantity = Literal["ratio", "flops", "average-tokens", "kv-bytes"]
#: Ranges up to this many values are tried out one by one.
EXHAUSTIVE = 4096
#: Values that a bisection looks at besides its own: so many over the whole range, and so many right
#: above its answer.
PROBES = 16
BEYOND = 32


class Target(NamedTuple):
    """What a schedule is to meet, at most.

    Attributes:
        quantity: Share of the dense cost, cost, average visual tokens per decoder layer, or KV
            cache after the prefill.
        amount: In the quantity's unit.
        convention: What a ratio and a cost are counted by; immaterial for the others.

    >>> Target("kv-bytes", Fraction(10**9)).unit
    'B'
    """

    quantity: Quantity
    amount: Fraction
    convention: Convention = "exact"

    @property
    def unit(self) -> str:
        """Unit of the amount; a ratio has none."""
        units: dict[Quantity, str] = {
            "ratio": "",
            "flops": UNITS[self.convention],
            "average-tokens": "tokens",
            "kv-bytes": "B",
        }
        return units[self.quantity]

    def measured(self, report: Report, dense: int | None = None) -> Fraction:
        """Return the quantity of a report's schedule, exactly.

        Ratio and cost are those of the prefill; under `exact`, of the generation. `dense` is the
        cost without a schedule, where it is known.
        """
        if self.quantity == "average-tokens":
            return report.scheduled.average_visual_tokens
        if self.quantity == "kv-bytes":
            execution = report.counting.execution
            return Fraction(kv_cache_bytes(report.model, report.scheduled, None, execution))
        amount = report.total(self.convention)
        if self.quantity == "flops":
            return Fraction(amount)
        return Fraction(amount, dense or report.total(self.convention, scheduled=False))


class Solution(NamedTuple):
    """Neighbouring values on both sides of a target.

    Attributes:
        within: The largest value whose cost does not exceed the target; None if none does.
        above: The next value that there is; None if `within` is the largest.
        least, most: The smallest and the largest cost that were seen.
        first, last: The smallest and the largest value that can be had.
        tried: How many values were priced.
        exhaustive: Whether all of them were.
        monotone: Whether no larger value was seen to cost less.

    >>> solve(lambda n: Fraction(n * n), 1, 9, Fraction(20)).above
    5
    """

    within: int | None
    above: int | None
    least: Fraction
    most: Fraction
    first: int
    last: int
    tried: int
    exhaustive: bool
    monotone: bool


Price = Callable[[int], Fraction | None]


def solve(
    price: Price, low: int, high: int, target: Fraction, exhaustive: int = EXHAUSTIVE
) -> Solution | None:
    """Return the largest whole number in [`low`, `high`] whose price does not exceed the target.

    Up to `exhaustive` numbers are all priced. Beyond that a bisection finds the answer, and all
    are priced after all where it sees a larger number cost less: among its own values, `PROBES`
    over the whole range or the `BEYOND` numbers right above the answer.

    `price` returns None for a number that cannot be had. Returns None if none can.

    >>> solve(lambda n: Fraction(n * n), 1, 9, Fraction(20)).within
    4
    """
    search = _Search(price, low, high)
    if high - low >= exhaustive:
        found = search.bisected(target)
        if found is not None:
            return found
    return search.exhausted(target)


class _Search:
    """Prices that are known so far."""

    def __init__(self, price: Price, low: int, high: int) -> None:
        self.low, self.high = low, high
        self._price, self._known = price, dict[int, Fraction | None]()

    def price(self, value: int) -> Fraction | None:
        if value not in self._known:
            self._known[value] = self._price(value)
        return self._known[value]

    def seen(self) -> dict[int, Fraction]:
        """Return the prices of what can be had, by value."""
        return {value: cost for value, cost in sorted(self._known.items()) if cost is not None}

    def exhausted(self, target: Fraction) -> Solution | None:
        """Price everything."""
        for value in range(self.low, self.high + 1):
            self.price(value)
        return self._solution(target, exhaustive=True)

    def bisected(self, target: Fraction) -> Solution | None:
        """Price what a bisection needs and its checks; None where they contradict it."""
        first = self._next(self.low, self.high)
        if first is None:
            return None
        last = self._previous(self.high, first)
        assert last is not None
        low, high = first, last
        while (middle := self._between(low, high)) is not None:
            cost = self.price(middle)
            low, high = (middle, high) if cost is not None and cost <= target else (low, middle)
        for step in range(PROBES):
            self.price(first + (last - first) * step // PROBES)
        for value in range(low, min(low + BEYOND, last) + 1):
            self.price(value)
        found = self._solution(target, exhaustive=False)
        return found if found is not None and found.monotone else None

    def _between(self, low: int, high: int) -> int | None:
        """Return a number strictly between two that can be had, from their middle on."""
        middle = (low + high) // 2
        found = self._next(max(middle, low + 1), high - 1)
        return self._previous(middle - 1, low + 1) if found is None else found

    def _next(self, low: int, high: int) -> int | None:
        return next((n for n in range(low, high + 1) if self.price(n) is not None), None)

    def _previous(self, high: int, low: int) -> int | None:
        return next((n for n in range(high, low - 1, -1) if self.price(n) is not None), None)

    def _solution(self, target: Fraction, *, exhaustive: bool) -> Solution | None:
        costs = self.seen()
        if not costs:
            return None
        within = max((value for value, cost in costs.items() if cost <= target), default=None)
        above = min((value for value in costs if within is None or value > within), default=None)
        return Solution(
            within=within,
            above=above,
            least=min(costs.values()),
            most=max(costs.values()),
            first=min(costs),
            last=max(costs),
            tried=len(self._known),
            exhaustive=exhaustive,
            monotone=all(a <= b for a, b in pairwise(costs.values())),
        )


def shortest_ratio(kept: int, tokens: int, rounding: Rounding = "floor") -> Fraction:
    """Return the keep ratio of the fewest decimals that leaves `kept` of `tokens`.

    Of several with as few, the smallest.

    >>> [str(shortest_ratio(kept, 576)) for kept in (288, 166)]
    ['1/2', '289/1000']
    """
    starts = {"floor": 2 * kept, "float-floor": 2 * kept, "round": 2 * kept - 1}
    start = Fraction(starts.get(rounding, 2 * kept - 2), 2 * tokens)
    scale = 1
    while True:
        first = int(start * scale)
        # The ratios that leave `kept` begin at `start`, itself included or not; a binary product
        # may fall short of it.
        for step in range(max(first, 1), first + 3):
            ratio = Fraction(step, scale)
            if ratio <= 1 and kept_tokens(ratio, tokens, rounding) == kept:
                return ratio
        scale *= 10
