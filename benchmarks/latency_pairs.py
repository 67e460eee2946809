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

from vlm_tokencost.costmodel.latency import possible_speed_up, speed_up
from vlm_tokencost.costmodel.timing import Interval

#: Shorter prompts than this share of the longest are no reduction that anybody makes.
LEAST = 1 / 16


class Pair(NamedTuple):
    """A measured speed-up beside the interval of the estimate.

    Attributes:
        kind: "method" or "length".
        before, after: Both compared records.
        measured: Time of the one over time of the other.
        interval: Like bounds over like bounds, over all ways that both can have run.
    """

    kind: str
    before: Any
    after: Any
    measured: float
    interval: Interval

    @property
    def inside(self) -> bool:
        """Whether the interval holds the measurement."""
        return bool(self.interval.lower <= self.measured <= self.interval.upper)

    @property
    def possible(self) -> bool:
        """Whether it lies between the bounds of two runs that have nothing in common."""
        least, most = possible_speed_up(self.before.interval, self.after.interval)
        return least <= self.measured <= most

    @property
    def error(self) -> float:
        """Central estimate over measurement, less one."""
        return float(self.interval.central / self.measured - 1)

    @property
    def width(self) -> float:
        """Upper over lower."""
        return float(self.interval.upper / self.interval.lower)


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
    ratios = [
        speed_up(mine, its)
        for running, mine in before.ways
        for other, its in after.ways
        if running == other
    ]
    interval = Interval(
        min(one.lower for one in ratios), ratios[0].central, max(one.upper for one in ratios)
    )
    return Pair(kind, before, after, before.case.seconds / after.case.seconds, interval)


def report(found: Sequence[Pair], show: Callable[[str], None] = print) -> None:
    """Print the pairs with methods one by one, and both kinds in sum."""
    show(
        "\n| # | model | device | what | tokens | format | measured | of like bounds | central |"
        " inside |"
    )
    show("|---|---|---|---|---:|---|---:|---:|---:|---|")
    for one in found:
        if one.kind != "method":
            continue
        own = one.after.record
        low, _, high = one.interval
        inside = "yes" if one.inside else f"no: {'less' if one.measured < low else 'more'}"
        before = one.before.record["prompt_tokens"]
        cells = [one.after.index, f"{own['model']}, {own['method']}", one.after.case.device.id]
        cells += [one.after.case.what, f"{before} → {own['prompt_tokens']}", own["dtype"]]
        cells += [f"{one.measured:.2f}", f"{low:.2f} – {high:.2f}", f"{one.interval.central:.2f}"]
        show("| " + " | ".join(map(str, [*cells, inside])) + " |")
    show("")
    for kind, what in (("method", "a method against none"), ("length", "a shorter prompt")):
        own = [one for one in found if one.kind == kind]
        if own:
            inside = sum(one.inside for one in own)
            errors = [abs(one.error) for one in own]
            middle = math.exp(sum(math.log(one.width) for one in own) / len(own))
            show(
                f"- speed-ups of {what}: {inside} of {len(own)} inside ({inside / len(own):.1%}); "
                f"geometric mean of upper/lower {middle:.2f}; mean absolute error of the central "
                f"estimate {sum(errors) / len(own):.1%}; {sum(one.possible for one in own)} "
                "between lower over upper and upper over lower"
            )
