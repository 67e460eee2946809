"""A claim beside the other figures of its own source, as intervals of what was rounded."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from ...costmodel import InvalidInput
from ..claim import QUANTITIES, UNITS, Claim, Relation
from .printed import ENDLESS, Span, as_printed, shown, span
from .verdict import Verdict, rule

OWN_NUMBERS = rule(
    "own-numbers",
    "A figure must follow from those printed beside it, allowing half a unit of each last digit.",
)


#: Of figures without ids whose ratio is printed: they share a unit, which cancels out.
ANY_UNIT = "×"


class Operand(NamedTuple):
    """A figure that another one follows from: its values and how it is printed."""

    span: Span
    words: str
    value: Fraction


def disagreement(claim: Claim, known: Mapping[str, Claim]) -> Verdict | None:
    """Return the verdict on a figure that contradicts those it follows from, or None.

    Raises:
        InvalidInput: A relation that names a claim that is not known.
    """
    for relation in claim.follows:
        allowed, words, value = _following(claim, relation, known)
        # Digits that were cut off instead of rounded are no contradiction.
        if not allowed.meets(span(claim)) and not allowed.meets(_cut(claim)):
            least, most = shown(claim, allowed.low), shown(claim, allowed.high)
            within = "" if least == most else f" ({least} to {most} with their rounding)"
            reason = (
                f"{words} {'are' if relation.kind == 'sum' else 'is'} {shown(claim, value)}"
                f"{within}, and {as_printed(claim)} is printed."
            )
            difference = float(value / claim.base - 1) if claim.base else None
            printed = float(value / UNITS[claim.unit].size)
            return Verdict(
                claim,
                "inconsistent",
                OWN_NUMBERS,
                reason,
                value=printed,
                relative_difference=difference,
            )
    return None


def _cut(claim: Claim) -> Span:
    return span(claim.model_copy(update={"cut": True}))


def agreement(claim: Claim, known: Mapping[str, Claim]) -> str:
    """Return which printed figures a claim follows from, as a sentence; empty without any."""
    found = [_following(claim, relation, known)[1] for relation in claim.follows]
    return f"It follows from its own numbers: {'; '.join(found)}." if found else ""


def product(claim: Claim, known: Mapping[str, Claim]) -> Span | None:
    """Return the values that a rounded share leaves open, where the figure is one of a product."""
    for relation in claim.follows:
        if relation.kind == "product":
            return _following(claim, relation, known)[0]
    return None


def operand(
    claim: Claim,
    of: str | Decimal,
    known: Mapping[str, Claim],
    unit: str | None = None,
    field: str = "follows",
) -> Operand:
    """Return a figure by its claim's id, or a number in the claim's unit or another.

    Raises:
        InvalidInput: No claim has that id, it is a text, or it measures something else.
    """
    if isinstance(of, Decimal):
        own = claim.model_copy(
            update={
                "value": of,
                "most": None,
                "hedge": "",
                "cut": False,
                "unit": unit or claim.unit,
            }
        )
    else:
        own = _named(of, known, field)
    base = own.base
    if base is None:
        raise InvalidInput(field, of, "prints no number", "name a claim with a value")
    if field == "baseline" and QUANTITIES[own.quantity] != QUANTITIES[claim.quantity]:
        problem = f"prints {own.quantity}, not {claim.quantity}"
        raise InvalidInput(field, of, problem, "name the same figure of the dense model")
    if field == "baseline" and claim.model and own.model and own.model != claim.model:
        problem = f"is of {own.model}, not of {claim.model}"
        raise InvalidInput(field, of, problem, "name the same figure of the dense model")
    words = f"{of:,}" if isinstance(of, Decimal) and unit == ANY_UNIT else as_printed(own)
    return Operand(span(own), words, base)


def _named(of: str, known: Mapping[str, Claim], field: str) -> Claim:
    if of not in known:
        hint = "name the id of a claim, or write its number"
        raise InvalidInput(field, of, "is not a claim", hint)
    return known[of]


def _following(
    claim: Claim, relation: Relation, known: Mapping[str, Claim]
) -> tuple[Span, str, Fraction]:
    """Return what a relation allows, in words and at its central value."""
    units: list[str | None] = [_shared(claim, relation, known)] * len(relation.of)
    if relation.kind == "product":
        units = ["%", None]
    parts = [operand(claim, of, known, unit) for of, unit in zip(relation.of, units, strict=True)]
    spans = [part.span for part in parts]
    values = [part.value for part in parts]
    words = [part.words for part in parts]
    match relation.kind:
        case "sum":
            low, high = sum(one.low for one in spans), sum(one.high for one in spans)
            return (
                Span(Fraction(low), Fraction(high)),
                " and ".join(words),
                sum(values, Fraction(0)),
            )
        case "equal":
            return spans[0], f"{words[0]} beside it", values[0]
        case "difference":
            least, most = spans[1].low - spans[0].high, spans[1].high - spans[0].low
            return Span(least, most), f"{words[1]} − {words[0]}", values[1] - values[0]
        case "product":
            low, high = spans[0].low * spans[1].low, spans[0].high * spans[1].high
            return Span(low, high), f"{words[0]} of {words[1]}", values[0] * values[1]
    # Of rates, scheduled over dense is the other way round.
    a, b = (1, 0) if relation.as_times else (0, 1)
    ratio = Span(_over(spans[a].low, spans[b].high), _over(spans[a].high, spans[b].low))
    value = _over(values[a], values[b])
    words = [words[a], words[b]]
    if relation.kind == "ratio":
        return ratio, f"{words[0]} / {words[1]}", value
    if relation.kind == "factor":
        inverse = Span(_over(Fraction(1), ratio.high), _over(Fraction(1), ratio.low))
        return inverse, f"{words[1]} / {words[0]}", _over(Fraction(1), value)
    return Span(1 - ratio.high, 1 - ratio.low), f"1 − {words[0]} / {words[1]}", 1 - value


def _shared(claim: Claim, relation: Relation, known: Mapping[str, Claim]) -> str | None:
    """Return the unit of figures that are written as numbers.

    Those of sums are in the claim's own; of ratios any unit does, which cancels out.
    """
    if relation.kind in ("sum", "difference", "equal"):
        return None
    for of in relation.of:
        if isinstance(of, str) and of in known:
            return known[of].unit
    return ANY_UNIT


def _over(a: Fraction, b: Fraction) -> Fraction:
    return a / b if b > 0 else ENDLESS
