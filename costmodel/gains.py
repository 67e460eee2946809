"""How many times as fast a schedule is: estimate and range."""

from __future__ import annotations

from .timing import Interval

_SAME = Interval(1.0, 1.0, 1.0)


def speed_up(before: Interval, after: Interval) -> Interval:
    """Return how many times as fast a schedule is, as [least, central, most].

    least    before.lower / after.upper
    central  before.central / after.central
    most     before.upper / after.lower

    Least and most are bounds as far as those of the times are: they hold whatever share of the
    device either run reaches. All 63 published pairs of a baseline and a reduced run lie between
    them (docs/latency.md). Equal times are those of the same work, whose speed-up is 1. Without a
    lower bound of the reduced run the most is infinite.

    >>> speed_up(Interval(2.0, 6.0, 10.0), Interval(1.0, 3.0, 4.0))
    Interval(lower=0.5, central=2.0, upper=10.0)
    """
    if before == after:
        return _SAME
    return Interval(
        _over(before.lower, after.upper),
        _over(before.central, after.central),
        _over(before.upper, after.lower),
    )


def like_bounds(before: Interval, after: Interval) -> Interval:
    """Return the speed-up if both runs reach the same share of the device, with its range.

    Lower with lower, central with central, upper with upper; the range is that of the three ratios
    and no bound: it holds half of the published pairs, and 5 of the 13 that ran a method
    (docs/latency.md).

    >>> like_bounds(Interval(2.0, 6.0, 10.0), Interval(1.0, 3.0, 4.0))
    Interval(lower=2.0, central=2.0, upper=2.5)
    """
    ratios = [1.0 if b == a else _over(b, a) for b, a in zip(before, after, strict=True)]
    return Interval(min(ratios), ratios[1], max(ratios))


def possible_speed_up(before: Interval, after: Interval) -> tuple[float, float]:
    """Return the least and the most speed-up of runs whose software has nothing in common.

    As `speed_up`, of equal times as well. Infinite where the reduced run's lower bound is no time.
    """
    least = before.lower / after.upper if after.upper else 1.0
    most = before.upper / after.lower if after.lower else float("inf")
    return float(least), float(most)


def _over(before: float, after: float) -> float:
    if after:
        return float(before / after)
    return float("inf") if before else 1.0
