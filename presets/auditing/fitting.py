"""One free quantity, fitted: the prompt, a stage that begins a layer off, or the rounding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from ...costmodel import InvalidInput, Schedule
from ..claim import UNITS, Claim
from .findings import FITTING_RANK, Found, order, verdict_of
from .measures import Measure, measures, values
from .printed import Span, as_printed, near, span
from .requests import measured, of_tokens, prompts, tokens_of
from .setting import Variant, as_json, missing, report_of
from .verdict import Verdict, rule

FIT = rule(
    "fit",
    "Where one quantity is not stated, a plausible value of it that gives the figure to the last "
    "digit is named; it proves something only where few figures would find one, or where the same "
    "value gives another figure of the table.",
)


#: Relative difference up to which a prompt of a whole number of tokens counts.
BETWEEN = Fraction(1, 1000)
ONE_PROMPT = rule(
    "one-prompt",
    "Figures of one table have one prompt: text tokens that give one of them must give the others.",
)


#: Text tokens of a prompt: a question alone, a system prompt and a question, and the most that are
#: looked at to say what a figure would need.
SHORT_PROMPT, USUAL_PROMPT, LONG_PROMPT = 8, 120, 300
#: Share of all figures above which a fit that nothing supports proves nothing.
MOST_CHANCE = 0.1


class Table(NamedTuple):
    """The figures printed beside one: those that it names, and those that name it."""

    named: Sequence[Claim] = ()
    naming: Callable[[], Sequence[Claim]] = tuple


def fitted(claim: Claim, wanted: tuple[Measure, ...]) -> Iterator[Found]:
    """Yield what gives the figure once one free quantity is fitted."""
    by_prompt = []
    if claim.text_tokens is None and not claim.text_lengths:
        by_prompt = list(_by_prompt(claim, wanted))
    yield from by_prompt
    if not claim.dense and not by_prompt:
        yield from _by_stages(claim, wanted)


def _by_prompt(claim: Claim, wanted: tuple[Measure, ...]) -> Iterator[Found]:
    """Yield prompts with which a natural reading prints as the figure."""
    prints = span(claim)
    for one in wanted:
        if one.rank > FITTING_RANK:
            continue
        fit = fitted_text(claim, one, prints)
        if fit is None:
            continue
        first, last = max(fit[0], SHORT_PROMPT), min(fit[1], USUAL_PROMPT)
        if first > last:
            continue
        middle = (first + last) // 2
        value = values(report_of(claim, middle), (one,))[0]
        many = f"{first:,}" if first == last else f"{first:,} to {last:,}"
        plural = "token" if (first, last) == (1, 1) else "tokens"
        words = f"{many} text {plural}, {plausibility(first, last)}"
        tokens = tokens_of(report_of(claim, middle))
        yield Found(one, value, of_tokens(claim, (middle,)), tokens, one.rank, words, (first, last))


def plausibility(first: int, last: int) -> str:
    """Return what fitted text tokens mean: LLaVA's system prompt and a question take 35 to 120."""
    if last < 35:
        return "plausible for a question without a system prompt"
    return "plausible for a system prompt and a question"


def fitted_text(claim: Claim, one: Measure, wanted: Span) -> tuple[int, int] | None:
    """Return the least and the most text tokens with which a measure is wanted, if any."""

    def value(text: int) -> Fraction:
        return values(report_of(claim, text), (one,))[0]

    start, end = value(1), value(LONG_PROMPT)
    if start == end:
        return None
    rising = end > start
    # Costs, ratios and caches are monotone in the text, so that what fits is an interval.
    low, high = (wanted.low, wanted.high) if rising else (wanted.high, wanted.low)
    first = _crossing(lambda text: (value(text) >= low) if rising else (value(text) <= low))
    past = _crossing(lambda text: (value(text) > high) if rising else (value(text) < high))
    if first < past:
        return first, past - 1
    # Averages over prompts need no whole number: a figure between those of two neighbours.
    middle = (wanted.low + wanted.high) / 2
    close = [
        text
        for text in (first - 1, first)
        if 1 <= text <= LONG_PROMPT and abs(value(text) - middle) <= BETWEEN * abs(middle)
    ]
    return (close[0], close[-1]) if close else None


def _crossing(holds: Callable[[int], bool]) -> int:
    """Return the least text length from which on something holds, up to one past the longest."""
    low, high = 1, LONG_PROMPT + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _by_stages(claim: Claim, wanted: tuple[Measure, ...]) -> Iterator[Found]:
    """Yield stages a layer earlier or later, and other roundings, that print as the figure."""
    schedule, prints = report_of(claim).schedule, span(claim)
    if schedule is None:
        return
    for words, changed in _changes(schedule):
        wanted_here = near(claim) if "rounded" in words else prints
        variant = Variant(as_json(changed))
        for prompt in prompts(claim):
            try:
                found = measured(claim, wanted, prompt, variant)
            except InvalidInput:
                continue  # a boundary outside the model
            for one, value in zip(wanted, found, strict=True):
                if one.rank <= FITTING_RANK and wanted_here.holds(value):
                    report = report_of(claim, prompt.lengths[0], variant)
                    told_tokens = of_tokens(claim, prompt.lengths, variant)
                    rank = one.rank + prompt.rank + 1
                    yield Found(one, value, told_tokens, tokens_of(report), rank, words)


def _changes(schedule: Schedule) -> Iterator[tuple[str, Schedule]]:
    """Yield a schedule with one boundary, or all, off by one, and with other roundings."""
    for step, word in ((1, "later"), (-1, "earlier")):
        for index in range(len(schedule.stages)):
            stage = schedule.stages[index]
            if stage.first_layer + step < 0:
                continue
            moved = stage.model_copy(update={"first_layer": stage.first_layer + step})
            stages = (*schedule.stages[:index], moved, *schedule.stages[index + 1 :])
            layer = stage.first_layer + step
            words = f"the stage at layer {stage.first_layer} begins one {word}, at {layer}"
            yield words, _with(schedule, stages=stages)
    for rounding in ("floor", "round", "ceil"):
        if rounding != schedule.rounding and any(one.ratio for one in schedule.stages):
            words = f"token counts are rounded by {rounding}, not by {schedule.rounding}"
            yield words, _with(schedule, rounding=rounding)


def _with(schedule: Schedule, **fields: object) -> Schedule:
    """Return a schedule with other fields."""
    return schedule.model_copy(update=fields)


def chance(claim: Claim, wanted: tuple[Measure, ...]) -> float:
    """Return the share of all figures that some plausible prompt would give.

    Readings with 8 to 120 text tokens cover intervals, at most as wide as the figure's digits for
    each prompt; shares lie between 0 and 1, other figures in a decade.
    """
    value = claim.base
    assert value is not None, "a text has no values"
    share = UNITS[claim.unit].dimension == "share"
    half = float(span(claim).high - span(claim).low) / 2
    if not share:
        half /= abs(float(value))
    natural = tuple(one for one in wanted if one.rank <= FITTING_RANK)
    ends = [values(report_of(claim, text), natural) for text in (SHORT_PROMPT, USUAL_PROMPT)]
    covered = []
    for pair in zip(*ends, strict=True):
        low, high = sorted(float(one) if share else _log(one) for one in pair)
        prompts_wide = 2 * half * (USUAL_PROMPT - SHORT_PROMPT + 1)
        if high - low <= prompts_wide:
            covered.append((low - half, high + half))
        else:  # prompts lie apart: as much of the interval as they cover
            covered.append((low, low + prompts_wide))
    total, end = 0.0, -math.inf
    for low, high in sorted(covered):
        total += max(0.0, high - max(low, end))
        end = max(end, high)
    return min(1.0, total if share else total / math.log(10))


def _log(value: Fraction) -> float:
    return math.log(float(value)) if value > 0 else 0.0


def one_prompt(found: Found, claim: Claim, beside: Sequence[Claim]) -> tuple[Claim | None, str]:
    """Return a claim of the same table that shares the fitted prompt, and one that does not.

    Only those that a prompt gives at all are asked, and of them the dense figures if there are any.
    A prompt is shared where that of either figure gives the other within 1 %.

    Returns:
        A claim that shares it, if any, and why another does not, if any.
    """
    shared = None
    dense = [] if claim.dense else [one for one in beside if one.dense]
    for other in dense or beside if found.text is not None else ():
        if missing(other) or other.text_tokens is not None or other.text_lengths:
            continue
        if other.base == claim.base:
            continue
        wanted = measures(other, report_of(other))
        alike = [
            one
            for one in _by_prompt(other, wanted)
            if one.measure.convention == found.measure.convention
        ]
        if not alike:
            continue
        best = min(alike, key=lambda one: order(other, one))
        if contradicting(found, (other,)) or contradicting(best, (claim,)):
            its = best.assumption.split(",")[0]
            return None, f"The {as_printed(other)} of the same table would take {its}."
        shared = other
    return shared, ""


def contradicting(found: Found, beside: Sequence[Claim]) -> Claim | None:
    """Return a claim of the same table that the fitted prompt does not give, within 1 %."""
    for other in beside if found.text is not None else ():
        first, last = found.text or (0, 0)
        if missing(other) or other.text_tokens is not None or other.text_lengths:
            continue
        wanted = tuple(
            one
            for one in measures(other, report_of(other))
            if one.convention == found.measure.convention and one.rank <= FITTING_RANK
        )
        texts = sorted({first, (first + last) // 2, last})
        given = [value for text in texts for value in values(report_of(other, text), wanted)]
        if given and not any(near(other).holds(value) for value in given):
            return other
    return None


def several_prompts(claim: Claim, fits: list[Found], beside: Sequence[Claim]) -> Verdict:
    """Return the verdict on a figure that only another prompt than its table's gives."""
    best = min(fits, key=lambda one: order(claim, one))
    other = contradicting(best, beside)
    assert other is not None, "no prompt was shared"
    visual = report_of(claim).dense.dense_visual_tokens
    reason = (
        f"{best.assumption.split(',')[0]} would give it at {visual:,} visual tokens "
        f"({best.measure.words}), and not the {as_printed(other)} printed beside it."
    )
    verdict = verdict_of(claim, best, reason[0].upper() + reason[1:])
    return verdict._replace(verdict="inconsistent", rule=ONE_PROMPT, value=None)
