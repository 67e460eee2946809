"""All that is known about one claim, and its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..costmodel.version import __version__
from ..presets.claim import Claim
from .claim_rows import flat, verdict_row
from .claim_verdicts import told
from .claim_words import (
    SCOPES,
    baseline,
    bounded,
    bounds_shown,
    digits,
    off,
    printed,
    reading,
    recomputed,
    relation,
    request,
    schedule_words,
    source,
    term,
    with_unit,
)
from .document import Column, Document, Table
from .summary import SCHEMA_VERSION

if TYPE_CHECKING:
    from ..presets.auditing import Verdict


def card(verdict: Verdict, known: Mapping[str, Claim]) -> Document:
    """Return a claim with its conditions, its relations to others and its verdict."""
    from ..presets.auditing import RULES

    claim = verdict.claim
    facts = (*_claimed(claim), *_related(claim, known), *_judged(verdict))
    rule = RULES[verdict.rule].text if verdict.rule in RULES else ""
    notes = [f"rule {verdict.rule}: {rule}"] if rule else []
    if claim.correction:
        assert claim.corrected is not None, "a correction has a figure"
        right = with_unit(digits(claim.corrected), claim)
        notes.append(f"corrected: {right}; {claim.correction}")
    notes += [f"note: {claim.note}"] if claim.note else []
    bounds = tuple(bounds_shown(verdict))
    tables = [verdict_table(verdict)]
    if bounds:
        columns = (Column("scope", "left"), Column("bound"))
        tables.append(Table("Bounds", columns, bounds))
    row = verdict_row(verdict)
    return Document(
        title=f"{claim.id}: {claim.method}, {claim.quantity} {printed(claim)}: {verdict.verdict}",
        facts=tuple((label, text) for label, text in facts if text),
        tables=tuple(tables),
        notes=tuple(notes),
        sentence="",
        payload={
            "schema_version": SCHEMA_VERSION,
            "tokencost_version": __version__,
            **row,
            "claim": fields(claim),
            "rule_text": rule,
        },
        records=(flat(row),),
    )


def fields(claim: Claim) -> dict[str, Any]:
    """Return what was written of a claim, numbers as the texts that were printed."""
    plain: dict[str, Any] = claim.model_dump(mode="json", exclude_defaults=True)
    return plain


def _claimed(claim: Claim) -> tuple[tuple[str, str], ...]:
    model = claim.model_name or claim.model
    if claim.model and claim.model != model:
        model += f" ({claim.model})"
    convention = f"{claim.convention}, as the source says" if claim.convention else ""
    return (
        ("model", model or "none of ours fits"),
        ("stands in", claim.stands_in),
        ("setting", claim.setting),
        ("schedule", schedule_words(claim)),
        ("request", request(claim)),
        ("scope", SCOPES[claim.scope] if claim.scope else "not stated"),
        ("convention", convention),
        ("conditions", claim.conditions),
        ("source", source(claim)),
        ("paper", f"arXiv {claim.paper}" if claim.paper else ""),
    )


def _related(claim: Claim, known: Mapping[str, Claim]) -> tuple[tuple[str, str], ...]:
    dense = baseline(claim, known)
    named = [
        other.id
        for other in known.values()
        if claim.id
        in (other.baseline, other.cost, *(one for rule in other.follows for one in rule.of))
    ]
    return (
        ("dense figure", dense and f"{dense}, printed beside it"),
        ("same figure", claim.repeats and f"{claim.repeats}; it counts once"),
        ("its cost is", claim.cost and term(claim.cost, known)),
        ("must be", "; ".join(relation(rule, known) for rule in claim.follows)),
        ("figures in", ", ".join(named)),
    )


def _judged(verdict: Verdict) -> tuple[tuple[str, str], ...]:
    return (("reason", told(verdict)), ("reading", reading(verdict)))


def verdict_table(verdict: Verdict) -> Table:
    """Return the figures of a verdict on one line."""
    heads = ("printed", "recomputed", "off", "bound")
    columns = (*map(Column, heads), Column("verdict", "left"), Column("rule", "left"))
    figures = (printed(verdict.claim), recomputed(verdict), off(verdict), bounded(verdict))
    return Table("", columns, ((*figures, verdict.verdict, verdict.rule),))
