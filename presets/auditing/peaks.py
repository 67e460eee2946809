"""Memory: recomputed with the software that a claim allows, and held against the weights."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from ...costmodel import Report
from ...costmodel.memory import kv_cache_bytes
from ...costmodel.peak import Peak
from ..claim import Claim
from .diagnosis import RESERVE
from .findings import INCOMPLETE
from .fitting import FIT
from .gains import inverse
from .own_numbers import operand
from .printed import ENDLESS, Span, as_printed, difference, in_unit, number, shown, span
from .requests import of_tokens, tokens_of
from .setting import (
    assumed_schedule,
    keeps_all,
    missing,
    report_of,
    stand_in,
    tokens_known,
)
from .verdict import Verdict, rule
from .ways import PROMPT, Given, giving, peak_of, table, units, ways

WEIGHTS_FLOOR = rule("weights-floor", "No run takes less memory than the model's weights.")
PEAK_MEMORY = rule(
    "peak-memory",
    "Peak memory is recomputed with and without scores in memory: within 3 %, and a quarter of "
    "what is not weights, the same way and in the same unit for all figures of a table.",
)
MEMORY_BOUND = rule(
    "memory-bound", "A method saves no more memory than everything but the weights."
)
FAMILY = frozenset({"memory", "memory reduction", "memory factor", "dynamic memory reduction"})
#: What an allocator reserves beyond what is allocated, at most.
RESERVED = Fraction(115, 100)
#: Peaks beyond so many times the weights are of settings that nobody runs.
_ODD = 4
#: Width of a share that is saved, relative to all but the weights, above which any way fits.
_SHARP = Fraction(5, 100)
_DEFAULT_IMAGE = "one image of the model's default size, which no source states"
#: The largest batch that is tried where none is stated.
_TOGETHER = 64


def remembered(claim: Claim, known: Mapping[str, Claim]) -> Verdict:
    """Return the verdict on peak memory, or a share of it that is saved."""
    lack = missing(claim)
    if lack and not claim.model and claim.baseline is not None:
        kept = _with_reserve(claim, known)
        if kept is not None:
            return kept
    if lack:
        reason = f"{as_printed(claim)} alone. Missing: {'; '.join(lack)}."
        return Verdict(claim, "not checkable", INCOMPLETE, reason, missing=lack)
    if claim.quantity == "dynamic memory reduction":
        return _dynamic(claim)
    if claim.quantity == "memory":
        verdict = _absolute(claim, known)
        if claim.baseline is None or claim.dense:
            return verdict
        saved = _saving(claim, _implied(claim, known), _dense_span(claim, known))
        worse = ("impossible", "needs scope")
        return min(
            (verdict, saved),
            key=lambda one: worse.index(one.verdict) if one.verdict in worse else len(worse),
        )
    return _saving(claim, _stated(claim), None)


def _with_reserve(claim: Claim, known: Mapping[str, Claim]) -> Verdict | None:
    """Return the verdict on a method that stores everything, whatever its model."""
    other = stand_in(claim)
    if claim.baseline is None or other is None or missing(other) or not keeps_all(other):
        return None
    dense, own = operand(claim, claim.baseline, known, field="baseline"), span(claim)
    if own.high < dense.span.low:
        return None
    reason = (
        f"{as_printed(claim)} are no less than the {dense.words} without the method, whose "
        "schedule keeps all keys and values and reads fewer of them: it saves no memory."
    )
    lack = missing(claim)
    return Verdict(claim, "plausible", RESERVE, reason, missing=lack)


def _report(claim: Claim) -> Report:
    return report_of(claim, PROMPT if claim.text_tokens is None else claim.text_tokens)


def _absolute(claim: Claim, known: Mapping[str, Claim]) -> Verdict:
    report = _report(claim)
    own = span(claim)
    peaks = [(way, peak_of(claim, way)) for way in ways(claim)]
    weights = sum(peaks[0][1].weights.values())
    generous = min(size for size, _ in units(claim))
    at = of_tokens(claim, (report.workload.text_tokens,))
    if own.high < weights * generous:
        reason = (
            f"{as_printed(claim)} is less than the weights of {report.model.id}, "
            f"{shown(claim, weights)} ({number(Fraction(weights, 2**30))} GiB)."
        )
        return Verdict(
            claim, "impossible", WEIGHTS_FLOOR, reason, bound=in_unit(claim, weights * generous)
        )
    given = giving(claim, known)
    if given:
        return _recomputed(claim, report, given[0], table(claim, known))
    usual = [found.total for _, found in peaks if found.total <= _ODD * weights]
    most = max(usual or [found.total for _, found in peaks]) * RESERVED
    least = min(found.total for _, found in peaks)
    between = f"{shown(claim, least * generous)} to {shown(claim, most)}"
    base = Verdict(
        claim,
        "plausible",
        PEAK_MEMORY,
        f"{as_printed(claim)} is within {between}, what {report.model.id} takes at {at} with any "
        f"attention, and with what an allocator reserves. {_no_way(claim, known)}",
        tokens=tokens_of(report),
        bound=in_unit(claim, most),
    )
    if own.low <= most:
        return _questioned(claim, base)
    reason = (
        f"{as_printed(claim)} is above {shown(claim, most)}, what {report.model.id} takes at {at} "
        f"with batch {report.workload.batch} and {float(RESERVED - 1) * 100:.0f} % of reserve: it "
        "contains more than that, such as other requests, a larger reserve or other processes."
    )
    if not tokens_known(claim):
        lack = ("the size of the images, or the visual tokens",)
        return base._replace(verdict="not checkable", rule=INCOMPLETE, reason=reason, missing=lack)
    lack = ("the batch, or what else is in memory",)
    return base._replace(verdict="needs scope", reason=reason, missing=lack)


def _no_way(claim: Claim, known: Mapping[str, Claim]) -> str:
    """Return that the figure is not recomputed, and by what."""
    if not tokens_known(claim) or assumed_schedule(claim):
        return "It is not recomputed, since its setting is not stated in full."
    if table(claim, known):
        return "No one way of running gives it and the figures beside it."
    return "No usual way of running gives it to its last digit, or it has too few of them."


def _recomputed(claim: Claim, report: Report, given: Given, others: list[Claim]) -> Verdict:
    way, unit = given.way, given.unit
    text = report.workload.text_tokens
    at = of_tokens(claim, (text,))
    words = f"{way.words}{f', {unit} printed as {claim.unit}' if unit else ''}"
    value = given.value
    reason = f"Peak memory at {at}, {words}: {shown(claim, value)}, printed {as_printed(claim)}."
    if others:
        printed = ", ".join(as_printed(one) for one in others)
        reason += f" So run, the model takes the {printed} of the same table too."
    assumed = []
    if not claim.attention or unit or not way.plain:
        assumed.append(words)
    if claim.text_tokens is None:
        assumed.append(f"{text} text tokens")
    return Verdict(
        claim,
        "reproduced with an assumption" if assumed else "reproduced",
        PEAK_MEMORY,
        reason,
        tokens=tokens_of(report),
        value=in_unit(claim, value),
        relative_difference=difference(claim, value),
        assumption="; ".join(assumed),
    )


def _stated(claim: Claim) -> Span:
    """Return the share of memory that a claim says is saved."""
    own = span(claim)
    if claim.quantity == "memory factor":
        return Span(1 - inverse(own.low), 1 - inverse(own.high))
    return own


def _implied(claim: Claim, known: Mapping[str, Claim]) -> Span:
    """Return the share of memory that is saved against the baseline printed beside."""
    assert claim.baseline is not None, "asked for with a baseline only"
    dense, own = operand(claim, claim.baseline, known, field="baseline").span, span(claim)
    low = 1 - own.high / dense.low if dense.low > 0 else -ENDLESS
    return Span(low, 1 - own.low / dense.high)


def _dense_span(claim: Claim, known: Mapping[str, Claim]) -> Span:
    assert claim.baseline is not None, "asked for with a baseline only"
    return operand(claim, claim.baseline, known, field="baseline").span


def _saving(claim: Claim, saved: Span, printed: Span | None) -> Verdict:
    """Hold a share of memory that is saved against all but the weights.

    Args:
        claim: What states or implies the share.
        saved: The share.
        printed: The dense figure beside it, which holds whatever else was in memory.
    """
    report = _report(claim)
    at = of_tokens(claim, (report.workload.text_tokens,))
    most, closest = Fraction(0), (Fraction(2), "")
    middle = (saved.low + saved.high) / 2
    for way in ways(claim):
        dense, own = (peak_of(claim, way, scheduled=one) for one in (False, True))
        weights = sum(own.weights.values())
        most = max(most, 1 - weights / (dense.total * RESERVED))
        if printed is not None:
            most = max(most, 1 - weights * min(size for size, _ in units(claim)) / printed.high)
        share = 1 - Fraction(own.total, dense.total)
        if way.plain and abs(share - middle) < abs(closest[0] - middle):
            closest = share, way.words
    base = Verdict(
        claim,
        "plausible",
        MEMORY_BOUND,
        "",
        tokens=tokens_of(report),
        bound=_as_quantity(claim, most),
    )
    if base.bound is not None:
        base = base._replace(bounds=(("everything but the weights", base.bound),))
    less = f"{number(middle * 100)} % less memory"
    sharp = (saved.high - saved.low) / 2 <= _SHARP * most and tokens_known(claim)
    if sharp and saved.holds(closest[0]) and closest[0] > 0 and not assumed_schedule(claim):
        reason = f"Peaks at {at}, {closest[1]}, fall by {number(closest[0] * 100)} %, as printed."
        return base._replace(
            verdict="reproduced with an assumption",
            rule=FIT,
            reason=reason,
            value=_as_quantity(claim, closest[0]),
            assumption=f"{closest[1]}; {report.workload.text_tokens} text tokens",
        )
    limit = (
        f"{number(most * 100)} %, all but the weights, at {at}, batch {report.workload.batch}, "
        "with what an allocator reserves"
    )
    if saved.low <= most:
        reason = (
            f"{less} is inside {limit}; the schedule's own peaks come closest with {closest[1]}, "
            f"{number(closest[0] * 100)} %."
        )
        return _questioned(claim, base._replace(reason=reason))
    reason = f"{less} is above {limit}"
    if claim.batch is None:
        batch = _smallest_batch(claim, saved)
        if batch is not None:
            reason += f"; only batches of {batch} or more would allow it."
            return base._replace(verdict="needs scope", reason=reason, missing=("the batch",))
    if not tokens_known(claim) or assumed_schedule(claim):
        lack: tuple[str, ...] = tuple(filter(None, ("the visual tokens", assumed_schedule(claim))))
        return base._replace(
            verdict="not checkable", rule=INCOMPLETE, reason=f"{reason}.", missing=lack
        )
    return base._replace(verdict="impossible", reason=f"{reason}.")


def _smallest_batch(claim: Claim, saved: Span) -> int | None:
    """Return the smallest power of two at which so much besides the weights is in memory."""
    batch = 2
    while batch <= _TOGETHER:
        together = claim.model_copy(update={"batch": batch})
        for way in ways(claim):
            dense = peak_of(together, way, scheduled=False)
            if saved.low <= 1 - sum(dense.weights.values()) / (dense.total * RESERVED):
                return batch
        batch *= 2
    return None


def _dynamic(claim: Claim) -> Verdict:
    """Return the verdict on what is saved of all but the weights."""
    report = _report(claim)
    own, found = span(claim), []
    before = kv_cache_bytes(report.model, report.dense)
    cache = 1 - Fraction(kv_cache_bytes(report.model, report.scheduled), before)
    found.append((cache, "the KV cache alone"))
    for way in ways(claim):
        rest = [_rest(peak_of(claim, way, scheduled=one)) for one in (True, False)]
        if rest[1]:
            found.append((1 - Fraction(rest[0], rest[1]), way.words))
    middle = (own.low + own.high) / 2
    value, words = min(found, key=lambda one: abs(one[0] - middle))
    most = max(one for one, _ in found)
    base = Verdict(
        claim, "plausible", MEMORY_BOUND, "", tokens=tokens_of(report), bound=in_unit(claim, most)
    )
    at = of_tokens(claim, (report.workload.text_tokens,))
    if own.holds(value):
        reason = f"Memory besides the weights at {at}, {words}, falls by {shown(claim, value)}."
        return base._replace(
            verdict="reproduced with an assumption",
            rule=FIT,
            reason=reason,
            value=in_unit(claim, value),
            assumption="; ".join(filter(None, (words, assumed_schedule(claim)))),
        )
    if own.low <= most:
        reason = (
            f"{as_printed(claim)} of the memory besides the weights is inside {shown(claim, most)} "
            f"at {at}; the schedule comes closest with {words}, {shown(claim, value)}."
        )
        return _questioned(claim, base._replace(reason=reason))
    reason = (
        f"{as_printed(claim)} of the memory besides the weights is above {shown(claim, most)} at "
        f"{at}."
    )
    if assumed_schedule(claim) or not tokens_known(claim):
        lack = tuple(filter(None, (assumed_schedule(claim), "the visual tokens")))
        return base._replace(verdict="not checkable", rule=INCOMPLETE, reason=reason, missing=lack)
    return base._replace(verdict="impossible", reason=reason)


def _rest(found: Peak) -> int:
    return found.total - sum(found.weights.values())


def _questioned(claim: Claim, verdict: Verdict) -> Verdict:
    assumed = [assumed_schedule(claim)] if assumed_schedule(claim) else []
    if not tokens_known(claim):
        assumed.append(_DEFAULT_IMAGE)
    return verdict._replace(assumption="; ".join(assumed))


def _as_quantity(claim: Claim, share: Fraction) -> float | None:
    """Return a saved share as the claim's quantity and unit would print it."""
    if claim.quantity == "memory factor":
        return float(1 / (1 - share)) if share < 1 else None
    return float(share * (100 if claim.unit == "%" else 1)) if claim.quantity != "memory" else None
