"""Published speed-ups: a measured baseline and a measured reduced run of one source and device.

A pair is two records that agree in source, device, model, number format, batch, what was timed and
output length. Either one is "vanilla" and the other ran a method (`kind` "method"), or both are
vanilla prefills and the shorter prompt stands for what a reduction before the LLM leaves ("length";
the longest prompt is the baseline of all shorter ones, down to a sixteenth of it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from vlm_tokencost.costmodel.gains import like_bounds, speed_up
from vlm_tokencost.costmodel.timing import Interval

#: Shorter prompts than this share of the longest are no reduction that anybody makes.
LEAST = 1 / 16


class Pair(NamedTuple):
    """A measured speed-up beside the interval of the estimate.

    Attributes:
        kind: "method" or "length".
        before, after: Both compared records.
        measured: Time of the one over time of the other.
        interval: The range that commands print, over all ways that both can have run.
        alike: The range of like bounds, over the same.
    """

    kind: str
    before: Any
    after: Any
    measured: float
    interval: Interval
    alike: Interval

    @property
    def inside(self) -> bool:
        """Whether the interval holds the measurement."""
        return self._in(self.interval)

    @property
    def inside_like(self) -> bool:
        """Whether like bounds hold it."""
        return self._in(self.alike)

    def _in(self, interval: Interval) -> bool:
        return bool(interval.lower <= self.measured <= interval.upper)

    @property
    def error(self) -> float:
        """Central estimate over measurement, less one."""
        return float(self.interval.central / self.measured - 1)


def pairs(kept: Iterable[Any]) -> list[Pair]:
    """Return the pairs among compared records; a reduced run has the baseline that fits it best.

    Of several vanilla runs, that with the most tokens.
    """
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for one in kept:
        own = one.record
        key = (own["source"], one.case.device.id, own["model"], own["dtype"], own["batch"])
        groups.setdefault((*key, one.case.what, own["output_tokens"]), []).append(one)
    found = []
    for group in groups.values():
        plain = [one for one in group if one.record["method"] == "vanilla"]
        tokens = [one.record["prompt_tokens"] or 0 for one in plain]
        if not plain:
            continue
        baseline = plain[tokens.index(max(tokens))]
        found += [_pair("method", baseline, one) for one in group if one not in plain]
        if baseline.case.what in ("prefill", "linear"):
            found += [
                _pair("length", baseline, one)
                for one, count in zip(plain, tokens, strict=True)
                if LEAST * max(tokens) <= count < max(tokens)
            ]
    return found


def _pair(kind: str, before: Any, after: Any) -> Pair:
    ways = [
        (mine, its)
        for running, mine in before.ways
        for other, its in after.ways
        if running == other
    ]
    measured = before.case.seconds / after.case.seconds
    return Pair(kind, before, after, measured, _over(ways, speed_up), _over(ways, like_bounds))


def _over(
    ways: Sequence[tuple[Interval, Interval]], rule: Callable[[Interval, Interval], Interval]
) -> Interval:
    """Return the range over several ways, and the central estimate of the first."""
    found = [rule(mine, its) for mine, its in ways]
    lower, upper = min(one.lower for one in found), max(one.upper for one in found)
    return Interval(lower, found[0].central, upper)


def report(found: Sequence[Pair], show: Callable[[str], None] = print) -> None:
    """Print the pairs with methods one by one, and both kinds in sum."""
    show(
        "\n| # | model | device | what | tokens | format | measured | lower – upper | central |"
        " inside | of like bounds | inside these |"
    )
    show("|---|---|---|---|---:|---|---:|---:|---:|---|---:|---|")
    for one in found:
        if one.kind != "method":
            continue
        own = one.after.record
        before = one.before.record["prompt_tokens"]
        cells = [one.after.index, f"{own['model']}, {own['method']}", one.after.case.device.id]
        cells += [one.after.case.what, f"{before} → {own['prompt_tokens']}", own["dtype"]]
        cells += [f"{one.measured:.2f}", _range(one.interval), f"{one.interval.central:.2f}"]
        cells += [_verdict(one, one.interval), _range(one.alike), _verdict(one, one.alike)]
        show("| " + " | ".join(map(str, cells)) + " |")
    show("")
    for kind, what in (("method", "a method against none"), ("length", "a shorter prompt")):
        own = [one for one in found if one.kind == kind]
        if own:
            _summary(what, own, show)


def _summary(what: str, own: Sequence[Pair], show: Callable[[str], None]) -> None:
    """Print how many pairs either range holds, how wide they are, and how far central is off."""
    share = {
        "inside": sum(one.inside for one in own),
        "inside like bounds": sum(one.inside_like for one in own),
    }
    widths = [_mean_width(one.interval for one in own), _mean_width(one.alike for one in own)]
    parts = [
        f"{count} of {len(own)} {name} ({count / len(own):.1%}), geometric mean of upper/lower "
        f"{width:.2f}"
        for (name, count), width in zip(share.items(), widths, strict=True)
    ]
    errors = [abs(one.error) for one in own]
    over = [one.measured / one.interval.central for one in own]
    parts.append(
        f"mean absolute error of the central estimate {sum(errors) / len(own):.1%}, measured over "
        f"central {min(over):.2f} to {max(over):.2f}"
    )
    show(f"- speed-ups of {what}: {'; '.join(parts)}")


def _range(interval: Interval) -> str:
    return f"{interval.lower:.2f} – {interval.upper:.2f}"


def _verdict(one: Pair, interval: Interval) -> str:
    if interval.lower <= one.measured <= interval.upper:
        return "yes"
    return f"no: {'less' if one.measured < interval.lower else 'more'}"


def _mean_width(intervals: Iterable[Interval]) -> float:
    """Return the geometric mean of upper over lower."""
    logs = [math.log(one.upper / one.lower) for one in intervals]
    return math.exp(sum(logs) / len(logs))
