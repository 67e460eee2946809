"""What a figure may be of: each quantity as functions of a report, the most natural first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from ...costmodel import Report
from ...costmodel.explaining.readings import Reading, price, readings
from ...costmodel.memory import kv_cache_bytes, kv_read_bytes
from ..claim import Claim

#: Scopes that a cost may have, by what the claim says of it.
_SCOPES: dict[str, tuple[str, ...]] = {
    "": ("LLM layers", "LLM", "LLM and encoder", "everything"),
    "llm-prefill": ("LLM layers", "LLM"),
    "encoder": ("encoder", "encoder and connector"),
    "attention": (),
    "selection": (),
    "training": (),
    "decode": (),
}
WHOLE = ("LLM and encoder", "everything")
_WORDS = {
    "one layer": "the mean decoder layer",
    "LLM layers": "the decoder's layers",
    "LLM": "the LLM with its head",
    "LLM and encoder": "LLM, connector and encoder",
    "everything": "LLM, connector, encoder and selection",
    "encoder": "the encoder",
    "encoder and connector": "encoder and connector",
}


class Measure(NamedTuple):
    """One way to read a quantity.

    Attributes:
        rank: How unnatural it is; 0 is the most natural.
        convention, counts, scope: Of a cost.
        words: What is measured, for a sentence.
        reading: Of a cost, what is summed; None where `of` measures.
        of: The value in base units.
        form: What becomes of scheduled and dense cost.
    """

    rank: int
    convention: str | None
    counts: str | None
    scope: str | None
    words: str
    reading: Reading | None
    of: Callable[[Report], Fraction] | None
    form: str = "value"


def measures(claim: Claim, report: Report) -> tuple[Measure, ...]:
    """Return the ways to read a claim's quantity; none for quantities of other modules."""
    quantity = claim.quantity
    found: Iterator[Measure]
    if "flops" in quantity:
        found = _costs(claim, report)
    elif "token" in quantity:
        found = _tokens(claim)
    elif quantity.startswith("kv"):
        found = _caches(claim)
    else:
        return ()
    return tuple(sorted(found, key=lambda one: one.rank))


def values(report: Report, wanted: tuple[Measure, ...]) -> list[Fraction]:
    """Return all measures of a report, each bill once."""
    costs = [one.reading for one in wanted if one.reading is not None]
    relative = any(one.form != "value" for one in wanted)
    scheduled = dict(price(report, costs))
    dense = dict(price(report, costs, scheduled=False)) if relative else {}
    found = []
    for one in wanted:
        if one.reading is None:
            assert one.of is not None, "a measure reads a cost or has a function"
            found.append(one.of(report))
        else:
            own = Fraction(scheduled[one.reading])
            before = Fraction(dense.get(one.reading, 1))
            found.append(_formed(one.form, own, before))
    return found


def _formed(form: str, own: Fraction, before: Fraction) -> Fraction:
    """Return scheduled and dense as what a quantity is of them."""
    if form == "value":
        return own
    if form == "factor":
        return before / own if own else before
    ratio = own / before if before else Fraction(1)
    return 1 - ratio if form == "reduction" else ratio


def _form(quantity: str) -> str:
    last = quantity.rsplit(" ", 1)[-1]
    return last if last in ("ratio", "reduction", "factor") else "value"


def _costs(claim: Claim, report: Report) -> Iterator[Measure]:
    form = _form(claim.quantity)
    if claim.quantity == "auxiliary flops":
        yield from _components(claim, ("selection",), "the selection", form)
        return
    scopes: tuple[str, ...] = _SCOPES.get(claim.scope, WHOLE)
    if claim.quantity == "flops per layer":
        scopes = ("one layer",)
    elif claim.quantity == "encoder flops":
        scopes = _SCOPES["encoder"]
    elif claim.scope == "decode":
        yield from _forward(claim, form)
    encodes = scopes == _SCOPES["encoder"]
    seen = set()
    for one in readings(report):
        if one.scope not in scopes or one.logits != "last":
            continue
        if claim.convention and one.convention != claim.convention and not encodes:
            continue
        stated = claim.convention and claim.scope
        if one.convention != "exact" and one.scope in WHOLE and not stated:
            continue  # encoders are counted, not put into the formula of the LLM's layers
        if not _counted(claim, one, form):
            continue
        key = one.convention, one.counts, one.scope, one.causal
        if key not in seen:
            seen.add(key)
            yield _cost(one, form)
    if encodes and report.schedule is not None and report.schedule.selection is not None:
        parts = ("vision", "selection")
        yield from _components(claim, parts, "the encoder with what is added to it", form)


def _counted(claim: Claim, one: Reading, form: str) -> bool:
    """Tell whether a reading's unit fits: of shares one is enough, and TMAC is known as MACs."""
    if form != "value":
        return one.counts == ("FLOP" if one.convention == "exact" else "MAC")
    return _fits(claim, one.counts)


def _cost(one: Reading, form: str) -> Measure:
    unit = f"{one.convention} {one.counts}s" if form == "value" else f"{one.convention} cost"
    words = f"{unit} of {_WORDS[one.scope]}" + (", causal pairs alone" if one.causal else "")
    return Measure(one.rank, one.convention, one.counts, one.scope, words, one, None, form)


def _components(claim: Claim, parts: tuple[str, ...], what: str, form: str) -> Iterator[Measure]:
    """Yield measures of components of `exact`, as FLOPs and as MACs."""
    for rank, (counts, divisor) in enumerate((("FLOP", 1), ("MAC", 2))):
        if form != "value" and counts == "MAC":
            continue
        if not _fits(claim, counts):
            continue

        def of(report: Report, divisor: int = divisor) -> Fraction:
            amounts = []
            for scheduled in (True, False):
                sums = report.bill("exact", scheduled=scheduled).by_component()
                amounts.append(sum(sums.get(part, 0) for part in parts))  # type: ignore[call-overload]
            return _formed(form, Fraction(amounts[0], divisor), Fraction(amounts[1], divisor))

        unit = f"exact {counts}s" if form == "value" else "exact cost"
        yield Measure(rank, "exact", counts, what, f"{unit} of {what}", None, of)


def _forward(claim: Claim, form: str) -> Iterator[Measure]:
    """Yield measures of the first decode forward, as FLOPs and as MACs."""
    for rank, (counts, divisor) in enumerate((("FLOP", 1), ("MAC", 2))):
        if (form != "value" and counts == "MAC") or not _fits(claim, counts):
            continue

        def of(report: Report, divisor: int = divisor) -> Fraction:
            own, before = (report.decode_forward(scheduled=one).total for one in (True, False))
            return _formed(form, Fraction(own, divisor), Fraction(before, divisor))

        unit = f"exact {counts}s" if form == "value" else "exact cost"
        yield Measure(rank, "exact", counts, "decode", f"{unit} of a decode forward", None, of)


def _fits(claim: Claim, counts: str) -> bool:
    return counts == "MAC" or not claim.unit.endswith("MAC")


def _tokens(claim: Claim) -> Iterator[Measure]:
    form = _form(claim.quantity)

    def measure(rank: int, words: str, count: Callable[[Any], Fraction | int]) -> Measure:
        def of(report: Report) -> Fraction:
            before = Fraction(report.dense.dense_visual_tokens)
            return _formed(form, Fraction(count(report.scheduled)), before)

        return Measure(rank, None, None, None, words, None, of)

    def separators(plan: Any) -> int:
        return int(plan.visual_input.separator_tokens)

    averages = form != "value" or claim.quantity.startswith("average")
    if averages or not claim.dense:
        rank = 0 if averages else 1
        words = "visual tokens, averaged over the decoder's layers"
        yield measure(rank, words, lambda plan: plan.average_visual_tokens)
    if not claim.quantity.startswith("average"):
        yield measure(
            0, "visual tokens that enter the LLM", lambda plan: plan.entering_visual_tokens
        )
        if claim.dense:
            yield measure(
                1,
                "visual tokens without the learned separators",
                lambda plan: plan.entering_visual_tokens - separators(plan),
            )
        else:
            yield measure(2, "visual tokens of the last layer", lambda plan: plan.visual[-1])


def _caches(claim: Claim) -> Iterator[Measure]:
    form = _form(claim.quantity)
    if claim.quantity == "kv read ratio":

        def visual(report: Report) -> Fraction:
            before = sum(report.dense.visual_read)
            return Fraction(sum(report.scheduled.visual_read), before) if before else Fraction(1)

        yield Measure(0, None, None, None, "visual tokens that decode forwards read", None, visual)
        yield Measure(1, None, None, None, "bytes that decode forwards read", None, _read_ratio)
        return

    def stored(report: Report) -> Fraction:
        before = Fraction(kv_cache_bytes(report.model, report.dense))
        return _formed(form, Fraction(kv_cache_bytes(report.model, report.scheduled)), before)

    words = "the KV cache after the prefill, 16 bits a value"
    yield Measure(0, None, None, None, words, None, stored)
    binary = {"MB": Fraction(10**6, 2**20), "GB": Fraction(10**9, 2**30)}.get(claim.unit)
    if binary is not None:

        def of(report: Report) -> Fraction:
            return stored(report) * binary

        yield Measure(1, None, None, None, f"{words}, in {claim.unit[0]}iB", None, of)


def _read_ratio(report: Report) -> Fraction:
    before = kv_read_bytes(report.model, report.dense)
    return Fraction(kv_read_bytes(report.model, report.scheduled), before)
