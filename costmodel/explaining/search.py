"""The search for what a printed figure is of, with the chance that an answer is a coincidence."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

from .candidates import MOST_RANK, Candidate, Quantity, amounts, shares
from .chance import MOST_CHANCE, MOST_CLOSE_CHANCE, Hit, chances
from .lines import Line, Setting, lines
from .printed import CLOSE, Kind, Printed, Scale
from .readings import Reading

#: Ranks of digits that are cut off instead of rounded, and of a figure that is merely close.
CUT_RANK, CLOSE_RANK = 2, 4
_QUANTITIES: dict[Kind, tuple[Quantity, ...]] = {
    "amount": ("amount",),
    "share": ("ratio", "reduction"),
    "factor": ("factor",),
}


Match = Literal["rounded", "cut", "close"]


class Explanation(NamedTuple):
    """One way in which a figure comes about.

    Attributes:
        found: What it is of.
        scale: How its digits are read.
        value: What the model and the reading give, exactly: MAC or FLOP, or a share.
        printed: The figure under that scale, in the same unit.
        match: How the digits follow: the value is rounded to them, they are cut off it, or it is
            close, within 1 %, and gives other digits.
        rank: How unnatural it is, 0 the most natural.
        chance: The chance that a random figure finds an explanation as natural.
        structural: Structural tokens that it counts.
        texts: First and last text length that give the digits, where they were tried one by one.
        also: Other readings of the same tokens that the digits do not tell apart.
    """

    found: Candidate
    scale: Scale
    value: int | Fraction
    printed: Fraction
    match: Match
    rank: int
    chance: float
    structural: int
    texts: tuple[int, int] = (0, 0)
    also: tuple[Reading, ...] = ()

    @property
    def within(self) -> bool:
        """Whether it gives the printed digits."""
        return self.match != "close"

    @property
    def relative_difference(self) -> float:
        """Value over printed figure, less 1."""
        return float(self.value / self.printed - 1)


class Search:
    """The candidates of one or several settings, made once for any number of figures."""

    def __init__(self, settings: Sequence[Setting]) -> None:
        """Price the settings' token counts.

        Raises:
            InvalidInput: A schedule that does not fit its model.
        """
        self.settings = tuple(settings)
        self.lines = [(setting, lines(setting)) for setting in self.settings]
        self._candidates: dict[Kind, tuple[list[Candidate], list[float]]] = {}

    def candidates(self, kind: Kind) -> list[Candidate]:
        """Return everything that a figure of a kind could be, the smallest first."""
        return self._sorted(kind)[0]

    def _sorted(self, kind: Kind) -> tuple[list[Candidate], list[float]]:
        if kind not in self._candidates:
            pairs = [(setting, line) for setting, found in self.lines for line in found]
            made = [one for setting, line in pairs for one in _of(setting, line, kind)]
            made.sort(key=lambda one: one.value)
            self._candidates[kind] = made, [one.value for one in made]
        return self._candidates[kind]

    def around(self, printed: Printed, kind: Kind) -> list[Hit]:
        """Return all candidates in the figure's domain, as numbers that would be printed."""
        low, high = printed.domain(kind)
        half = float(printed.step) / 2
        made, values = self._sorted(kind)
        found = []
        for scale in printed.scales(kind):
            factor = float(scale.factor)
            near = made[bisect_left(values, low * factor) : bisect_right(values, high * factor)]
            hits = [
                Hit(one.rank + scale.rank, one.value / factor, one, scale)
                for one in near
                if one.rank + scale.rank <= MOST_RANK
                and (printed.unit != "MAC" or one.reading.counts == "MAC")
            ]
            found += hits
            found += [
                hit._replace(rank=hit.rank + CUT_RANK, number=hit.number - half, cut=True)
                for hit in hits
                if hit.rank + CUT_RANK <= MOST_RANK
                and hit.number > low + half
                and not hit.candidate.fitted  # what is fitted need not be cut
            ]
        return found

    def explain(self, printed: Printed) -> list[Explanation]:
        """Return what may have been printed, the best explanation first; empty if nothing.

        An explanation whose chance is above `MOST_CHANCE` is none. One that is merely close is left
        out where one that gives the digits is as natural; and a fitted text length where a known
        one gives them too.
        """
        found: list[Explanation] = []
        for kind in printed.kinds:
            around = self.around(printed, kind)
            exact = self._explained(printed, kind, around, printed.tolerance, close=False)
            best = min((one.rank for one in exact), default=MOST_RANK + 1)
            close = self._explained(printed, kind, around, CLOSE, close=True)
            found += exact + [one for one in close if one.rank - CLOSE_RANK < best]
        if "amount" in printed.kinds:
            from .fitting import fitted_tokens

            found += [_fitted(*one) for one in fitted_tokens(self.lines, printed)]
        known = {_without_text(one) for one in found if one.within and not one.found.fitted}
        ranks: dict[tuple[object, ...], int] = {}
        kept = []
        for one in sorted(found, key=_order):
            # Models of the same shape, and counts that come to the same, give the same value.
            if one.found.fitted == "text" and _without_text(one) in known:
                continue
            model, value = one.found.setting.model.id, (one.value, one.scale)
            if (*value, model) in ranks or ranks.get(value, one.rank) < one.rank:
                continue
            ranks[(*value, model)] = ranks[value] = one.rank
            kept.append(one)
        return kept

    def _explained(
        self, printed: Printed, kind: Kind, around: list[Hit], width: Fraction, *, close: bool
    ) -> list[Explanation]:
        """Return the explanations within a relative width of the figure."""
        target, reach = float(printed.number), float(width) * (1 + 1e-9)
        if close:
            around = [one for one in around if not one.cut]
        most = MOST_CLOSE_CHANCE if close else MOST_CHANCE
        hits = [one for one in around if abs(one.number / target - 1) <= reach]
        chance = chances(around, {one.rank for one in hits}, width, printed, kind, most)
        groups: dict[tuple[object, ...], list[Hit]] = {}
        for one in sorted(hits, key=lambda hit: hit.rank):
            if one.rank in chance:
                groups.setdefault(_group(one), []).append(one)
        found = [_exact(printed, near, chance[near[0].rank]) for near in groups.values()]
        return [one for one in found if (one.match == "close") == close]


def _exact(printed: Printed, near: list[Hit], chance: float) -> Explanation:
    """Recompute a group of hits exactly: the closest of the most natural."""
    target = float(printed.number)
    alike = [one for one in near if one.rank == near[0].rank]
    best = min(alike, key=lambda hit: abs(hit.number - target))
    found = best.candidate
    value, shown = exact_value(found), printed.number * best.scale.factor
    match = _match(value - shown, printed.step * best.scale.factor, cut=best.cut)
    lengths = [hit.candidate.text.tokens for hit in alike if hit.candidate.reading == found.reading]
    others = [
        hit.candidate.reading
        for hit in near
        if hit.candidate.text.tokens == found.text.tokens and hit.candidate.reading != found.reading
    ]
    return Explanation(
        found,
        best.scale,
        value,
        shown,
        match,
        best.rank + (CLOSE_RANK if match == "close" else 0),
        chance,
        _structural(found) if found.text.structural else 0,
        (min(lengths), max(lengths)),
        tuple(dict.fromkeys(others)),
    )


def _match(beyond: Fraction, step: Fraction, *, cut: bool) -> Match:
    """Return how digits whose last has the unit `step` follow from a value `beyond` them."""
    if abs(beyond) <= step / 2:
        return "rounded"
    return "cut" if cut and 0 <= beyond < step else "close"


def _fitted(one: Candidate, scale: Scale, shown: Fraction, chance: float) -> Explanation:
    structural = _structural(one)
    return Explanation(one, scale, exact_value(one), shown, "rounded", one.rank, chance, structural)


def exact_value(one: Candidate) -> int | Fraction:
    """Price a candidate exactly, by the report and the reading that it names."""
    count = one.visual
    if not one.text.structural:  # as many fewer visual tokens make the same sequence
        count = count._replace(given=count.tokens - _structural(one))
    report = one.setting.ask(count, one.text.tokens)
    value = one.reading.value(report, scheduled=not one.dense)
    if one.quantity == "amount":
        return value * one.batch
    ratio = Fraction(value) / one.reading.value(report, scheduled=False)
    return {"ratio": ratio, "reduction": 1 - ratio, "factor": 1 / ratio}[one.quantity]


def _structural(one: Candidate) -> int:
    return one.setting.ask(one.visual, 1).dense.structural_tokens


def _of(setting: Setting, line: Line, kind: Kind) -> list[Candidate]:
    if kind == "amount":
        return list(amounts(setting, line))
    return list(shares(setting, line, _QUANTITIES[kind])) if setting.scheduled else []


def _group(hit: Hit) -> tuple[object, ...]:
    """Return what makes hits one explanation: tokens and units, whatever parts are added.

    Digits seldom tell the LLM's layers from those with the head; a fitted text length may be one
    of several.
    """
    one, reading = hit.candidate, hit.candidate.reading
    text = "fitted" if one.fitted else (one.text.tokens, one.text.structural)
    asked = (
        one.setting.model.id,
        one.quantity,
        one.dense,
        one.batch,
        one.visual.tokens,
        text,
        hit.cut,
    )
    scope = "LLM" if reading.scope == "LLM layers" else reading.scope
    formula = (reading.convention, scope) if one.fitted else ()
    return *asked, hit.scale, reading.counts, reading.causal, reading.first_layer, formula


def _without_text(one: Explanation) -> tuple[object, ...]:
    """Return what two explanations share that differ in their text length alone."""
    found = one.found
    asked = found.setting.model.id, found.quantity, found.dense, found.batch, found.visual.tokens
    return *asked, found.reading, one.scale


def _order(one: Explanation) -> tuple[object, ...]:
    return one.match == "close", one.chance, one.rank, abs(one.relative_difference)


__all__ = ["MOST_CHANCE", "Explanation", "Search", "exact_value"]
